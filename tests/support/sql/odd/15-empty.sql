-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Tables and types without columns, tables of a composite type.
CREATE TABLE zero ();
INSERT INTO zero DEFAULT VALUES;
INSERT INTO zero DEFAULT VALUES;
CREATE TABLE dropped (a int);
INSERT INTO dropped VALUES (1), (2);
ALTER TABLE dropped DROP a;
CREATE TABLE z2 () INHERITS (zero);
INSERT INTO z2 DEFAULT VALUES;
CREATE TYPE tt AS (a int, b text);
CREATE TABLE typed OF tt (a WITH OPTIONS DEFAULT 5 CHECK (a BETWEEN 1 AND 9), PRIMARY KEY (a));
INSERT INTO typed VALUES (DEFAULT, 'x');
CREATE VIEW zv AS SELECT;
CREATE MATERIALIZED VIEW zm AS SELECT FROM dropped;
CREATE TYPE emptyt AS ();
CREATE TABLE et (e emptyt);
INSERT INTO et VALUES (ROW());
CREATE TABLE manyc (x emptyt[]);
CREATE TYPE emptye AS ENUM ();
