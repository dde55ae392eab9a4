-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Partitions by the hash of an enum, or of what is made of it, which is another one on each server: rows arrive in other partitions.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'angry', 'calm', 'bored', 'tired', 'proud'); CREATE TABLE moods (m mood, n int, UNIQUE (m, n)) PARTITION BY HASH (m);
CREATE TABLE moves_0 PARTITION OF moods FOR VALUES WITH (MODULUS 3, REMAINDER 0); CREATE TABLE moves_1 (gone int, n int, m mood); ALTER TABLE moves_1 DROP gone; ALTER TABLE moods ATTACH PARTITION moves_1 FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE moves_2 PARTITION OF moods FOR VALUES WITH (MODULUS 3, REMAINDER 2) PARTITION BY HASH (m, n); CREATE TABLE moves_2a PARTITION OF moves_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE moves_2b PARTITION OF moves_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO moods SELECT (enum_range(NULL::mood))[1 + i % 8], i FROM generate_series(1, 400) AS i; INSERT INTO moods VALUES (NULL, NULL);
CREATE TABLE over_moods (id int, m mood) PARTITION BY LIST (id); CREATE TABLE over_moods_1 PARTITION OF over_moods FOR VALUES IN (1) PARTITION BY HASH (m); CREATE TABLE over_moods_2 PARTITION OF over_moods DEFAULT; CREATE TABLE moves_3 PARTITION OF over_moods_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE moves_4 PARTITION OF over_moods_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO over_moods SELECT 1 + i % 2, (enum_range(NULL::mood))[1 + i % 8] FROM generate_series(1, 50) AS i;
CREATE TYPE mood_range AS RANGE (subtype = mood); CREATE TYPE mood_row AS (n int, m mood); CREATE TABLE of_many (a mood[], r mood_range, p mood_row, mr mood_multirange, n int) PARTITION BY LIST (n);
CREATE TABLE of_1 PARTITION OF of_many FOR VALUES IN (1) PARTITION BY HASH (a); CREATE TABLE of_2 PARTITION OF of_many FOR VALUES IN (2) PARTITION BY HASH (r); CREATE TABLE of_3 PARTITION OF of_many FOR VALUES IN (3) PARTITION BY HASH (p); CREATE TABLE of_4 PARTITION OF of_many FOR VALUES IN (4) PARTITION BY HASH (mr);
DO $$ BEGIN FOR i IN 1..4 LOOP FOR k IN 0..1 LOOP EXECUTE format('CREATE TABLE moves_1%s%s PARTITION OF of_%1$s FOR VALUES WITH (MODULUS 2, REMAINDER %2$s)', i, k); END LOOP; END LOOP; END $$;
INSERT INTO of_many SELECT ARRAY[m], mood_range(m, NULL), ROW(1, m)::mood_row, mood_multirange(mood_range(m, NULL)), n FROM unnest(enum_range(NULL::mood)) AS e(m), generate_series(1, 4) AS n;
