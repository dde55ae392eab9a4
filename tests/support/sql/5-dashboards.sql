-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- A deployment's own dashboard: three materialized views, each on the one before, and a function that reads a table.
CREATE FUNCTION area_population(area text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM public.couchdb AS clinic
    WHERE clinic.doc ->> 'type' = 'clinic' AND clinic.doc #>> '{parent,_id}' = area
$$;

CREATE MATERIALIZED VIEW dashboard_visits AS
SELECT
    form.chw,
    chw.parent_uuid AS area,
    date_trunc('month', form.reported AT TIME ZONE 'UTC')::date AS month,
    form.formname,
    count(*) AS reports,
    count(DISTINCT form.patient_uuid) AS patients
FROM form_metadata AS form
JOIN contactview_metadata AS chw ON chw.uuid = form.chw
GROUP BY 1, 2, 3, 4;
CREATE UNIQUE INDEX dashboard_visits_key ON dashboard_visits (chw, month, formname);

CREATE MATERIALIZED VIEW dashboard_areas AS
SELECT area.*, area_population(area.area) AS households
FROM (
    SELECT area, month, sum(reports) AS reports, sum(patients) AS patients FROM dashboard_visits GROUP BY area, month
) AS area;
CREATE UNIQUE INDEX dashboard_areas_key ON dashboard_areas (area, month);

CREATE MATERIALIZED VIEW dashboard_ranking AS
SELECT
    area,
    month,
    reports / nullif(households, 0) AS reports_for_each_household,
    rank() OVER (PARTITION BY month ORDER BY reports DESC, area) AS place
FROM dashboard_areas;
CREATE UNIQUE INDEX dashboard_ranking_key ON dashboard_ranking (area, month);
