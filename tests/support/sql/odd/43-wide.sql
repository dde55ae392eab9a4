-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- As many columns as a table can have, many dropped ones, none at all, and rows of several megabytes.
DO $$ BEGIN
EXECUTE 'CREATE TABLE widest (' || (SELECT string_agg(format('%I bool', 'c ' || n), ', ') FROM generate_series(1, 1600) AS n) || ')';
EXECUTE 'INSERT INTO widest SELECT ' || (SELECT string_agg(CASE n % 3 WHEN 0 THEN 'NULL' WHEN 1 THEN 'true' ELSE 'false' END, ', ') FROM generate_series(1, 1600) AS n);
EXECUTE 'CREATE TABLE documents (' || (SELECT string_agg(format('d%s jsonb DEFAULT ''%s''', n, n), ', ') FROM generate_series(1, 300) AS n) || ')';
FOR n IN 1..200 LOOP EXECUTE 'ALTER TABLE documents ADD gone int, DROP d' || n; EXECUTE 'ALTER TABLE documents DROP gone'; END LOOP;
END $$;
INSERT INTO documents SELECT FROM generate_series(1, 10); INSERT INTO widest ("c 1600") VALUES (true);
CREATE TABLE no_columns (); INSERT INTO no_columns SELECT FROM generate_series(1, 7); CREATE VIEW no_columns_either AS SELECT FROM no_columns;
CREATE TABLE only_generated (a int GENERATED ALWAYS AS (1 + 1) STORED); INSERT INTO only_generated DEFAULT VALUES; INSERT INTO only_generated DEFAULT VALUES;
CREATE MATERIALIZED VIEW no_columns_seen AS SELECT FROM no_columns; CREATE TABLE one_column (LIKE widest) PARTITION BY LIST ("c 1"); ALTER TABLE one_column ATTACH PARTITION widest DEFAULT;
CREATE TABLE large (id int PRIMARY KEY, t text, j jsonb, b bytea, a text[]);
INSERT INTO large SELECT 1, string_agg(md5(n::text), E'\n'), jsonb_agg(n), decode(string_agg(md5(n::text), ''), 'hex'), array_agg(md5(n::text)) FROM generate_series(1, 100000) AS n;
INSERT INTO large VALUES (2, repeat('é\"'',' || chr(10), 500000), (repeat('[', 1000) || repeat(']', 1000))::jsonb, '', '[-5:-4][0:1]={{"NULL",NULL},{"","{}"}}');
