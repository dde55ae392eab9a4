-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Large objects with owners, grants, comments, holes.
SELECT lo_from_bytea(70001, '\x00ff');
SELECT lo_from_bytea(70002, '');
SELECT lo_create(70003);
SELECT lo_from_bytea(70004, decode(repeat('ab', 300000), 'hex'));
ALTER LARGE OBJECT 70001 OWNER TO couch2pg;
GRANT SELECT ON LARGE OBJECT 70001 TO superset WITH GRANT OPTION;
GRANT UPDATE ON LARGE OBJECT 70002 TO PUBLIC;
COMMENT ON LARGE OBJECT 70003 IS 'it''s a;
comment -- ok';
SET ROLE superset;
RESET ROLE;
SELECT lo_put(70003, 1000000, 'sparse');
