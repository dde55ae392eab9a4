-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
CREATE FUNCTION get_telemetry_date(metadata jsonb) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT make_date((metadata ->> 'year')::integer, (metadata ->> 'month')::integer, coalesce((metadata ->> 'day')::integer, 1))
$$;

CREATE MATERIALIZED VIEW useview_telemetry AS
SELECT
    doc ->> '_id' AS uuid,
    get_telemetry_date(doc -> 'metadata') AS period_start,
    doc #>> '{metadata,user}' AS user_name,
    doc #>> '{metadata,versions,app}' AS app_version,
    (doc #>> '{metrics,boot_time,sum}')::numeric / (doc #>> '{metrics,boot_time,count}')::numeric AS boot_time_avg
FROM couchdb_users_meta
WHERE doc ->> 'type' = 'telemetry';
CREATE UNIQUE INDEX useview_telemetry_uuid ON useview_telemetry (uuid);

CREATE MATERIALIZED VIEW useview_telemetry_devices AS
SELECT DISTINCT ON (doc #>> '{metadata,deviceId}', doc #>> '{metadata,user}')
    concat_ws('-', doc #>> '{metadata,deviceId}', doc #>> '{metadata,user}') AS uuid,
    doc #>> '{metadata,deviceId}' AS device_id,
    doc #>> '{metadata,user}' AS user_name,
    get_telemetry_date(doc -> 'metadata') AS period_start,
    doc #>> '{device,userAgent}' AS user_agent,
    (doc #>> '{device,deviceInfo,ram,free}')::bigint AS ram_free
FROM couchdb_users_meta
WHERE doc ->> 'type' = 'telemetry'
ORDER BY doc #>> '{metadata,deviceId}', doc #>> '{metadata,user}', get_telemetry_date(doc -> 'metadata') DESC, doc ->> '_id';
CREATE UNIQUE INDEX useview_telemetry_devices_uuid ON useview_telemetry_devices (device_id, user_name);

CREATE MATERIALIZED VIEW useview_telemetry_metrics AS
SELECT
    concat_ws('-', doc ->> '_id', metric.key) AS id,
    get_telemetry_date(doc -> 'metadata') AS period_start,
    metric.key AS metric,
    (metric.value ->> 'min')::numeric AS min,
    (metric.value ->> 'max')::numeric AS max,
    (metric.value ->> 'sum')::numeric AS sum,
    (metric.value ->> 'count')::bigint AS count
FROM couchdb_users_meta, jsonb_each(doc -> 'metrics') AS metric
WHERE doc ->> 'type' = 'telemetry';
CREATE UNIQUE INDEX useview_telemetry_metrics_id ON useview_telemetry_metrics (id);
