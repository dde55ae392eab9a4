-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Where and how rows lie: methods, options, compression, clusters, statistics, toast; and tables as large as a page and larger.
CREATE ACCESS METHOD heap_3 TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE other_method (id int) USING heap_3; INSERT INTO other_method VALUES (1); CREATE MATERIALIZED VIEW other_view USING heap_3 AS SELECT * FROM other_method; CREATE TABLE next_one (id int);
CREATE TABLE wide (k text, a text COMPRESSION pglz, b bytea STORAGE EXTERNAL, c numeric STORAGE MAIN) WITH (toast_tuple_target = 256, autovacuum_freeze_max_age = 100000000, toast.vacuum_truncate = false, log_autovacuum_min_duration = 0);
INSERT INTO wide SELECT i::text, repeat('x', i * 5000), decode(repeat(md5(i::text), 400), 'hex'), (10 ^ 300)::numeric + i FROM generate_series(1, 10) AS i; INSERT INTO wide VALUES ('empty', '', '', 0), (NULL, NULL, NULL, 'NaN');
CREATE INDEX wide_k ON wide (k) WITH (fillfactor = 33); ALTER TABLE wide CLUSTER ON wide_k; CLUSTER wide; CREATE INDEX ON wide USING hash (k) WITH (fillfactor = 50); CREATE INDEX ON wide USING spgist (k text_ops); ALTER INDEX wide_k RESET (fillfactor);
ALTER TABLE wide ALTER k SET (n_distinct = -1), ALTER a SET STATISTICS 1000, ALTER a SET STORAGE EXTENDED; CREATE STATISTICS many (ndistinct, mcv, dependencies) ON k, c FROM wide; ALTER STATISTICS many RENAME TO "Many ones"; ANALYZE wide;
CREATE UNLOGGED TABLE fast (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, t text); INSERT INTO fast (t) VALUES ('a'); CREATE TABLE slow (LIKE fast INCLUDING ALL); ALTER TABLE slow SET UNLOGGED; ALTER TABLE slow SET LOGGED;
CREATE TABLE many_columns (id int); DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('ALTER TABLE odd_35.many_columns ADD c%s int DEFAULT %s', i, i); END LOOP; END $$; INSERT INTO many_columns VALUES (1); ALTER TABLE many_columns DROP c7, DROP c300;
CREATE TABLE copied (t text); INSERT INTO copied VALUES (E'\\.'), (E'\\N'), (E'a\tb\r\nc\\'), (''), (E'\x01\x7f'), (repeat('é', 5000)), (NULL), ('"'), (E'\\\\.'), (E'\u200b\u00a0');
