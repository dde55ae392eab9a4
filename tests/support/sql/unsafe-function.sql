-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- The trap: names without a schema. It works in every session of the source, and fails where the search path is empty.
CREATE OR REPLACE FUNCTION area_population(area text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM couchdb AS clinic
    WHERE clinic.doc ->> 'type' = 'clinic' AND clinic.doc #>> '{parent,_id}' = area
$$;
