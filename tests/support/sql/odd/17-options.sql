-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Storage and index options, options of columns, rules and triggers on views, security_invoker.
CREATE TABLE op (a text, b int, c text) WITH (toast_tuple_target = 200, toast.autovacuum_enabled = false, fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, parallel_workers = 2, user_catalog_table = true, vacuum_index_cleanup = off);
ALTER TABLE op ALTER a SET (n_distinct = -0.5, n_distinct_inherited = 100), ALTER a SET STORAGE MAIN, ALTER c SET STORAGE PLAIN, ALTER b SET STATISTICS 0;
CREATE INDEX op1 ON op USING gin (to_tsvector('simple', a)) WITH (fastupdate = off, gin_pending_list_limit = 128);
CREATE INDEX op2 ON op USING brin (b int4_minmax_multi_ops(values_per_range = 16)) WITH (pages_per_range = 4, autosummarize);
CREATE INDEX op3 ON op USING hash (a);
CREATE INDEX op4 ON op USING spgist (a text_ops);
CREATE INDEX op5 ON op (b) WITH (deduplicate_items = off);
CREATE INDEX op6 ON op USING gist (to_tsvector('simple', a) tsvector_ops(siglen = 100));
INSERT INTO op SELECT repeat(md5(i::text), i % 300), i, 'c' FROM generate_series(1, 500) i;
ALTER TABLE op CLUSTER ON op5;
ALTER TABLE op SET WITHOUT CLUSTER;
CREATE VIEW vop WITH (security_barrier = true) AS SELECT b FROM op WHERE b > 5 WITH CASCADED CHECK OPTION;
CREATE VIEW vinv WITH (security_invoker = true) AS SELECT * FROM op;
CREATE MATERIALIZED VIEW mop WITH (fillfactor = 60) AS SELECT * FROM op;
ALTER MATERIALIZED VIEW mop ALTER a SET STORAGE EXTERNAL;
ALTER MATERIALIZED VIEW mop ALTER b SET STATISTICS 44;
CREATE INDEX mopi ON mop (b);
ALTER MATERIALIZED VIEW mop CLUSTER ON mopi;
ALTER VIEW vop ALTER b SET DEFAULT 6;
CREATE RULE vr AS ON UPDATE TO vinv DO INSTEAD (UPDATE op SET a = NEW.a WHERE b = OLD.b;
INSERT INTO op VALUES ('x'));
CREATE RULE n AS ON INSERT TO op DO ALSO NOTIFY ch;
ALTER TABLE op DISABLE RULE n;
COMMENT ON RULE vr ON vinv IS 'r';
CREATE FUNCTION tgv() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW;
END';
CREATE TRIGGER iv INSTEAD OF INSERT ON vop FOR EACH ROW EXECUTE FUNCTION tgv();
CREATE TRIGGER tt AFTER UPDATE ON op REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION tgv();
CREATE TRIGGER trunc BEFORE TRUNCATE ON op EXECUTE FUNCTION tgv();
COMMENT ON TRIGGER iv ON vop IS 't';
