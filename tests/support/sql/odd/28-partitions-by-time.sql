-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Partitions by time with everything that only one of them has, other orders of columns, and one that is left detached.
CREATE TABLE events (at timestamptz NOT NULL, chw text COLLATE "C", n int DEFAULT 1, doc jsonb, PRIMARY KEY (at, n)) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events (chw DEFAULT 'of 2025', CONSTRAINT only_here CHECK (n < 1000)) FOR VALUES FROM (MINVALUE) TO ('2026-01-01 00:00+03') WITH (fillfactor = 70);
CREATE TABLE events_2026 (doc jsonb, dropped int, n int NOT NULL, own text, at timestamptz NOT NULL, chw text COLLATE "C");
ALTER TABLE events_2026 DROP dropped, DROP own;
ALTER TABLE events_2026 ADD CONSTRAINT pk_2026 PRIMARY KEY (at, n);
ALTER TABLE events ATTACH PARTITION events_2026 FOR VALUES FROM ('2026-01-01 00:00+03') TO ('2027-01-01 00:00+03');
CREATE UNLOGGED TABLE events_rest PARTITION OF events DEFAULT PARTITION BY LIST (n);
CREATE TABLE events_rest_a PARTITION OF events_rest FOR VALUES IN (1, 2);
CREATE TABLE events_rest_rest PARTITION OF events_rest DEFAULT;
CREATE TABLE events_2024 PARTITION OF events_rest FOR VALUES IN (3);
INSERT INTO events SELECT '2025-12-30 00:00+00'::timestamptz + i * interval '8 h', chr(96 + i % 26), i, NULL FROM generate_series(1, 60) AS i;
INSERT INTO events VALUES ('2030-01-01', 'a', 1), ('2030-01-01', NULL, 2), ('2030-01-01', 'z', 3);
ALTER TABLE events_rest DETACH PARTITION events_2024;
CREATE INDEX by_chw ON ONLY events (chw);
CREATE INDEX by_chw_2025 ON events_2025 (chw);
ALTER INDEX by_chw ATTACH PARTITION by_chw_2025;
CREATE INDEX ON events (lower(chw) text_pattern_ops, at DESC) WHERE n > 5;
ALTER TABLE events ADD CONSTRAINT positive CHECK (n > 0) NOT VALID;
ALTER TABLE events_2025 VALIDATE CONSTRAINT positive;
CREATE TABLE notes (at timestamptz, n int, FOREIGN KEY (at, n) REFERENCES events ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, note text);
INSERT INTO notes SELECT at, n, 'n' FROM events LIMIT 5;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.doc := ''{}''; RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE OF chw ON events FOR EACH ROW WHEN (OLD.chw IS DISTINCT FROM NEW.chw) EXECUTE FUNCTION touch();
ALTER TABLE events_2026 DISABLE TRIGGER touched;
ALTER TABLE events_2025 ENABLE ALWAYS TRIGGER touched;
CREATE STATISTICS by_day ON at, chw FROM events;
CREATE POLICY all_events ON events USING (n > 0);
ALTER TABLE events_2025 ALTER chw SET STORAGE EXTERNAL, ALTER chw SET STATISTICS 12, SET (autovacuum_enabled = false);
COMMENT ON TABLE events_2025 IS '2025';
ALTER TABLE events_2026 OWNER TO couch2pg;
GRANT SELECT ON events_2026 TO superset;
CREATE VIEW over_events AS SELECT tableoid::regclass::text AS part, e.* FROM events AS e;
