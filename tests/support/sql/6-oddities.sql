-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- What else a database may hold: another schema, names that need quotes, values whose text differs between versions.
CREATE SEQUENCE export_number INCREMENT BY 10 MAXVALUE 1000000 CYCLE;
SELECT setval('export_number', 4711);

CREATE SCHEMA dashboards;
COMMENT ON SCHEMA dashboards IS 'Made for the health ministry''s "monthly" page';
CREATE TYPE dashboards.indicator AS ENUM ('visits', 'referrals', 'stock-outs', 'it''s "other"');
CREATE DOMAIN dashboards.share AS numeric(5, 4) CHECK (VALUE BETWEEN 0 AND 1);

CREATE TABLE dashboards.facilities (uuid text PRIMARY KEY, name varchar(60) NOT NULL DEFAULT 'unnamed', share dashboards.share);
INSERT INTO dashboards.facilities (uuid, share) SELECT md5(n::text)::uuid::text, n / 10.0 FROM generate_series(1, 10) AS n;

CREATE TABLE dashboards.targets (
    id serial PRIMARY KEY,
    facility text NOT NULL REFERENCES dashboards.facilities (uuid) ON DELETE CASCADE,
    indicator dashboards.indicator NOT NULL DEFAULT 'visits',
    month date NOT NULL DEFAULT date '2024-01-01',
    goal integer CONSTRAINT goal_is_possible CHECK (goal >= 0),
    label text,
    UNIQUE (facility, indicator, month)
);
COMMENT ON COLUMN dashboards.targets.goal IS 'Reports in one month';

CREATE FUNCTION dashboards.set_label() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.label := upper(coalesce(NEW.label, NEW.indicator::text));
    RETURN NEW;
END
$$;
CREATE TRIGGER set_label BEFORE INSERT OR UPDATE ON dashboards.targets FOR EACH ROW EXECUTE PROCEDURE dashboards.set_label();

INSERT INTO dashboards.targets (facility, indicator, month, goal)
SELECT uuid, kind, date '2024-01-01' + n * 31, n * 5
FROM dashboards.facilities, unnest(enum_range(NULL::dashboards.indicator)) AS kind, generate_series(0, 5) AS n;

CREATE TABLE dashboards.alerts (raised timestamptz DEFAULT now(), message text NOT NULL);
COMMENT ON TABLE dashboards.alerts IS 'Has no rows yet';

CREATE VIEW dashboards.progress AS
SELECT target.month, sum(target.goal) AS goal, (SELECT sum(reports) FROM public.dashboard_areas AS area WHERE area.month = target.month) AS reports
FROM dashboards.targets AS target
GROUP BY target.month;

CREATE TABLE dashboards."Odd ""Name""" (
    "select" integer,
    "with space" text,
    "Quote""d" text COLLATE "C",
    "100% 'sure'" boolean,
    "ключ" text,
    dropped text
);
ALTER TABLE dashboards."Odd ""Name""" DROP COLUMN dropped;
CREATE INDEX "Odd index; --" ON dashboards."Odd ""Name""" (("with space" || 'x')) WHERE "select" > 1;
INSERT INTO dashboards."Odd ""Name"""
VALUES (1, 'a', 'b', true, 'c'), (1, 'a', 'b', true, 'c'), (2, 'a ', '', false, NULL), (3, '', NULL, NULL, E'\\N'), (NULL, NULL, NULL, NULL, NULL);

CREATE TABLE dashboards.measures (
    id integer,
    real4 real,
    real8 double precision,
    reals double precision[],
    exact numeric,
    moment timestamptz,
    bytes bytea,
    duration interval,
    price money,
    fixed character(8),
    raw json,
    tags text[],
    place point
);
INSERT INTO dashboards.measures VALUES
    (1, 0.1, 0.1, '{0.1,0.2,0.30000000000000004}', 1.0, '2024-02-29 23:59:59.999999+00', '\x00ff10', '1 year 2 mons -3 days 04:05:06.789', 1234.56, 'a', '{"a":  1.00, "a": 1}', '{"a b","c\"d",NULL,""}', '(0.1,-0.2)'),
    (2, 'NaN', 'NaN', '{NaN,-0,Infinity}', 'NaN', 'infinity', '', '-1 days', -0.01, 'a ', '[1e5]', '{}', '(NaN,-0)'),
    (3, '-0', '-0', '{-Infinity,1e-300}', 1.00, '-infinity', '\x5c', '00:00:00', 0, '', 'null', '{{a,b},{c,d}}', NULL),
    (4, 'Infinity', 'Infinity', '{}', 1e-300, '0044-03-15 12:00:00+00 BC', NULL, '100 years', 92233720368547758.07, NULL, '{}', NULL, '(Infinity,1e-300)'),
    (5, '-Infinity', '-Infinity', '{NULL,1}', 1e300, '1900-01-01 00:00:00+02:30', decode(repeat('deadbeef', 5000), 'hex'), NULL, NULL, 'tab	', '" "', '{ }', NULL),
    (6, 1.17549435e-38, 1e-300, '[0:1]={1e-300,1e300}', 0, '2024-03-31 01:30:00+00', '\x20', '1 mon', 0.10, 'é', '0.10', '{é}', '(1e300,0)'),
    (7, 3.4028235e38, 1.7976931348623157e308, NULL, -1.10, NULL, '\xc3a9', '30 days', 0.1, 'ё', NULL, '{"\\"}', '(1,2)'),
    (8, NULL, 4.9e-324, '{{1,2},{3,4}}', NULL, '2024-10-27 00:30:00+00', NULL, '720:00:00', 0.2, 'z', '{"b":1,"a":2}', '{",","{}"}', NULL);
