-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Children with another column order, with several parents, used as row types.
CREATE TABLE ip (a int, b text);
CREATE TABLE ic (x int, b text, a int);
ALTER TABLE ic INHERIT ip;
CREATE TABLE ic2 (z text) INHERITS (ip);
ALTER TABLE ip ADD late date DEFAULT '2020-01-01';
INSERT INTO ic2 VALUES (1, 'b', 'z', '2021-01-01');
INSERT INTO ic VALUES (1, 'b', 2);

CREATE TABLE uses (r ic2, rs ic2[], p ip);
INSERT INTO uses SELECT ic2, ARRAY[ic2, ic2], NULL FROM ic2;
CREATE DOMAIN dom AS ic2;
CREATE TYPE comp AS (k int, r ic2);
CREATE TABLE uses2 (d dom, c comp);
INSERT INTO uses2 SELECT ic2, ROW(1, ic2)::comp FROM ic2;
CREATE TABLE other (q int);
CREATE TABLE multi () INHERITS (ip, other);
INSERT INTO multi VALUES (1, 'x', '2020-02-02', 7);
ALTER TABLE other ADD r int DEFAULT 3;
ALTER TABLE ic2 ALTER a SET DEFAULT 9, ALTER b SET NOT NULL;
ALTER TABLE ip ADD CONSTRAINT ck CHECK (a > 0) NOT VALID;
ALTER TABLE ic2 DROP COLUMN z;
INSERT INTO ic2 VALUES (5, 'q', NULL);
