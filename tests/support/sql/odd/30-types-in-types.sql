-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Types made of types: domains over ranges over domains, arrays of composites of enums, altered after rows were written.
CREATE TYPE sex AS ENUM ('f', 'm'); ALTER TYPE sex ADD VALUE 'other' BEFORE 'm'; ALTER TYPE sex RENAME VALUE 'f' TO 'female';
CREATE DOMAIN age AS smallint CHECK (VALUE BETWEEN 0 AND 130) DEFAULT 0;
CREATE TYPE person AS (name text, age age, sexes sex[]);
CREATE TYPE household AS (head person, members person[], code varchar(5)[]);
CREATE DOMAIN adult AS person CHECK ((VALUE).age >= 18);
CREATE TYPE ages AS RANGE (subtype = age, multirange_type_name = some_agess);
CREATE DOMAIN some_ages AS ages CHECK (NOT isempty(VALUE));
CREATE TABLE homes (id int, h household, adults adult[], span some_ages, spans some_agess, EXCLUDE USING gist (span WITH &&));
INSERT INTO homes VALUES (1, ROW(ROW('A "q" \ , (x)', 30, '{female,NULL}')::person, ARRAY[ROW(NULL, 3, '{}')::person, NULL], '{a,"b c"}'), ARRAY[ROW('é', 40, NULL)::adult], '[1,5]', '{[1,2),[7,)}');
ALTER TYPE person ADD ATTRIBUTE phone text CASCADE;
ALTER TYPE household RENAME ATTRIBUTE code TO codes CASCADE;
ALTER DOMAIN age ADD CONSTRAINT odd CHECK (VALUE <> 131) NOT VALID;
INSERT INTO homes VALUES (2, NULL, '{}', NULL, NULL);
CREATE TABLE of_type OF person (PRIMARY KEY (name), age WITH OPTIONS DEFAULT 7 CHECK (age IN (7, 8)));
INSERT INTO of_type VALUES ('x', 7, '{m}', '+256');
CREATE TABLE row_of (r homes, rs of_type[]);
INSERT INTO row_of SELECT z, (SELECT array_agg(o) FROM of_type AS o) FROM homes AS z;
CREATE FUNCTION head_of(household) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT (($1).head).name';
CREATE INDEX ON homes (head_of(h)); CREATE INDEX ON homes ((((h).head).age));
