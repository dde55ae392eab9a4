-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Shell and base types, overloaded functions and operators.
CREATE TABLE temporal (id int);
CREATE TEMP TABLE tmp (a int);
CREATE TABLE "couchdb_progress" (seq varchar, source varchar);
CREATE TYPE shell;
CREATE TYPE base;
CREATE FUNCTION bin(cstring) RETURNS base LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION bout(base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE base (INPUT = bin, OUTPUT = bout, INTERNALLENGTH = 4, PASSEDBYVALUE, ALIGNMENT = int4, DEFAULT = '7', CATEGORY = 'q', PREFERRED = true, DELIMITER = ';', LIKE = int4);

CREATE TABLE bt (b base DEFAULT '3', bs base[]);
INSERT INTO bt VALUES (DEFAULT, '{1;2}');
COMMENT ON TYPE base IS 'b';
ALTER TYPE base OWNER TO couch2pg;
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION f(bigint) RETURNS int LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION f(VARIADIC "any") RETURNS int LANGUAGE internal AS 'pg_num_nonnulls';
CREATE FUNCTION f(anycompatiblearray, anycompatible) RETURNS anycompatible LANGUAGE sql AS 'SELECT $2';
CREATE OPERATOR === (FUNCTION = f, RIGHTARG = int);
CREATE OPERATOR === (FUNCTION = f, RIGHTARG = bigint);

CREATE FUNCTION tbl(couchdb) RETURNS text LANGUAGE sql AS 'SELECT ($1).doc::text';
CREATE FUNCTION pct(t couchdb.doc%TYPE) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE INDEX ON couchdb ((doc->>'_id'), ((doc->'fields'->>'x')::int) DESC) WHERE doc->>'type' IN ('a', 'b');
