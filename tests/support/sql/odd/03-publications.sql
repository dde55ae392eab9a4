-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Publications of every form, replica identities.
CREATE TABLE p (id int PRIMARY KEY, a int, b text);
CREATE SCHEMA ps;
CREATE TABLE ps.q (id int);
CREATE PUBLICATION "all" FOR ALL TABLES WITH (publish = 'insert,truncate');
CREATE PUBLICATION sch FOR TABLES IN SCHEMA ps;
CREATE PUBLICATION cols FOR TABLE p (id, a) WHERE (a > 5 AND b IS NULL) WITH (publish_via_partition_root);
CREATE PUBLICATION none;
COMMENT ON PUBLICATION none IS 'n';
ALTER PUBLICATION none OWNER TO postgres;
ALTER TABLE p REPLICA IDENTITY USING INDEX p_pkey;
ALTER TABLE ps.q REPLICA IDENTITY NOTHING;
