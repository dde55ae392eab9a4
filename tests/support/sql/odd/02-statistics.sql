-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Extended statistics over expressions, in quoted names.
CREATE SCHEMA "St";
CREATE TABLE "St".t (a int, b int, c text);
CREATE STATISTICS "St"."s 1" (mcv) ON a, b FROM "St".t;
CREATE STATISTICS "St"."s2" ON (a + b), (lower(c)), c FROM "St".t;
CREATE STATISTICS "St".s3 ON (a % 2 = 1 AND c IN ('x', 'y')) FROM "St".t;
ALTER STATISTICS "St".s2 SET STATISTICS 33;
COMMENT ON STATISTICS "St".s2 IS 's';
ALTER STATISTICS "St".s3 OWNER TO couch2pg;
INSERT INTO "St".t SELECT i, i % 3, 'z' FROM generate_series(1, 100) i;
CREATE INDEX e ON "St".t ((a + b), (c || 'x'));
ALTER INDEX "St".e ALTER COLUMN 1 SET STATISTICS 5;
ANALYZE "St".t;
