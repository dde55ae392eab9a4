-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- What couch2pg's own migrations make: tables without any primary key, and its place in each CouchDB database.
CREATE TABLE couchdb (doc jsonb);
CREATE TABLE couchdb_users_meta (doc jsonb);
CREATE TABLE couchdb_medic_logs (doc jsonb);
CREATE TABLE couchdb_medic_users (doc jsonb);
CREATE TABLE couchdb_progress (seq varchar, source varchar NOT NULL);
CREATE TABLE couch2pg_migrations (version bigint, name text, md5 text, run_at timestamptz);
CREATE TABLE xmlforms_migrations (version bigint, name text, md5 text, run_at timestamptz);
CREATE TABLE users_meta_migrations (version bigint, name text, md5 text, run_at timestamptz);

-- Version, name and checksum of each migration of couch2pg 0.7.1, which it looks at when it starts.
INSERT INTO couch2pg_migrations
SELECT version, name, md5, timestamptz '2024-01-15 08:00:00+00'
FROM (VALUES
    (0, '', ''),
    (201606091247, '2318-standardise-schema', '80caa5bfed7af40fca8f5b0d2321b96d'),
    (201606091248, '2124-support-edit-and-delete-of-documents', '1e4b99477f52e456fd4876b1986ec68a'),
    (201607132040, '2506-unique-id-constraint', '6e48e48a083a4a06029fe0b231d4f3b1'),
    (201607210832, '2523-remove-unused-index', 'dd4854328c111126b3418256cbbbbdae'),
    (201611271809, '2923-couch2-support', '1e35b1bd14c9c04e186128d45b3163be'),
    (201803202020, '3423-multiple-db-support', '5555690cacd27e1604c86565363244b8')
) AS migration (version, name, md5);

INSERT INTO couchdb_progress (seq, source)
SELECT seq || '-g1AAAACbeJzLYWBgYMpgTmEQTM4vTc5ISXIwNDLXMwBCwxyQVB4LkGRoAFL_gSArgzmJgYFhXi5QjN04ycLAwtQYmz4A', source
FROM (VALUES
    (150800, 'couchdb.cht.example:5984/medic'),
    (30218, 'couchdb.cht.example:5984/medic-sentinel'),
    (4107, 'couchdb.cht.example:5984/medic-users-meta'),
    (812, 'couchdb.cht.example:5984/medic-logs'),
    (96, 'couchdb.cht.example:5984/_users')
) AS place (seq, source);
