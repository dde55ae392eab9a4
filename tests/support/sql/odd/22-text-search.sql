-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Parsers, templates, dictionaries and configurations of text search; collations; conversions.
CREATE SCHEMA ts;
CREATE TEXT SEARCH PARSER ts.p (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH TEMPLATE ts.tm (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY ts.d (TEMPLATE = ts.tm);
CREATE TEXT SEARCH DICTIONARY ts.syn (TEMPLATE = snowball, LANGUAGE = 'english', STOPWORDS = 'english');
CREATE TEXT SEARCH CONFIGURATION ts.c (PARSER = ts.p);
ALTER TEXT SEARCH CONFIGURATION ts.c ADD MAPPING FOR asciiword, hword WITH ts.syn, ts.d;
COMMENT ON TEXT SEARCH CONFIGURATION ts.c IS 'c';
COMMENT ON TEXT SEARCH DICTIONARY ts.d IS 'd';
COMMENT ON TEXT SEARCH PARSER ts.p IS 'p';
COMMENT ON TEXT SEARCH TEMPLATE ts.tm IS 't';
CREATE TABLE ts.doc (t text, v tsvector GENERATED ALWAYS AS (to_tsvector('ts.c', t)) STORED);
INSERT INTO ts.doc VALUES ('Running foxes');
CREATE INDEX ON ts.doc USING gin (v);
CREATE COLLATION ts.co FROM "C";
CREATE COLLATION ts.posix (LC_COLLATE = 'C', LC_CTYPE = 'POSIX');
CREATE TABLE ts.col (a text COLLATE ts.co, b text COLLATE "POSIX");
CREATE INDEX ON ts.col (a COLLATE "C");
COMMENT ON COLLATION ts.co IS 'c';
CREATE CONVERSION ts.cv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION ts.cv IS 'c';
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_text_search_config = ''ts.c''', current_database());
END $$;
