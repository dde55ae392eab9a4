-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- What couch2pg's own migrations make: tables without any primary key, and its place in each CouchDB database.
CREATE TABLE couchdb (doc jsonb);
CREATE TABLE couchdb_users_meta (doc jsonb);
CREATE TABLE couchdb_medic_logs (doc jsonb);
CREATE TABLE couchdb_medic_users (doc jsonb);
CREATE TABLE couchdb_progress (seq varchar, source varchar);
CREATE TABLE couch2pg_migrations (version bigint, name text, md5 text, run_at timestamptz);
CREATE TABLE xmlforms_migrations (version bigint, name text, md5 text, run_at timestamptz);
CREATE TABLE users_meta_migrations (version bigint, name text, md5 text, run_at timestamptz);

INSERT INTO couch2pg_migrations
SELECT 201606200952 + n, 'couch2pg-' || n, md5('couch2pg' || n), timestamptz '2024-01-15 08:00:00+00' + n * interval '1 s'
FROM generate_series(1, 4) AS n;
INSERT INTO xmlforms_migrations
SELECT 201606200952 + n, 'xmlforms-' || n, md5('xmlforms' || n), timestamptz '2024-01-15 08:01:00+00' + n * interval '1 s'
FROM generate_series(1, 9) AS n;
INSERT INTO users_meta_migrations
SELECT 202104091500 + n, 'users-meta-' || n, md5('users-meta' || n), timestamptz '2024-01-15 08:02:00+00' + n * interval '1 s'
FROM generate_series(1, 3) AS n;

INSERT INTO couchdb_progress (seq, source)
SELECT seq || '-g1AAAACbeJzLYWBgYMpgTmEQTM4vTc5ISXIwNDLXMwBCwxyQVB4LkGRoAFL_gSArgzmJgYFhXi5QjN04ycLAwtQYmz4A', source
FROM (VALUES
    (150800, 'couchdb.cht.example:5984/medic'),
    (30218, 'couchdb.cht.example:5984/medic-sentinel'),
    (4107, 'couchdb.cht.example:5984/medic-users-meta'),
    (812, 'couchdb.cht.example:5984/medic-logs'),
    (96, 'couchdb.cht.example:5984/_users')
) AS place (seq, source);
