-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Rights that were taken from owners, given to PUBLIC, on columns of views, by policies that read other tables and call functions.
CREATE TABLE staff (who name PRIMARY KEY, area text); INSERT INTO staff VALUES ('superset', 'north');
CREATE FUNCTION my_areas() RETURNS text[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT array_agg(area) FROM odd_32.staff WHERE who = session_user';
CREATE TABLE patients (id int, area text, secret text); INSERT INTO patients VALUES (1, 'north', 's'), (2, 'south', 't');
ALTER TABLE patients OWNER TO couch2pg; ALTER TABLE patients ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_area ON patients FOR SELECT TO PUBLIC USING (area = ANY (odd_32.my_areas()) OR pg_has_role('couch2pg', 'member'));
CREATE POLICY strict ON patients AS RESTRICTIVE FOR ALL TO superset USING (area <> 'secret') WITH CHECK (EXISTS (SELECT FROM staff AS s WHERE s.who = current_user AND s.area = patients.area));
CREATE VIEW shown WITH (security_invoker = on, security_barrier = off) AS SELECT id, area FROM patients; GRANT SELECT (id) ON shown TO superset; GRANT UPDATE (area) ON shown TO PUBLIC;
REVOKE ALL ON patients FROM couch2pg; GRANT SELECT, TRIGGER ON patients TO couch2pg WITH GRANT OPTION; GRANT TRUNCATE, REFERENCES ON patients TO superset;
REVOKE ALL ON staff FROM postgres; REVOKE ALL ON SCHEMA odd_32 FROM PUBLIC; GRANT USAGE ON SCHEMA odd_32 TO superset WITH GRANT OPTION; GRANT USAGE ON SCHEMA odd_32 TO couch2pg;
CREATE TYPE hidden AS (a int); REVOKE USAGE ON TYPE hidden FROM PUBLIC; GRANT USAGE ON TYPE hidden TO superset; CREATE DOMAIN hidden_too AS int; REVOKE ALL ON DOMAIN hidden_too FROM PUBLIC, postgres;
CREATE PROCEDURE done() LANGUAGE sql AS ''; REVOKE ALL ON PROCEDURE done() FROM PUBLIC; GRANT EXECUTE ON PROCEDURE done() TO couch2pg WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA odd_32 GRANT ALL ON ROUTINES TO superset; ALTER DEFAULT PRIVILEGES IN SCHEMA odd_32 GRANT USAGE ON TYPES TO superset WITH GRANT OPTION; ALTER DEFAULT PRIVILEGES FOR ROLE couch2pg GRANT USAGE ON SCHEMAS TO superset;
CREATE TABLE after_defaults (x int); CREATE FUNCTION after_defaults() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION after_defaults() FROM superset;
GRANT SELECT ON pg_catalog.pg_authid TO superset; GRANT SELECT (rolname, rolpassword) ON pg_catalog.pg_authid TO couch2pg; REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) FROM PUBLIC; GRANT SELECT ON information_schema.sql_features TO superset WITH GRANT OPTION;
COMMENT ON SCHEMA public IS NULL;
