-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Event triggers that write rows and one that forbids every statement.
CREATE TABLE log (at timestamptz DEFAULT clock_timestamp(), ev text, tag text);
CREATE FUNCTION l() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO odd_99.log (ev, tag) VALUES (tg_event, tg_tag);
END $$;
CREATE FUNCTION deny() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no';
END $$;
CREATE EVENT TRIGGER a1 ON ddl_command_start EXECUTE FUNCTION l();
CREATE EVENT TRIGGER a2 ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION l();
CREATE EVENT TRIGGER a3 ON sql_drop EXECUTE FUNCTION l();
CREATE EVENT TRIGGER a4 ON table_rewrite EXECUTE FUNCTION l();
ALTER EVENT TRIGGER a4 ENABLE REPLICA;
ALTER EVENT TRIGGER a3 ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER a1 IS 'e';
CREATE EVENT TRIGGER d1 ON ddl_command_start EXECUTE FUNCTION deny();
