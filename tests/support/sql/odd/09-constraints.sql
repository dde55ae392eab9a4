-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Deferrable, excluding, not valid and partial constraints and indexes.
CREATE EXTENSION IF NOT EXISTS plpgsql;
CREATE TABLE c (id int CONSTRAINT "P K" PRIMARY KEY DEFERRABLE, u int UNIQUE DEFERRABLE INITIALLY DEFERRED, span tsrange, kind text,
 CONSTRAINT "ex.cl" EXCLUDE USING gist (span WITH &&, (point(id, u)) WITH ~=) WHERE (kind IN ('a', 'b')),
 CONSTRAINT noinh CHECK (id > 0) NO INHERIT, CONSTRAINT nn CHECK (kind IS NOT NULL) NOT VALID);
CREATE TABLE c2k (u int UNIQUE);
INSERT INTO c2k VALUES (1);
CREATE TABLE c2 (id int REFERENCES c2k (u) ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE, a int, b int, UNIQUE (a, b) INCLUDE (id), FOREIGN KEY (a, b) REFERENCES c2 (a, b) MATCH FULL ON DELETE SET DEFAULT);
INSERT INTO c VALUES (1, 1, '[2020-01-01,2021-01-01)', 'a'), (2, 2, NULL, 'c');
INSERT INTO c2 VALUES (1, 1, 1), (NULL, NULL, NULL);
ALTER TABLE c2 ADD CONSTRAINT later FOREIGN KEY (b) REFERENCES c2k (u) NOT VALID;
CREATE CONSTRAINT TRIGGER ct AFTER UPDATE ON c2 FROM c2k DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE UNIQUE INDEX ux ON c (lower(kind), (id % 7)) WHERE kind NOT IN ('x');
