-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Partitioned tables with triggers and with keys that reference them: the server names what these make of partitions. On 12 and later.
CREATE SCHEMA parted AUTHORIZATION couch2pg;
SET ROLE couch2pg;
CREATE FUNCTION parted.pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE parted.months (m integer, note text) PARTITION BY LIST (m);
CREATE TABLE parted.month_1 PARTITION OF parted.months FOR VALUES IN (1);
CREATE TABLE parted.month_rest PARTITION OF parted.months DEFAULT;
CREATE TRIGGER noted AFTER INSERT ON parted.months FOR EACH ROW EXECUTE FUNCTION parted.pass();
CREATE TRIGGER own AFTER INSERT ON parted.month_1 FOR EACH ROW EXECUTE FUNCTION parted.pass();
ALTER TABLE parted.month_1 DISABLE TRIGGER noted;
CREATE TABLE parted.facility (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id);
CREATE TABLE parted.facility_1 PARTITION OF parted.facility FOR VALUES FROM (0) TO (10);
CREATE TABLE parted.facility_2 PARTITION OF parted.facility FOR VALUES FROM (10) TO (20);
CREATE TABLE parted.visit (id integer REFERENCES parted.facility, day date) PARTITION BY LIST (id);
CREATE TABLE parted.visit_1 PARTITION OF parted.visit FOR VALUES IN (1, 2);
CREATE INDEX visit_day ON parted.visit (day);
CREATE TABLE parted.stay (id integer REFERENCES parted.facility ON DELETE CASCADE);
INSERT INTO parted.facility VALUES (1, 'a'), (12, 'b');
INSERT INTO parted.visit VALUES (1, '2024-01-01');
INSERT INTO parted.stay VALUES (1);
-- A partition is replaced by a table with its columns in another order, and with an index and a constraint of its own.
ALTER TABLE parted.facility DETACH PARTITION parted.facility_2;
CREATE TABLE parted.facility_2b (name text, gone integer, id integer NOT NULL, CONSTRAINT within CHECK (id >= 10 AND id < 20));
ALTER TABLE parted.facility_2b DROP gone;
INSERT INTO parted.facility_2b (id, name) SELECT id, name FROM parted.facility_2;
CREATE UNIQUE INDEX facility_2b_ids ON parted.facility_2b (id);
ALTER TABLE parted.facility ATTACH PARTITION parted.facility_2b FOR VALUES FROM (10) TO (20);
DROP TABLE parted.facility_2;
INSERT INTO parted.months SELECT n % 3, 'n' || n FROM generate_series(1, 30) AS n;
RESET ROLE;
