-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Domains over arrays of composite types, composite types changed afterwards, dates BC, lower bounds of arrays.
CREATE SCHEMA d;
CREATE TYPE d.pt AS (x int, note varchar(5), at timestamptz);
CREATE DOMAIN d.pts AS d.pt[] CHECK (array_length(VALUE, 1) BETWEEN 1 AND 5) DEFAULT ARRAY[ROW(1,'a','2020-01-01 00:00+03')::d.pt];
CREATE DOMAIN d.outer AS d.pts NOT NULL CONSTRAINT one CHECK ((VALUE[1]).x > 0);
CREATE DOMAIN d.cpt AS d.pt CHECK ((VALUE).x > 0);
CREATE TABLE d.t (a d.pts, b d.outer, c d.cpt, d d.cpt[]);
INSERT INTO d.t VALUES (DEFAULT, ARRAY[ROW(2,NULL,'infinity')::d.pt], ROW(1,'(,"','-infinity'), '{"(1,\"a,b\",)"}'),
 ('[0:1]={"(3,x,2020-01-01 00:00:00 BC)","(4,,)"}', '{"(1,,)"}', NULL, NULL);
CREATE DOMAIN d.low AS text COLLATE "C" CONSTRAINT lo CHECK (VALUE = lower(VALUE));
ALTER DOMAIN d.low ADD CONSTRAINT nv CHECK (VALUE <> 'q') NOT VALID;
CREATE TABLE d.l (v d.low DEFAULT 'x');
INSERT INTO d.l VALUES (DEFAULT);
COMMENT ON DOMAIN d.low IS 'd';
COMMENT ON CONSTRAINT lo ON DOMAIN d.low IS 'c';
COMMENT ON TYPE d.pt IS 'p';
COMMENT ON COLUMN d.pt.x IS 'x';
ALTER TYPE d.pt ADD ATTRIBUTE z numeric CASCADE;
ALTER TYPE d.pt DROP ATTRIBUTE note CASCADE;
