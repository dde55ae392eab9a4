-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Circles of foreign keys, keys with columns to set, constraint triggers, triggers on views, transition tables, states of each.
CREATE TABLE places (id int PRIMARY KEY, parent int REFERENCES places ON DELETE CASCADE, contact int, kind text, UNIQUE (id, kind));
CREATE TABLE people (id int PRIMARY KEY, place int NOT NULL, kind text DEFAULT 'x', CONSTRAINT "lives at" FOREIGN KEY (place, kind) REFERENCES places (id, kind) MATCH SIMPLE ON DELETE SET NULL (kind) ON UPDATE CASCADE);
ALTER TABLE places ADD CONSTRAINT contact_of FOREIGN KEY (contact) REFERENCES people DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE places ALTER CONSTRAINT contact_of DEFERRABLE INITIALLY DEFERRED; INSERT INTO places VALUES (1, NULL, 10, 'x'), (2, 1, 11, 'x'); INSERT INTO people VALUES (10, 1), (11, 2); SET CONSTRAINTS ALL IMMEDIATE;
CREATE TABLE unconstrained (id int, code text); CREATE UNIQUE INDEX code_key ON unconstrained (code) INCLUDE (id);
INSERT INTO unconstrained VALUES (1, 'a'), (2, 'b');
CREATE TABLE refers (code text REFERENCES unconstrained (code), other text DEFAULT 'a' REFERENCES unconstrained (code) ON DELETE SET DEFAULT);
INSERT INTO refers VALUES ('a', 'b');
ALTER TABLE unconstrained REPLICA IDENTITY FULL;
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF TG_ARGV[0] = ''fail'' THEN RAISE ''fired''; END IF; RETURN NEW; END';
CREATE TRIGGER "1st" BEFORE INSERT OR UPDATE OF kind, contact ON places FOR EACH ROW WHEN (NEW.kind IN ('a', 'b') AND NEW.id BETWEEN 1 AND 5) EXECUTE FUNCTION fire('it''s', '\x', 'é');
CREATE TRIGGER on_load BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION fire('fail');
CREATE TRIGGER on_load_statement AFTER INSERT ON people REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION fire('fail');
CREATE CONSTRAINT TRIGGER checked AFTER INSERT OR DELETE ON people DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION fire('fail');
CREATE TRIGGER replica_only AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION fire(); ALTER TABLE people ENABLE REPLICA TRIGGER replica_only;
ALTER TABLE places DISABLE TRIGGER "1st";
CREATE VIEW place_names AS SELECT id, kind FROM places; CREATE TRIGGER instead INSTEAD OF UPDATE OR DELETE ON place_names FOR EACH ROW EXECUTE FUNCTION fire();
CREATE TABLE audit (at timestamptz DEFAULT now(), what text); CREATE RULE audited AS ON UPDATE TO unconstrained WHERE old.code <> new.code DO ALSO INSERT INTO audit (what) VALUES (old.code || '->' || new.code);
CREATE RULE "no truncation" AS ON DELETE TO audit DO INSTEAD NOTHING; ALTER TABLE audit ENABLE REPLICA RULE "no truncation";
COMMENT ON TRIGGER "1st" ON places IS 't'; COMMENT ON CONSTRAINT contact_of ON places IS 'c';
