-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- What grew over ten years: several parents, columns dropped in the middle, names of keywords, defaults that look like code, old casts.
CREATE TABLE base (id int NOT NULL, note text DEFAULT E'tab\t''q'' \\ $$x$$', old text); CREATE TABLE other (id int, stamp timestamp(0) DEFAULT localtimestamp(0), CONSTRAINT inherited CHECK (id > 0));
CREATE TABLE heir (mine numeric(8,2) DEFAULT 1.50, id int DEFAULT 3) INHERITS (base, other); ALTER TABLE base DROP old; ALTER TABLE base ADD late varchar(7) DEFAULT 'l' NOT NULL; ALTER TABLE ONLY other ADD CONSTRAINT alone CHECK (id < 100) NO INHERIT NOT VALID;
INSERT INTO heir (id, mine) VALUES (1, 2.5), (2, NULL); INSERT INTO base VALUES (1, NULL, 'x'); INSERT INTO other VALUES (5, '2020-02-29 12:34:56.7');
ALTER TABLE heir ALTER note DROP DEFAULT, ALTER late SET DEFAULT 'h', ALTER stamp DROP NOT NULL; ALTER TABLE heir NO INHERIT other; ALTER TABLE heir INHERIT other;
CREATE TABLE "user" ("order" int, "group" text, "select" bool DEFAULT false, "Table" int[] DEFAULT '{}', " " int, "é" int DEFAULT 1, "end" int GENERATED ALWAYS AS ("order" + 1) STORED); INSERT INTO "user" ("order") VALUES (1), (NULL);
CREATE VIEW "view" AS SELECT "order" AS "from", "user"."é" AS "where", "user".* FROM "user"; CREATE INDEX "index" ON "user" ("order", "Table") WHERE "select";
CREATE TABLE dropped_all (a int, b text, c int); INSERT INTO dropped_all VALUES (1, 'b', 3); ALTER TABLE dropped_all DROP a, DROP c; ALTER TABLE dropped_all ADD a text DEFAULT 'filled' NOT NULL; ALTER TABLE dropped_all ALTER b TYPE varchar(3) USING left(b, 3); ALTER TABLE dropped_all ADD e numeric DEFAULT 1.10;
CREATE TABLE types ("char" "char", n name, c char(5), v varchar, b bit(3), vb varbit(5), o oid, x xid, t tid, l pg_lsn, m macaddr, i interval second(2), iv interval year to month, ti time(3) with time zone, ts timestamp(3));
INSERT INTO types VALUES ('\377', 'n', 'ab', ' v ', '101', '1', 4294967295, '7', '(0,1)', '0/16B3748', '08:00:2b:01:02:03', '1.239', '1 year 2 mons', '12:00:00.1234+03', '2020-01-01 00:00:00.1236'), ('', '', '', '', '000', '', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'infinity');
CREATE FUNCTION yes(text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1 ILIKE 'y%' $$; CREATE CAST (text AS bool) WITH FUNCTION yes(text) AS ASSIGNMENT; CREATE OPERATOR =% (FUNCTION = yes, RIGHTARG = text);
CREATE TABLE cast_default (b bool DEFAULT ('yes'::text)::bool, CHECK (b OR =% 'y'::text)); INSERT INTO cast_default DEFAULT VALUES; CREATE AGGREGATE any_yes (bool) (SFUNC = boolor_statefunc, STYPE = bool, INITCOND = false, PARALLEL = safe, COMBINEFUNC = boolor_statefunc);
CREATE AGGREGATE pct (ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = mode_final, FINALFUNC_EXTRA); CREATE AGGREGATE moving (int) (SFUNC = int4pl, STYPE = int, MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = int, INITCOND = 0, MINITCOND = 0);
