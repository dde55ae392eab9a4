-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Names with quotes, dots, line ends, emoji, per cent signs, and the headers that pg_dump prints.
CREATE SCHEMA "s.ch ""q"" é😀";
CREATE TABLE "s.ch ""q"" é😀"."t.
new	line" ("c.1" int, "c""2" text, "😀" int, "a
b" int, "SELECT" int, " lead" int, "%s %(x)s" int, "\b" int, "'" int);
INSERT INTO "s.ch ""q"" é😀"."t.
new	line" VALUES (1, E'tab\tnl\n\\N', 3, 4, 5, 6, 7, 8, 9);
CREATE INDEX "i
x" ON "s.ch ""q"" é😀"."t.
new	line" ("a
b");
CREATE VIEW "s.ch ""q"" é😀"."; DROP TABLE x; --" AS SELECT "%s %(x)s" AS "%" FROM "s.ch ""q"" é😀"."t.
new	line";
CREATE FUNCTION "f.
(x)"("a b" int, "c,d" text) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE MATERIALIZED VIEW "s.ch ""q"" é😀"."m
v" AS SELECT * FROM "s.ch ""q"" é😀"."t.
new	line";
CREATE SEQUENCE "-- Name: x; Type: TABLE; Schema: public; Owner: -";
CREATE TABLE "-- Name: y; Type: TABLE; Schema: public; Owner: -" (a int DEFAULT nextval('"-- Name: x; Type: TABLE; Schema: public; Owner: -"'));
COMMENT ON TABLE "-- Name: y; Type: TABLE; Schema: public; Owner: -" IS E'\n--\n-- Name: z; Type: TABLE; Schema: public; Owner: -\n--\n';
CREATE TABLE "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" (id int); CREATE TYPE "E
" AS ENUM ('a
b', 'c''d', '😀');
CREATE TABLE "E t" (e "E
", a "E
"[]); INSERT INTO "E t" VALUES ('a
b', ARRAY['😀', 'c''d']::"E
"[]);
CREATE TABLE "$1" ("$$" text DEFAULT '$$', "$body$" text DEFAULT '$body$'); INSERT INTO "$1" DEFAULT VALUES;
CREATE DOMAIN "d
" AS int; CREATE TABLE dd (d "d
"); COMMENT ON COLUMN "s.ch ""q"" é😀"."t.
new	line"."a
b" IS 'x'; GRANT SELECT ("a
b", "c""2") ON "s.ch ""q"" é😀"."t.
new	line" TO superset;
