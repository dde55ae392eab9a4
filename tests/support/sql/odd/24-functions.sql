-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Defaults, triggers and rules that call functions.
CREATE SCHEMA app;
CREATE TABLE app.l (id int PRIMARY KEY, name text);
INSERT INTO app.l VALUES (1, 'a');
CREATE FUNCTION app.chk(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT EXISTS (SELECT FROM app.l WHERE id = $1)';
CREATE FUNCTION app.def() RETURNS int LANGUAGE sql AS 'SELECT max(id) FROM app.l';
CREATE TABLE app.b (id int DEFAULT app.def());
INSERT INTO app.b DEFAULT VALUES;
CREATE TABLE app.trigd (id int, n int);
CREATE FUNCTION app.bump() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := NEW.n + 1;
RETURN NEW;
END';
CREATE TRIGGER bump BEFORE INSERT ON app.trigd FOR EACH ROW EXECUTE FUNCTION app.bump();
ALTER TABLE app.trigd ENABLE ALWAYS TRIGGER bump;
INSERT INTO app.trigd VALUES (1, 1);
CREATE RULE redirect AS ON INSERT TO app.b DO INSTEAD NOTHING;
