-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Partitions by the hash of an enum, which is another one on each server: rows arrive in other partitions.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'angry', 'calm', 'bored', 'tired', 'proud'); CREATE TABLE moods (m mood, n int, UNIQUE (m, n)) PARTITION BY HASH (m);
CREATE TABLE moves_0 PARTITION OF moods FOR VALUES WITH (MODULUS 3, REMAINDER 0); CREATE TABLE moves_1 (gone int, n int, m mood); ALTER TABLE moves_1 DROP gone; ALTER TABLE moods ATTACH PARTITION moves_1 FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE moves_2 PARTITION OF moods FOR VALUES WITH (MODULUS 3, REMAINDER 2) PARTITION BY HASH (m, n); CREATE TABLE moves_2a PARTITION OF moves_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE moves_2b PARTITION OF moves_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO moods SELECT (enum_range(NULL::mood))[1 + i % 8], i FROM generate_series(1, 400) AS i; INSERT INTO moods VALUES (NULL, NULL);
CREATE TABLE over_moods (id int, m mood) PARTITION BY LIST (id); CREATE TABLE over_moods_1 PARTITION OF over_moods FOR VALUES IN (1) PARTITION BY HASH (m); CREATE TABLE over_moods_2 PARTITION OF over_moods DEFAULT; CREATE TABLE moves_3 PARTITION OF over_moods_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE moves_4 PARTITION OF over_moods_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO over_moods SELECT 1 + i % 2, (enum_range(NULL::mood))[1 + i % 8] FROM generate_series(1, 50) AS i;
