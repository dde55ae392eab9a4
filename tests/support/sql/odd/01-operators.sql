-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Operator classes and families, loose members, a range over a composite type.
CREATE SCHEMA o;
CREATE TYPE o.c AS (r float8, i float8);
CREATE FUNCTION o.cmp(o.c, o.c) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN $1.r < $2.r THEN -1 WHEN $1.r > $2.r THEN 1 ELSE 0 END';
CREATE FUNCTION o.lt(o.c, o.c) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.r < $2.r';
CREATE FUNCTION o.le(o.c, o.c) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.r <= $2.r';
CREATE FUNCTION o.eq(o.c, o.c) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.r = $2.r';
CREATE FUNCTION o.ge(o.c, o.c) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.r >= $2.r';
CREATE FUNCTION o.gt(o.c, o.c) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.r > $2.r';
CREATE OPERATOR o.< (FUNCTION = o.lt, LEFTARG = o.c, RIGHTARG = o.c, COMMUTATOR = OPERATOR(o.>), NEGATOR = OPERATOR(o.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR o.<= (FUNCTION = o.le, LEFTARG = o.c, RIGHTARG = o.c);
CREATE OPERATOR o.= (FUNCTION = o.eq, LEFTARG = o.c, RIGHTARG = o.c, HASHES, MERGES);
CREATE OPERATOR o.>= (FUNCTION = o.ge, LEFTARG = o.c, RIGHTARG = o.c);
CREATE OPERATOR o.> (FUNCTION = o.gt, LEFTARG = o.c, RIGHTARG = o.c);
CREATE OPERATOR FAMILY o.fam USING btree;
CREATE OPERATOR CLASS o.c_ops DEFAULT FOR TYPE o.c USING btree FAMILY o.fam AS OPERATOR 1 o.<, OPERATOR 2 o.<=, OPERATOR 3 o.=, OPERATOR 4 o.>=, OPERATOR 5 o.>, FUNCTION 1 o.cmp(o.c, o.c);
CREATE OPERATOR FAMILY o.loose USING btree;
ALTER OPERATOR FAMILY o.loose USING btree ADD OPERATOR 1 < (int4, int8), OPERATOR 3 = (int4, int8), FUNCTION 1 btint48cmp(int4, int8);
ALTER OPERATOR FAMILY integer_ops USING btree ADD OPERATOR 1 o.< (o.c, o.c), FUNCTION 1 (o.c, o.c) o.cmp(o.c, o.c);
CREATE TABLE o.t (v o.c, vs o.c[]);
CREATE INDEX ON o.t (v);
INSERT INTO o.t VALUES (ROW(1, 'NaN'), ARRAY[ROW('Infinity', -0.0)::o.c]), (ROW(2, 1e-300), NULL);
CREATE TYPE o.rng AS RANGE (SUBTYPE = o.c, SUBTYPE_OPCLASS = o.c_ops);
CREATE TABLE o.rs (r o.rng);
INSERT INTO o.rs VALUES (o.rng(ROW(1,2)::o.c, ROW(3,4)::o.c));
COMMENT ON OPERATOR o.< (o.c, o.c) IS 'x';
COMMENT ON OPERATOR FAMILY o.fam USING btree IS 'f';
COMMENT ON OPERATOR CLASS o.c_ops USING btree IS 'c';
