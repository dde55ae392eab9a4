-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Children of tables whose parents got columns later: a restored child has its columns in another order. On 10 and later.
CREATE SCHEMA inherited AUTHORIZATION couch2pg;
SET ROLE couch2pg;
CREATE TABLE inherited.parent (a integer);
CREATE TABLE inherited.child (b text) INHERITS (inherited.parent);
CREATE TABLE inherited.grandchild (e integer DEFAULT 7) INHERITS (inherited.child);
CREATE TABLE inherited.other (z text, a integer);
CREATE TABLE inherited.both (own text) INHERITS (inherited.other, inherited.parent);
ALTER TABLE inherited.parent ADD d date DEFAULT '2024-02-29';
ALTER TABLE inherited.child ADD c integer;
ALTER TABLE inherited.child DROP b;
ALTER TABLE inherited.child ADD b text;
INSERT INTO inherited.child (a, b, c, d) VALUES (1, 'x', 2, '2024-02-29'), (2, '2', 2, NULL);
INSERT INTO inherited.grandchild (a, b, c, d, e) VALUES (3, 'y', 4, '2025-01-01', 5);
INSERT INTO inherited.both (z, a, own, d) VALUES ('z', 1, 'own', '2023-01-01');
RESET ROLE;
