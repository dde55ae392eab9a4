-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Expressions that PostgreSQL prints in other words after one dump and restore. On 10 and later.
CREATE SCHEMA printed AUTHORIZATION couch2pg;
SET ROLE couch2pg;
CREATE DOMAIN printed.answer AS varchar CHECK (VALUE IN ('yes', 'no'));
CREATE TABLE printed.stock (
    id integer CHECK (id > 0),
    level varchar(9) DEFAULT CASE WHEN 'a'::varchar IN ('a', 'b') THEN 'ok' ELSE 'low' END,
    amount integer,
    answer printed.answer,
    span int4range,
    CHECK (amount BETWEEN 1 AND 9 AND id > 0 AND level NOT IN ('none')),
    CHECK (level IN ('ok', 'low')),
    EXCLUDE USING gist (span WITH &&) WHERE (level IN ('ok', 'low') AND amount BETWEEN 2 AND 8)
);
CREATE INDEX stock_some ON printed.stock (id) WHERE level IN ('ok', 'low');
CREATE INDEX stock_words ON printed.stock ((level::text || 'x'), (amount + 1) DESC NULLS LAST) WHERE amount BETWEEN 1 AND 5;
CREATE FUNCTION printed.pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER sometimes BEFORE UPDATE OF level ON printed.stock FOR EACH ROW
    WHEN (OLD.level IN ('ok', 'low') AND NEW.amount BETWEEN 1 AND 2) EXECUTE PROCEDURE printed.pass();
ALTER TABLE printed.stock ENABLE ALWAYS TRIGGER sometimes;
ALTER TABLE printed.stock ENABLE ROW LEVEL SECURITY;
CREATE POLICY listed ON printed.stock USING (level IN ('ok', 'low')) WITH CHECK (amount BETWEEN 1 AND 9);
CREATE RULE never AS ON DELETE TO printed.stock WHERE old.level IN ('ok', 'low') DO INSTEAD NOTHING;
CREATE VIEW printed.levels AS SELECT s.id, s.level IN ('ok', 'low') AS fine FROM printed.stock AS s WHERE s.amount BETWEEN 1 AND 9;
CREATE FUNCTION printed.level(a varchar DEFAULT 'x', b boolean DEFAULT ('a'::varchar IN ('a', 'b'))) RETURNS varchar
    LANGUAGE sql COST 7 AS 'SELECT a';
INSERT INTO printed.stock VALUES (1, 'ok', 5, 'yes', '[1,3)'), (2, 'low', 3, 'no', '[3,5)');
RESET ROLE;
