-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Publications as a reporting copy has them: columns and rows of partitions, by schema, of tables with other replica identities.
CREATE TABLE sent (id int PRIMARY KEY, a text, b text GENERATED ALWAYS AS (upper(a)) STORED); CREATE TABLE sent_parts (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k); CREATE TABLE sent_parts_1 PARTITION OF sent_parts FOR VALUES IN (1); INSERT INTO sent_parts VALUES (1, 1);
CREATE SCHEMA "Sent Ones"; CREATE TABLE "Sent Ones"."T" (id int UNIQUE NOT NULL); ALTER TABLE "Sent Ones"."T" REPLICA IDENTITY USING INDEX "T_id_key"; ALTER TABLE sent REPLICA IDENTITY FULL;
CREATE PUBLICATION p36_rows FOR TABLE sent (id, a) WHERE (id > 5 AND a IN ('x', 'y')), sent_parts WITH (publish = 'insert, delete', publish_via_partition_root = true);
CREATE PUBLICATION "p36 schemas" FOR TABLES IN SCHEMA "Sent Ones", odd_36; ALTER PUBLICATION "p36 schemas" RENAME TO "p36 Schemas"; CREATE PUBLICATION p36_mixed FOR TABLE sent_parts_1, TABLES IN SCHEMA "Sent Ones" WITH (publish = ''); CREATE PUBLICATION p36_dropped FOR TABLE sent; ALTER PUBLICATION p36_dropped DROP TABLE sent; COMMENT ON PUBLICATION p36_rows IS 'r';
