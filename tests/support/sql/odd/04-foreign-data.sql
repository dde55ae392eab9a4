-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Wrappers with a validator, servers and mappings with odd options, foreign and unlogged partitions.
CREATE FUNCTION noval(text[], oid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FOREIGN DATA WRAPPER w VALIDATOR noval OPTIONS (debug 'true', "odd ""opt" 'it''s');
CREATE SERVER "s.1" TYPE 'x' VERSION '1' FOREIGN DATA WRAPPER w OPTIONS (host 'h', password 'p''w');
CREATE USER MAPPING FOR PUBLIC SERVER "s.1" OPTIONS (u 'a');
CREATE USER MAPPING FOR couch2pg SERVER "s.1" OPTIONS (password 'se''cret\x');
CREATE FOREIGN TABLE ft (id int OPTIONS (column_name 'Id') NOT NULL, v text COLLATE "C" DEFAULT 'a' CHECK (v IN ('a','b'))) SERVER "s.1" OPTIONS (t 'x');
CREATE TABLE mixed (k int, v text) PARTITION BY LIST (k);
CREATE TABLE mixed_1 PARTITION OF mixed FOR VALUES IN (1);
CREATE FOREIGN TABLE mixed_2 PARTITION OF mixed FOR VALUES IN (2) SERVER "s.1" OPTIONS (t 'y');
CREATE UNLOGGED TABLE mixed_3 (v text, k int);
ALTER TABLE mixed ATTACH PARTITION mixed_3 FOR VALUES IN (3);
INSERT INTO mixed VALUES (1, 'a'), (3, 'b');
GRANT USAGE ON FOREIGN SERVER "s.1" TO superset WITH GRANT OPTION;
GRANT USAGE ON FOREIGN DATA WRAPPER w TO couch2pg;
GRANT SELECT (id) ON ft TO superset;
ALTER FOREIGN TABLE ft ADD CONSTRAINT later CHECK (id > 0) NOT VALID;
COMMENT ON SERVER "s.1" IS 's';
COMMENT ON FOREIGN TABLE ft IS 'ft';
COMMENT ON FOREIGN DATA WRAPPER w IS 'w';
