-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Constraints of tables, of domains inside of types, and of a partition's key, whose functions read other tables, which are smaller or come later.
CREATE TABLE areas (id int PRIMARY KEY, name text); INSERT INTO areas SELECT i, 'area ' || i FROM generate_series(1, 5) AS i;
CREATE FUNCTION known(int) RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN EXISTS (SELECT FROM odd_42.areas WHERE id = $1); END $$;
CREATE TABLE visits (id int, area int CHECK (odd_42.known(area)), note text); INSERT INTO visits SELECT i, 1 + i % 5, repeat(md5(i::text), 5) FROM generate_series(1, 3000) AS i;
CREATE DOMAIN area AS int CHECK (odd_42.known(VALUE)); CREATE TYPE stay AS (place area, days int); CREATE TYPE span AS RANGE (subtype = area);
CREATE TABLE stays (s stay[], r span, note text); INSERT INTO stays SELECT ARRAY[ROW(1 + i % 5, i)::stay], '[1,2]', repeat(md5(i::text), 5) FROM generate_series(1, 2000) AS i;
CREATE FUNCTION place(text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN (SELECT id FROM odd_42.areas WHERE name = $1); END $$;
CREATE TABLE by_place (name text, note text) PARTITION BY LIST (odd_42.place(name)); CREATE TABLE by_place_1 PARTITION OF by_place FOR VALUES IN (1); CREATE TABLE by_place_2 PARTITION OF by_place FOR VALUES IN (2, 3, 4, 5);
INSERT INTO by_place SELECT 'area ' || 1 + i % 5, repeat('n', i) FROM generate_series(1, 500) AS i; CREATE TABLE kept (name text, id int GENERATED ALWAYS AS (odd_42.place(name)) STORED, note text); INSERT INTO kept (name, note) SELECT 'area 3', repeat('n', i) FROM generate_series(1, 500) AS i;
