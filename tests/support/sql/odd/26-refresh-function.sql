-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- refresh_matviews() in CHT's way, in another schema too, and functions that read materialized views.
CREATE MATERIALIZED VIEW form_metadata AS SELECT 1 AS id, 'x' AS form;
CREATE UNIQUE INDEX ON form_metadata (id);
CREATE FUNCTION get_dashboard_data(metric text DEFAULT 'all', VARIADIC areas text[] DEFAULT ARRAY[]::text[]) RETURNS TABLE (area text, "Value %" numeric) LANGUAGE plpgsql STABLE
  SET search_path FROM CURRENT AS $fn$ BEGIN RETURN QUERY SELECT f.form, 1.50 FROM odd_26.form_metadata AS f WHERE metric = 'all' OR f.form = ANY (areas); END $fn$;
CREATE MATERIALIZED VIEW from_function AS SELECT * FROM odd_26.get_dashboard_data('all');
CREATE UNIQUE INDEX ON from_function (area);
CREATE FUNCTION refresh_all() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = odd_26, pg_temp SET statement_timeout = '5min' SET "custom.setting" = 'a b' AS $$
DECLARE r record; n int := 0; BEGIN FOR r IN SELECT matviewname AS name FROM pg_matviews WHERE schemaname = 'odd_26' ORDER BY 1 LOOP
  EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY odd_26.%I', r.name); n := n + 1; END LOOP; RETURN n; END $$;
REVOKE ALL ON FUNCTION refresh_all() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refresh_all() TO superset;
CREATE MATERIALIZED VIEW no_columns AS SELECT;
CREATE MATERIALIZED VIEW cte AS WITH RECURSIVE t (n, path) AS (SELECT 1, ARRAY[1] UNION ALL SELECT n + 1, path || n + 1 FROM t WHERE n < 5) SEARCH DEPTH FIRST BY n SET o CYCLE n SET c USING p SELECT n, o::text AS o, c FROM t;
CREATE FUNCTION defaults(a int DEFAULT length('x'), b regclass DEFAULT 'odd_26.form_metadata'::regclass, OUT c text, INOUT d date DEFAULT '2026-01-01') LANGUAGE sql AS 'SELECT b::text, d';
CREATE FUNCTION body_first(id int) RETURNS SETOF form_metadata STABLE ROWS 3 BEGIN ATOMIC SELECT f.* FROM form_metadata AS f WHERE f.id = body_first.id; SELECT f.* FROM form_metadata AS f; END;
CREATE VIEW uses_body AS SELECT b.* FROM body_first(1) AS b;
CREATE FUNCTION short(a numeric) RETURNS numeric RETURN round(a, 2);
CREATE TABLE rounded (a numeric, b numeric GENERATED ALWAYS AS (odd_26.short(a)) STORED, CHECK (odd_26.short(a) >= 0));
INSERT INTO rounded VALUES (1.005), (2);
CREATE INDEX ON rounded (odd_26.short(a)) WHERE odd_26.short(a) > 1;
