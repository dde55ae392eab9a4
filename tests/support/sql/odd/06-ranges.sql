-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Range types with a difference function, a canonical function, multiranges, infinities.
CREATE SCHEMA r;
CREATE FUNCTION r.diff(time, time) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT EXTRACT(EPOCH FROM ($1 - $2))::float8';
CREATE TYPE r.timerange AS RANGE (subtype = time, subtype_diff = r.diff, multirange_type_name = r.tmulti);
CREATE TYPE r.shellr;
CREATE FUNCTION r.canon(r.shellr) RETURNS r.shellr LANGUAGE internal IMMUTABLE STRICT AS 'int4range_canonical';
CREATE TYPE r.shellr AS RANGE (subtype = int4, canonical = r.canon);
CREATE TYPE r.fr AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE r.tr AS RANGE (subtype = text, collation = "C");
CREATE TABLE r.t (a r.timerange, b r.tmulti, c r.fr, d r.tr, e r.fr[], f nummultirange, g r.shellr);
INSERT INTO r.t VALUES ('[10:00,11:00)', '{[09:00,10:00),[12:00,)}', '[1.1,Infinity)', '(a,"b c"]', '{"[1,2)",empty}', '{(,1.50),[2,3]}', '[1,5]'), ('empty', '{}', '(-Infinity,NaN]', '(,)', '{}', NULL, NULL);
CREATE INDEX ON r.t USING gist (a);
ALTER TABLE r.t ADD EXCLUDE USING gist (a WITH &&) DEFERRABLE INITIALLY DEFERRED;
