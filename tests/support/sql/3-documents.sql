-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Documents. seed.documents is the number of rows of couchdb when this is done, those that are there included;
-- seed.random chooses among the possible contents. The same on every major version: random() would not be.
CREATE FUNCTION pg_temp.hash(salt text, i bigint) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT md5(current_setting('seed.random') || salt || i) $$;

-- 0 <= pick < n
CREATE FUNCTION pg_temp.pick(salt text, i bigint, n bigint) RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT ('x' || left(md5(current_setting('seed.random') || salt || i), 8))::bit(32)::bigint % n $$;

CREATE FUNCTION pg_temp.id(kind text, i bigint) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT md5(current_setting('seed.random') || kind || i)::uuid::text $$;

CREATE FUNCTION pg_temp.rev(kind text, i bigint) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT 1 + pg_temp.pick(kind || 'rev', i, 4) || '-' || md5(kind || i) $$;

-- Milliseconds since 1970, in 2024 and 2025.
CREATE FUNCTION pg_temp.moment(kind text, i bigint) RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT 1704067200000 + pg_temp.pick(kind || 'moment', i, 63072000) * 1000 + pg_temp.pick(kind || 'ms', i, 1000) $$;

-- Not the name of a person.
CREATE FUNCTION pg_temp.name(kind text, i bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(initcap(a.part || b.part || c.part), ' ' ORDER BY word)
    FROM (VALUES ('given'), ('family')) AS words (word)
    CROSS JOIN LATERAL (SELECT (ARRAY['ba','de','ki','lo','mu','na','pi','ro','sa','te','vu','ze'])[1 + pg_temp.pick(kind || word || 1, i, 12)]) AS a (part)
    CROSS JOIN LATERAL (SELECT (ARRAY['ra','li','mo','nu','ta','we','yo','shi','ndi','ka'])[1 + pg_temp.pick(kind || word || 2, i, 10)]) AS b (part)
    CROSS JOIN LATERAL (SELECT (ARRAY['n','la','ri','mba','so','','th','né'])[1 + pg_temp.pick(kind || word || 3, i, 8)]) AS c (part)
$$;

CREATE TEMPORARY TABLE seed_size AS
SELECT
    documents,
    4::bigint AS districts,
    greatest(4, documents / 2500) AS centers,
    greatest(8, documents / 20) AS clinics,
    greatest(16, documents / 4) AS persons,
    documents / 10 AS infos
FROM (SELECT current_setting('seed.documents')::bigint AS documents) AS wanted;

INSERT INTO couchdb (doc)
SELECT jsonb_build_object(
    '_id', pg_temp.id('district', i), '_rev', pg_temp.rev('district', i),
    'type', 'district_hospital', 'name', 'District ' || i, 'external_id', 'D-' || lpad(i::text, 3, '0'),
    'reported_date', pg_temp.moment('district', i), 'notes', '', 'parent', '')
FROM seed_size, generate_series(1, districts) AS i;

INSERT INTO couchdb (doc)
SELECT jsonb_build_object(
    '_id', pg_temp.id('center', i), '_rev', pg_temp.rev('center', i),
    'type', 'health_center', 'name', 'Area ' || i, 'code', lpad(i::text, 5, '0'),
    'reported_date', pg_temp.moment('center', i), 'imported_date', '2024-02-29T23:59:59.000Z',
    'contact', jsonb_build_object('_id', pg_temp.id('chw', i), 'parent', jsonb_build_object('_id', pg_temp.id('center', i))),
    'parent', jsonb_build_object('_id', pg_temp.id('district', 1 + i % districts)))
FROM seed_size, generate_series(1, centers) AS i;

INSERT INTO couchdb (doc)
SELECT jsonb_build_object(
    '_id', pg_temp.id('chw', i), '_rev', pg_temp.rev('chw', i),
    'type', 'person', 'role', 'chw', 'name', pg_temp.name('chw', i), 'phone', '+999' || lpad(i::text, 9, '0'),
    'date_of_birth', '1985-01-01', 'reported_date', pg_temp.moment('chw', i),
    'parent', jsonb_build_object('_id', pg_temp.id('center', i),
        'parent', jsonb_build_object('_id', pg_temp.id('district', 1 + i % districts))))
FROM seed_size, generate_series(1, centers) AS i;

INSERT INTO couchdb (doc)
SELECT jsonb_build_object(
    '_id', pg_temp.id('clinic', i), '_rev', pg_temp.rev('clinic', i),
    'type', 'clinic', 'name', pg_temp.name('clinic', i) || '''s household', 'reported_date', pg_temp.moment('clinic', i),
    'contact', jsonb_build_object('_id', pg_temp.id('person', 1 + pg_temp.pick('head', i, persons))),
    'geolocation', jsonb_build_object(
        'latitude', (pg_temp.pick('latitude', i, 20000000) - 10000000)::numeric / 1000000,
        'longitude', (pg_temp.pick('longitude', i, 60000000) - 10000000)::numeric / 1000000,
        'accuracy', 20.0, 'altitude', NULL),
    'parent', jsonb_build_object('_id', pg_temp.id('center', 1 + i % centers),
        'parent', jsonb_build_object('_id', pg_temp.id('district', 1 + (1 + i % centers) % districts))))
FROM seed_size, generate_series(1, clinics) AS i;

INSERT INTO couchdb (doc)
SELECT jsonb_build_object(
    '_id', pg_temp.id('person', i), '_rev', pg_temp.rev('person', i),
    'type', 'person', 'name', pg_temp.name('person', i), 'short_name', '',
    'date_of_birth', (date '1940-01-01' + pg_temp.pick('birth', i, 31000)::integer)::text,
    'date_of_birth_method', CASE pg_temp.pick('method', i, 3) WHEN 0 THEN 'approx' ELSE '' END,
    'sex', CASE pg_temp.pick('sex', i, 2) WHEN 0 THEN 'female' ELSE 'male' END,
    'phone', CASE pg_temp.pick('phone', i, 4) WHEN 0 THEN '+999' || lpad(pg_temp.pick('number', i, 1000000000)::text, 9, '0') ELSE '' END,
    'patient_id', lpad(i::text, 6, '0'), 'role', 'patient', 'reported_date', pg_temp.moment('person', i),
    'meta', jsonb_build_object('created_by', 'chw_' || 1 + (1 + i % clinics) % centers, 'created_by_person_uuid', '', 'created_by_place_uuid', ''),
    'parent', jsonb_build_object('_id', pg_temp.id('clinic', 1 + i % clinics),
        'parent', jsonb_build_object('_id', pg_temp.id('center', 1 + (1 + i % clinics) % centers))))
FROM seed_size, generate_series(1, persons) AS i;

-- What Sentinel writes beside documents; couch2pg puts both databases into one table.
INSERT INTO couchdb (doc)
SELECT jsonb_build_object(
    '_id', pg_temp.id('person', i) || '-info', '_rev', pg_temp.rev('info', i),
    'type', 'info', 'doc_id', pg_temp.id('person', i), 'latest_replication_date', pg_temp.moment('info', i),
    'transitions', jsonb_build_object('update_clinics', jsonb_build_object('last_rev', 2, 'seq', NULL, 'ok', true)))
FROM seed_size, generate_series(1, infos) AS i;

-- Reports: the rest.
INSERT INTO couchdb (doc)
SELECT jsonb_build_object(
    '_id', pg_temp.id('report', i), '_rev', pg_temp.rev('report', i),
    'type', 'data_record', 'content_type', 'xml',
    'form', (ARRAY['assessment', 'pregnancy', 'delivery', 'home_visit', 'stock_count', 'referral'])[1 + pg_temp.pick('form', i, 6)],
    'from', '+999' || lpad(center::text, 9, '0'), 'reported_date', pg_temp.moment('report', i),
    'contact', jsonb_build_object('_id', pg_temp.id('chw', center),
        'parent', jsonb_build_object('_id', pg_temp.id('center', center),
            'parent', jsonb_build_object('_id', pg_temp.id('district', 1 + center % districts)))),
    'fields', jsonb_build_object(
        'patient_id', lpad(patient::text, 6, '0'), 'patient_uuid', pg_temp.id('person', patient),
        'patient_name', pg_temp.name('person', patient),
        'inputs', jsonb_build_object('source', 'contact', 'source_id', '', 'contact', jsonb_build_object(
            '_id', pg_temp.id('person', patient), 'sex', 'female', 'parent', jsonb_build_object('contact', jsonb_build_object('phone', '')))),
        'temperature', (350 + pg_temp.pick('temperature', i, 60))::numeric / 10,
        'weight', (250 + pg_temp.pick('weight', i, 8000))::numeric(8, 2) / 100,
        'danger_signs', jsonb_build_object('fever', 'no', 'cough', CASE pg_temp.pick('cough', i, 3) WHEN 0 THEN 'yes' ELSE 'no' END, 'convulsion', 'no', 'bleeding', ''),
        'visits', (SELECT jsonb_agg(jsonb_build_object('n', n, 'done', n % 2 = 0, 'note', pg_temp.hash('note' || n, i)))
            FROM generate_series(1, pg_temp.pick('visits', i, 6)) AS n),
        'notes', CASE pg_temp.pick('notes', i, 5) WHEN 0 THEN 'Mother and child seen at home, next visit agreed. ' ELSE '' END,
        'meta', jsonb_build_object('instanceID', 'uuid:' || pg_temp.id('instance', i), 'deprecatedID', '')),
    'hidden_fields', jsonb_build_array('meta', 'inputs'), 'errors', '[]'::jsonb,
    'geolocation_log', jsonb_build_array(jsonb_build_object('timestamp', pg_temp.moment('report', i),
        'recording', jsonb_build_object('code', 2, 'message', 'application does not have sufficient geolocation permissions.'))),
    '_attachments', jsonb_build_object('content', jsonb_build_object('content_type', 'application/xml', 'revpos', 2,
        'digest', 'md5-' || encode(decode(pg_temp.hash('digest', i), 'hex'), 'base64'), 'length', 1500 + pg_temp.pick('length', i, 900), 'stub', true)))
FROM seed_size
CROSS JOIN LATERAL generate_series(1, documents - (SELECT count(*) FROM couchdb)) AS i
CROSS JOIN LATERAL (SELECT 1 + pg_temp.pick('center', i, centers) AS center, 1 + pg_temp.pick('patient', i, persons) AS patient) AS about;

INSERT INTO couchdb_users_meta (doc)
SELECT jsonb_build_object(
    '_id', 'telemetry-' || date.year || '-' || date.month || '-' || date.day || '-chw_' || 1 + i % centers || '-' || pg_temp.id('device', i), '_rev', pg_temp.rev('telemetry', i),
    'type', 'telemetry',
    'metadata', jsonb_build_object('year', date.year, 'month', date.month, 'day', date.day, 'user', 'chw_' || 1 + i % centers,
        'deviceId', pg_temp.id('device', i % centers), 'versions', jsonb_build_object('app', '4.7.1', 'settings', pg_temp.rev('settings', 1))),
    'metrics', jsonb_build_object(
        'boot_time', jsonb_build_object('sum', 5000 + pg_temp.pick('boot', i, 9000), 'min', 1200.5, 'max', 9000.25, 'count', 3, 'sumsqr', 4.5e7),
        'search:reports', jsonb_build_object('sum', pg_temp.pick('search', i, 900)::numeric / 10, 'min', 0.10, 'max', 99.90, 'count', 7, 'sumsqr', 1234.50)),
    'device', jsonb_build_object('userAgent', 'Mozilla/5.0 (Linux; Android 11)', 'hardwareConcurrency', 8,
        'screen', jsonb_build_object('width', 360, 'height', 760),
        'deviceInfo', jsonb_build_object('app', jsonb_build_object('version', 'v1.2.0'), 'ram', jsonb_build_object('free', 400000000 + pg_temp.pick('ram', i, 900000000)))),
    'dbInfo', jsonb_build_object('doc_count', pg_temp.pick('local', i, 9000), 'update_seq', pg_temp.pick('seq', i, 20000)))
FROM seed_size
CROSS JOIN LATERAL generate_series(1, documents / 50) AS i
CROSS JOIN LATERAL (SELECT 2024 + i % 2 AS year, 1 + i % 12 AS month, 1 + i % 28 AS day) AS date;

INSERT INTO couchdb_users_meta (doc)
SELECT jsonb_build_object(
    '_id', 'feedback-' || pg_temp.id('feedback', i), '_rev', pg_temp.rev('feedback', i), 'type', 'feedback',
    'meta', jsonb_build_object('time', to_char(timestamp '2024-03-01' + i * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS".000Z"'),
        'user', jsonb_build_object('name', 'chw_' || 1 + i % centers), 'url', 'https://cht.example/#/reports', 'version', '4.7.1', 'source', 'automatic'),
    'info', jsonb_build_object('message', 'TypeError: can''t read "' || pg_temp.pick('field', i, 90) || E'"\tof undefined\n  at a.b', 'cause', NULL))
FROM seed_size, generate_series(1, documents / 100) AS i;

INSERT INTO couchdb_medic_logs (doc)
SELECT jsonb_build_object('_id', 'replication-count-chw_' || i, '_rev', pg_temp.rev('log', i), 'user', 'chw_' || i,
    'date', pg_temp.moment('log', i), 'count', pg_temp.pick('count', i, 9000))
FROM seed_size, generate_series(1, centers) AS i;

INSERT INTO couchdb_medic_users (doc)
SELECT jsonb_build_object('_id', 'org.couchdb.user:chw_' || i, '_rev', pg_temp.rev('user', i), 'name', 'chw_' || i, 'type', 'user',
    'roles', jsonb_build_array('chw'), 'facility_id', pg_temp.id('center', i), 'contact_id', pg_temp.id('chw', i))
FROM seed_size, generate_series(1, centers) AS i;

DROP TABLE seed_size;
