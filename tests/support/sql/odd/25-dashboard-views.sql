-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- A dashboard's layers: views on materialized views on views, renamed columns, dropped columns below, views in rules of views.
CREATE TABLE visits (id int PRIMARY KEY, chw text, at timestamptz, gone text, doc jsonb);
INSERT INTO visits SELECT i, 'chw ' || i % 7, '2026-01-01 00:00+03'::timestamptz + i * interval '7 h', 'g', jsonb_build_object('weight', i / 7.0) FROM generate_series(1, 60) AS i;
CREATE VIEW every_visit AS SELECT * FROM visits;
CREATE VIEW by_chw AS SELECT chw, count(*) AS n, max(at) AT TIME ZONE 'Africa/Nairobi' AS latest FROM every_visit GROUP BY chw;
CREATE MATERIALIZED VIEW monthly AS SELECT date_trunc('month', at AT TIME ZONE 'Africa/Nairobi') AS month, chw, count(*) FILTER (WHERE (doc ->> 'weight')::numeric > 2) AS heavy,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY id) AS middle, string_agg(id::text, ',' ORDER BY id DESC) AS ids FROM every_visit GROUP BY 1, 2;
CREATE UNIQUE INDEX ON monthly (month, chw);
CREATE INDEX monthly_heavy ON monthly (heavy DESC NULLS LAST) INCLUDE (ids) WHERE heavy BETWEEN 1 AND 5;
CREATE VIEW over_monthly AS SELECT m.*, b.latest FROM monthly AS m LEFT JOIN by_chw AS b USING (chw);
CREATE MATERIALIZED VIEW yearly AS SELECT extract(year FROM month) AS year, sum(heavy) AS heavy FROM over_monthly GROUP BY 1;
CREATE UNIQUE INDEX ON yearly (year);
ALTER TABLE visits ADD late int DEFAULT 5;
ALTER VIEW by_chw RENAME COLUMN n TO visits;
ALTER VIEW over_monthly RENAME TO "Über Monat";
CREATE VIEW keyed AS SELECT v.id, v.chw, count(m.*) AS months FROM visits AS v LEFT JOIN monthly AS m USING (chw) GROUP BY v.id;
CREATE FUNCTION of_view(every_visit) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1.chw';
CREATE VIEW with_function AS SELECT odd_25.of_view(e) AS who, e FROM every_visit AS e;
CREATE TABLE snapshots (taken date, seen by_chw[]);
INSERT INTO snapshots SELECT '2026-02-01', array_agg(b ORDER BY chw) FROM by_chw AS b;
CREATE RULE no_delete AS ON DELETE TO every_visit DO INSTEAD (UPDATE visits SET gone = 'x' WHERE id = old.id; SELECT * FROM by_chw);
ALTER VIEW every_visit OWNER TO couch2pg; GRANT SELECT ON visits TO couch2pg;
COMMENT ON COLUMN monthly.heavy IS 'E''s \ "heavy"';
CREATE VIEW last AS SELECT DISTINCT ON (chw) chw, at, lag(at) OVER w AS before FROM visits WINDOW w AS (PARTITION BY chw ORDER BY at) ORDER BY chw, at DESC;
CREATE VIEW joined (a, b) AS SELECT x.id, y.id FROM (visits AS x CROSS JOIN visits AS y) AS j (i1) JOIN visits AS x ON true JOIN visits AS y ON x.id = y.id;
