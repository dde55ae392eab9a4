-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- What came with PostgreSQL 18: named not-null constraints, virtual columns, keys without overlaps. On 18 and later.
CREATE SCHEMA newest AUTHORIZATION couch2pg;
SET ROLE couch2pg;
CREATE TABLE newest.parent (
    id integer CONSTRAINT id_needed NOT NULL,
    word varchar,
    listed boolean GENERATED ALWAYS AS (word IN ('x', 'y')) VIRTUAL,
    CONSTRAINT own_needed NOT NULL word NO INHERIT
);
CREATE TABLE newest.child (extra integer NOT NULL) INHERITS (newest.parent);
ALTER TABLE newest.child ADD CONSTRAINT later_needed NOT NULL word NOT VALID;
COMMENT ON CONSTRAINT id_needed ON newest.parent IS 'needed';
CREATE TABLE newest.stays (id int4range, span daterange, EXCLUDE USING gist (id WITH &&), CHECK (span <> 'empty') NOT ENFORCED);
CREATE DOMAIN newest.word AS text CONSTRAINT word_needed NOT NULL;
INSERT INTO newest.parent (id, word) VALUES (1, 'x');
RESET ROLE;
