-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Text search as a deployment makes it: a dictionary chain, a configuration as the database's default, columns and triggers of it.
CREATE TEXT SEARCH DICTIONARY sw_stop (TEMPLATE = pg_catalog.simple, STOPWORDS = 'english', ACCEPT = 'false'); ALTER TEXT SEARCH DICTIONARY sw_stop OWNER TO couch2pg;
CREATE TEXT SEARCH DICTIONARY ispell_less (TEMPLATE = pg_catalog.snowball, LANGUAGE = 'dutch'); CREATE TEXT SEARCH CONFIGURATION swahili (COPY = pg_catalog.english);
ALTER TEXT SEARCH CONFIGURATION swahili ALTER MAPPING FOR asciiword, asciihword, hword_asciipart WITH sw_stop, ispell_less, pg_catalog.simple; ALTER TEXT SEARCH CONFIGURATION swahili DROP MAPPING FOR url, url_path, sfloat;
COMMENT ON TEXT SEARCH CONFIGURATION swahili IS 'Kiswahili'; ALTER TEXT SEARCH CONFIGURATION swahili OWNER TO couch2pg;
CREATE TABLE texts (id int, body text, config regconfig DEFAULT 'odd_33.swahili', v tsvector GENERATED ALWAYS AS (setweight(to_tsvector('odd_33.swahili', coalesce(body, '')), 'B')) STORED, w tsvector);
INSERT INTO texts (id, body) VALUES (1, 'Mtoto the child''s ana homa-kali http://x.org/a'), (2, NULL);
CREATE INDEX ON texts USING gin (v); CREATE INDEX ON texts USING gist (w tsvector_ops (siglen = 64)); CREATE INDEX ON texts USING gin (to_tsvector('english', body)) WHERE body IS NOT NULL;
CREATE TRIGGER filled BEFORE INSERT OR UPDATE ON texts FOR EACH ROW EXECUTE FUNCTION tsvector_update_trigger_column(w, config, body); UPDATE texts SET id = id;
CREATE TABLE queries (q tsquery, r regconfig, d regdictionary, c regclass, p regprocedure, o regoperator, t regtype, n regnamespace, l regrole); INSERT INTO queries VALUES ('mtoto:*B & !(homa <-> kali)', 'odd_33.swahili', 'odd_33.sw_stop', 'odd_33.texts', 'lower(text)', '=(int,int)', 'odd_33.texts[]', 'odd_33', 'couch2pg');
