-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Roles with odd names, chains of grant options, settings of roles and of the database.
DO $$ BEGIN
CREATE ROLE "odd ""role"" é😀.x" LOGIN PASSWORD 'p''w"x' CONNECTION LIMIT 3 VALID UNTIL '2040-01-01';
CREATE ROLE "grantor 1";
CREATE ROLE "Upper" NOINHERIT CREATEDB;
GRANT "Upper" TO "odd ""role"" é😀.x" WITH ADMIN OPTION;
ALTER ROLE "odd ""role"" é😀.x" SET search_path TO 'a b', "$user", public;
ALTER ROLE "Upper" SET datestyle = 'SQL, DMY';
COMMENT ON ROLE "Upper" IS 'it''s';
GRANT couch2pg TO "Upper";
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
CREATE TABLE gr (a int, b int);
GRANT SELECT, UPDATE ON gr TO "grantor 1" WITH GRANT OPTION;
SET ROLE "grantor 1";
GRANT SELECT ON gr TO "odd ""role"" é😀.x" WITH GRANT OPTION;
SET ROLE "odd ""role"" é😀.x";
GRANT SELECT ON gr TO superset;
RESET ROLE;
SET ROLE "grantor 1";
GRANT UPDATE (b) ON gr TO "Upper";
RESET ROLE;
GRANT INSERT (a), REFERENCES (b), SELECT (a) ON gr TO PUBLIC;
REVOKE ALL ON gr FROM postgres;
GRANT SELECT ON gr TO postgres;
CREATE SCHEMA "Up" AUTHORIZATION "Upper";
CREATE TABLE "Up".t (id int);
ALTER TABLE "Up".t OWNER TO "odd ""role"" é😀.x";
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CREATE ON SCHEMA public TO "Upper";
ALTER SCHEMA public OWNER TO "Upper";
CREATE FUNCTION hid() RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE ALL ON FUNCTION hid() FROM PUBLIC, postgres;
DO $$ BEGIN EXECUTE format('ALTER ROLE "Upper" IN DATABASE %I SET search_path TO "a,b", ''c d''', current_database());
EXECUTE format('GRANT CONNECT, TEMP ON DATABASE %I TO "Upper" WITH GRANT OPTION', current_database());
EXECUTE format('ALTER DATABASE %I SET search_path TO "$user", public, "Up"', current_database());
END $$;
ALTER DEFAULT PRIVILEGES FOR ROLE "grantor 1" GRANT SELECT ON TABLES TO couch2pg WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE "grantor 1" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE couch2pg GRANT SELECT ON TABLES TO "grantor 1";
ALTER DEFAULT PRIVILEGES FOR ROLE couch2pg IN SCHEMA public GRANT USAGE ON SEQUENCES TO "grantor 1", superset;
