-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
CREATE MATERIALIZED VIEW useview_feedback AS
SELECT
    doc ->> '_id' AS uuid,
    doc #>> '{meta,source}' AS source,
    doc #>> '{meta,url}' AS url,
    doc #>> '{meta,user,name}' AS user_name,
    (doc #>> '{meta,time}')::timestamptz AS period_start,
    doc #>> '{info,message}' AS message
FROM couchdb_users_meta
WHERE doc ->> 'type' = 'feedback';
CREATE UNIQUE INDEX useview_feedback_uuid ON useview_feedback (uuid);
