-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Rows as values: functions of rows, views of whole rows, columns of a partition's row type, and what is made of them.
CREATE TABLE visit (id int, at date, kind text, gone int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); ALTER TABLE visit DROP gone;
CREATE TABLE visit_1 PARTITION OF visit FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); CREATE TABLE visit_2 (kind text, at date NOT NULL, id int NOT NULL); ALTER TABLE visit ATTACH PARTITION visit_2 FOR VALUES FROM ('2025-01-01') TO (MAXVALUE);
INSERT INTO visit VALUES (1, '2024-05-05', 'a,"b'), (2, '2025-05-05', NULL), (3, '2026-01-01', '');
CREATE FUNCTION label(visit) RETURNS text LANGUAGE sql IMMUTABLE RETURN ($1).kind || '-' || ($1).id; CREATE FUNCTION label(visit_2) RETURNS text LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT ($1).id || '/'; END;
CREATE INDEX ON visit_1 (label(visit_1::visit)); CREATE INDEX ON visit_2 (label(visit_2)); CREATE STATISTICS of_rows ON (id || kind), kind FROM visit_1;
CREATE VIEW whole AS SELECT v, v.label, ROW(v.*)::visit AS r, v.* FROM visit AS v; CREATE VIEW of_whole AS SELECT (v).kind, (w.v).id AS n, w FROM whole AS w WHERE w.v IS NOT NULL;
CREATE MATERIALIZED VIEW kept AS SELECT v, array_agg(v) OVER () AS all_of_them FROM visit_2 AS v; CREATE UNIQUE INDEX ON kept (((v).id));
CREATE TABLE history (was visit, now visit_1, many visit[], CHECK ((was).id > 0), CHECK ((now).kind IN ('x', 'y') OR now IS NULL)); INSERT INTO history SELECT v, NULL, ARRAY[v, NULL] FROM visit AS v; INSERT INTO history VALUES (NULL, ROW(5, '2024-01-01', 'x'), NULL);
ALTER TABLE history ADD id int GENERATED ALWAYS AS ((was).id + coalesce((now).id, 0)) STORED; CREATE INDEX ON history (((was).at), ((was).kind COLLATE "C") DESC NULLS LAST) WHERE (was).kind <> '';
CREATE FUNCTION visits(n int DEFAULT 5) RETURNS SETOF visit ROWS 7 STABLE LANGUAGE sql AS 'SELECT * FROM odd_45.visit LIMIT n'; CREATE FUNCTION wholes() RETURNS SETOF of_whole LANGUAGE sql AS 'SELECT * FROM odd_45.of_whole'; CREATE FUNCTION triple(OUT a visit, INOUT b visit[] DEFAULT '{}', OUT c record) LANGUAGE plpgsql AS 'BEGIN END';
CREATE VIEW called AS SELECT f.kind, g.* FROM visits(3) AS f, LATERAL (SELECT id FROM visits()) AS g(n), ROWS FROM (triple()) AS t(a, b, c); CREATE FUNCTION later(visit, visit) RETURNS visit LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($2, $1)'; CREATE AGGREGATE last_of(visit) (SFUNC = later, STYPE = visit, PARALLEL = SAFE);
