-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Indexes on documents: operator classes with parameters, collations, expressions with subscripts, nulls not distinct.
CREATE TABLE docs (doc jsonb NOT NULL, uuid uuid DEFAULT gen_random_uuid(), seen timestamptz DEFAULT '2026-01-01');
INSERT INTO docs SELECT jsonb_build_object('_id', i, 'type', 'data_record', 'fields', jsonb_build_object('n', i, 'p', '1.50'::numeric)), NULL FROM generate_series(1, 40) AS i;
CREATE INDEX d1 ON docs USING gin (doc jsonb_path_ops);
CREATE INDEX d2 ON docs USING gin ((doc -> 'fields')) WITH (fastupdate = off);
CREATE UNIQUE INDEX d3 ON docs ((doc ->> '_id'));
CREATE INDEX d4 ON docs ((doc #>> '{fields,n}') COLLATE "C" text_pattern_ops DESC NULLS LAST, ((doc['fields']['n'])::int)) WHERE doc @> '{"type": "data_record"}' AND NOT doc ? 'deleted';
CREATE UNIQUE INDEX d5 ON docs (uuid, (doc ->> 'type'), (doc ->> '_id')) NULLS NOT DISTINCT WHERE uuid IS NOT NULL;
CREATE INDEX d6 ON docs (to_timestamp(((doc ->> '_id')::bigint / 1000)::double precision));
CREATE INDEX d7 ON docs USING gin (jsonb_path_query_array(doc, '$.fields.* ? (@ > 3)'));
CREATE INDEX d8 ON docs USING brin (seen timestamptz_bloom_ops (n_distinct_per_range = 50));
CREATE STATISTICS types ON (doc ->> 'type'), (doc ->> '_id') FROM docs;
CREATE INDEX d9 ON docs ((CASE WHEN doc ->> 'type' IN ('a', 'b') THEN 'x'::text ELSE coalesce(doc ->> 'type', 'none') END));
ALTER TABLE docs ADD CONSTRAINT has_type CHECK (doc ? 'type' AND jsonb_typeof(doc -> 'type') = 'string' AND length(doc ->> 'type') BETWEEN 1 AND 50);
ALTER TABLE docs ADD CONSTRAINT unique_by EXCLUDE USING btree ((doc ->> '_id') WITH =);
ALTER TABLE docs ADD type varchar(20) GENERATED ALWAYS AS (left(doc ->> 'type', 20)::varchar(20)) STORED;
CREATE TABLE numbers AS SELECT '{"a": 1.0, "b": 1.00, "c": 1e2, "d": "\u00e9\ud83d\ude00", "e": null}'::jsonb AS j, '{"a": 1, "a": 1.0 }'::json AS t;
