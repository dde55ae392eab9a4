-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Names that are the same when they are written without quotes: of tables, views, sequences, inheritance children, columns with grants.
CREATE SCHEMA a40; CREATE SCHEMA "a40.b"; CREATE TABLE a40."b.c" (id int PRIMARY KEY, t text); CREATE TABLE "a40.b".c (id int, t text);
INSERT INTO a40."b.c" VALUES (1, 'x'); INSERT INTO "a40.b".c VALUES (2, 'y'), (3, 'z'); GRANT SELECT (id) ON a40."b.c" TO superset; GRANT UPDATE (id) ON "a40.b".c TO superset;
CREATE MATERIALIZED VIEW a40."b.m" AS SELECT 1 AS n; CREATE MATERIALIZED VIEW "a40.b".m AS SELECT n + 1 AS n, 2 AS k FROM a40."b.m"; CREATE UNIQUE INDEX ON "a40.b".m (n);
CREATE SEQUENCE a40."b.s"; CREATE SEQUENCE "a40.b".s START 100; SELECT nextval('a40."b.s"'), nextval('"a40.b".s'), nextval('"a40.b".s');
CREATE TABLE a40."b.child" (own text) INHERITS (a40."b.c"); ALTER TABLE a40."b.c" ADD late int; INSERT INTO a40."b.child" VALUES (5, 'c', 'own', 7);
CREATE TABLE "a40.b".child (own text, n int); INSERT INTO "a40.b".child VALUES ('q', 1); CREATE TABLE a40."""q.""" (id int); INSERT INTO a40."""q.""" VALUES (1);
