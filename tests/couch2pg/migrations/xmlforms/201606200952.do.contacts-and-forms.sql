-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Contacts and forms as reports want them, and the refresh at the end of each run.
CREATE VIEW raw_contacts AS
SELECT doc FROM couchdb WHERE doc ->> 'type' IN ('contact', 'clinic', 'district_hospital', 'health_center', 'person');

CREATE MATERIALIZED VIEW contactview_metadata AS
SELECT
    doc ->> '_id' AS uuid,
    doc ->> 'name' AS name,
    doc ->> 'type' AS type,
    doc #>> '{contact,_id}' AS contact_uuid,
    doc #>> '{parent,_id}' AS parent_uuid,
    doc ->> 'notes' AS notes,
    timestamptz 'epoch' + (doc ->> 'reported_date')::numeric / 1000 * interval '1 second' AS reported
FROM raw_contacts;
CREATE UNIQUE INDEX contactview_metadata_uuid ON contactview_metadata (uuid);
CREATE INDEX contactview_metadata_parent_uuid ON contactview_metadata (parent_uuid);
CREATE INDEX contactview_metadata_type ON contactview_metadata (type);

CREATE MATERIALIZED VIEW form_metadata AS
SELECT
    doc ->> '_id' AS uuid,
    doc #>> '{contact,_id}' AS chw,
    doc ->> 'form' AS formname,
    doc #>> '{fields,patient_uuid}' AS patient_uuid,
    timestamptz 'epoch' + (doc ->> 'reported_date')::numeric / 1000 * interval '1 second' AS reported
FROM couchdb
WHERE doc ->> 'type' = 'data_record' AND doc ? 'form';
CREATE UNIQUE INDEX form_metadata_uuid ON form_metadata (uuid);
CREATE INDEX form_metadata_chw ON form_metadata (chw, reported);

CREATE VIEW contactview_hospital AS
SELECT uuid, name FROM contactview_metadata WHERE type = 'district_hospital';

CREATE VIEW contactview_person_fields AS
SELECT
    doc ->> '_id' AS uuid,
    doc ->> 'phone' AS phone,
    doc ->> 'date_of_birth' AS date_of_birth,
    doc #>> '{parent,type}' AS parent_type
FROM raw_contacts
WHERE doc ->> 'type' = 'person';

CREATE VIEW contactview_chw AS
SELECT chw.uuid, chw.name, fields.phone, fields.date_of_birth, area.uuid AS area_uuid, area.name AS area_name
FROM contactview_person_fields AS fields
JOIN contactview_metadata AS chw ON chw.uuid = fields.uuid
JOIN contactview_metadata AS area ON area.uuid = chw.parent_uuid AND area.type = 'health_center';

CREATE VIEW contactview_clinic AS
SELECT clinic.uuid, clinic.name, chw.uuid AS chw_uuid, clinic.reported AS created
FROM contactview_metadata AS clinic
JOIN contactview_chw AS chw ON chw.area_uuid = clinic.parent_uuid
WHERE clinic.type = 'clinic';

CREATE VIEW contactview_clinic_person AS
SELECT person.uuid, person.name, fields.phone, fields.date_of_birth, person.parent_uuid AS family_uuid
FROM contactview_metadata AS person
JOIN contactview_person_fields AS fields ON fields.uuid = person.uuid
JOIN contactview_metadata AS clinic ON clinic.uuid = person.parent_uuid AND clinic.type = 'clinic';

-- As cht-couch2pg's: one call for all, names without schemas, everything CONCURRENTLY.
CREATE FUNCTION refresh_matviews() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    matview record;
BEGIN
    RAISE NOTICE 'Refreshing contactview_metadata';
    REFRESH MATERIALIZED VIEW CONCURRENTLY contactview_metadata;
    FOR matview IN SELECT matviewname FROM pg_catalog.pg_matviews LOOP
        RAISE NOTICE 'Refreshing %', matview.matviewname;
        EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY %I', matview.matviewname);
    END LOOP;
    RETURN 1;
END
$$;
