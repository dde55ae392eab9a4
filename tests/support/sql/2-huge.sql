-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Three documents of about 3 MB whose text hardly compresses.
INSERT INTO couchdb (doc)
SELECT jsonb_build_object(
    '_id', 'huge-' || n, '_rev', '1-' || md5(n::text), 'type', 'data_record', 'form', 'photo_report',
    'reported_date', 1719800000000 + n,
    'contact', jsonb_build_object('_id', 'nobody'),
    'fields', jsonb_build_object('patient_id', 'huge', 'photo', (
        SELECT string_agg(md5(current_setting('seed.random') || n || i), '' ORDER BY i) FROM generate_series(1, 98304) AS i)))
FROM generate_series(1, 3) AS n;
