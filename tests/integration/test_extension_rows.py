# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows and collations that a new database has by itself don't stop the rows and the schema of the source."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.leave_out import LeaveOut
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import collations
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support import seed
from support.by_phases import Phases
from support.clusters import Cluster
from support.migration import column, execute
from support.modules import run_module

Fresh = Callable[[Cluster], str]
# A table for configuration whose first row both CREATE EXTENSION and pg_dump bring; and two with a foreign key, as pgAgent has them, the
# first of which is loaded slowly.
EXTENSION = """
CREATE TABLE settings_of_it (name text PRIMARY KEY, value text);
INSERT INTO settings_of_it VALUES ('first', 'as the extension brings it');
SELECT pg_catalog.pg_extension_config_dump('settings_of_it', '');
CREATE TABLE log_of_it (n int);
CREATE TABLE job_of_it (id int PRIMARY KEY CHECK (pg_catalog.pg_sleep(0.5)::text = ''));
CREATE TABLE a_step_of_it (job int REFERENCES job_of_it);
SELECT pg_catalog.pg_extension_config_dump('a_step_of_it', '');
SELECT pg_catalog.pg_extension_config_dump('job_of_it', '');
"""


def test_rows_that_the_extension_and_the_source_have(
    target_cluster: Cluster, extension_folder: Path, fresh_database: Fresh, tmp_path: Path, client_dir: Path
) -> None:
    (extension_folder / "configured.control").write_text("default_version = '1'\n", encoding="utf-8")
    (extension_folder / "configured--1.sql").write_text(EXTENSION, encoding="utf-8")
    name = fresh_database(target_cluster)
    execute(
        target_cluster,
        "CREATE TABLE couchdb (doc jsonb); CREATE EXTENSION configured;"
        "UPDATE settings_of_it SET value = 'ours'; INSERT INTO settings_of_it VALUES ('second', 'ours, too');"
        "INSERT INTO job_of_it VALUES (1); INSERT INTO a_step_of_it VALUES (1);"
        "INSERT INTO log_of_it VALUES (1), (2); CREATE TABLE added (n int); INSERT INTO added VALUES (1);"
        "ALTER EXTENSION configured ADD TABLE added",
        name,
    )
    settings = ConnectionSettings(name, target_cluster.host, target_cluster.port, password=target_cluster.password)
    with Session(settings) as session:
        tables = list_tables(session)
    told = {row["table"]: row["reason"] for row in tables.left_out}
    without = LeaveOut(("configured",)).kept(tables).left_out
    assert {row["reason"] for row in without} == {"couch2pg_leave_out names its extension configured"}
    assert told["public.settings_of_it"].startswith("a table of an extension: pg_dump copies the rows")
    assert told["public.added"] == told["public.log_of_it"]
    assert "without rows that were added to it" in told["public.added"]
    phases = Phases(target_cluster, target_cluster, client_dir, tmp_path, name)
    # The restore refuses a target database that holds something.
    execute(target_cluster, f"ALTER DATABASE {name} RENAME TO {name}_source")
    phases.database = f"{name}_source"
    try:
        phases.run("dump")
        phases.run("transfer")
        phases.run("restore", database=name)
        rows = "SELECT name || ': ' || value FROM settings_of_it ORDER BY 1"
        assert column(target_cluster, rows, phases.incoming) == ["first: ours", "second: ours, too"]
        assert column(target_cluster, "SELECT job FROM a_step_of_it", phases.incoming) == [1]
        notices = phases.run("refresh", "verify")["notices"]
        assert [notice.split(": ")[0] for notice in notices] == [
            "The table public.added of the extension configured has 1 row on the source and is not there on the target",
            "The table public.log_of_it of the extension configured has 2 rows on the source and has 0 on the target",
        ]
        # Rows that a newer version of the extension brings are no loss, one that is missing is.
        execute(target_cluster, "INSERT INTO settings_of_it VALUES ('third', 'of a newer version')", phases.incoming)
        phases.run("verify")
        execute(target_cluster, "UPDATE settings_of_it SET value = 'other' WHERE name = 'first'", phases.incoming)
        assert "public.settings_of_it lacks rows of the source (source: 2; target: 1)" in phases.fail("verify")
    finally:
        seed.drop_database(target_cluster, phases.incoming)
        execute(target_cluster, f"ALTER DATABASE {name}_source RENAME TO {name}")


# As the extension periods has it: what its rows name must exist whenever somebody changes the schema.
WATCHING = """
CREATE TABLE watched (name text);
SELECT pg_catalog.pg_extension_config_dump('watched', '');
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF EXISTS (SELECT FROM public.watched AS w WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = w.name)) THEN
        RAISE EXCEPTION 'a trigger is missing that the table watched names';
    END IF;
END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch();
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no triggers'; END $$;
CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TRIGGER') EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def watching(thirteen_cluster: Cluster) -> Iterator[None]:
    """An extension with an event trigger, on a server that has no setting to silence it."""
    folder = thirteen_cluster.binaries.bin_dir.parent / "share" / "postgresql" / "extension"
    files = {"watching.control": "default_version = '1'\n", "watching--1.sql": WATCHING}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    yield
    for name in files:
        (folder / name).unlink()


@pytest.mark.usefixtures("watching")
@pytest.mark.parametrize("method", ["archive", "stream"])
def test_an_event_trigger_of_an_extension(
    method: str, thirteen_cluster: Cluster, fresh_database: Fresh, tmp_path: Path, client_dir: Path
) -> None:
    """It is there as soon as the extension is, before the objects that its rows name."""
    name = fresh_database(thirteen_cluster)
    execute(
        thirteen_cluster,
        "CREATE TABLE couchdb (doc jsonb PRIMARY KEY); INSERT INTO couchdb VALUES ('1');"
        "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';"
        "CREATE TRIGGER kept BEFORE UPDATE ON couchdb FOR EACH ROW EXECUTE FUNCTION t();"
        "CREATE MATERIALIZED VIEW v AS SELECT 1 AS n; CREATE EXTENSION watching; INSERT INTO watched VALUES ('kept')",
        name,
    )
    options = {"restore": {"replace_existing": True}}
    phases = Phases(thirteen_cluster, thirteen_cluster, client_dir, tmp_path, name, options=options)
    try:
        if method == "archive":
            phases.run("dump", "transfer", "restore", "refresh", "verify")
        else:
            phases.stream(replace_existing=True)
            for module in ("refresh", "verify"):
                result = run_module({"refresh": "matview_refresh"}.get(module, module), phases.options_of(module))
                assert not result.get("failed"), result
        enabled = "SELECT evtname || evtenabled FROM pg_event_trigger"
        assert sorted(column(thirteen_cluster, enabled, phases.incoming)) == ["refuseO", "watchO"]
        assert column(thirteen_cluster, "SELECT name FROM watched", phases.incoming) == ["kept"]
    finally:
        seed.drop_database(thirteen_cluster, phases.incoming)


def test_collations_of_locales_that_were_installed_later(target_cluster: Cluster, fresh_database: Fresh) -> None:
    name = fresh_database(target_cluster)
    settings = ConnectionSettings(name, target_cluster.host, target_cluster.port, password=target_cluster.password)
    query = "SELECT count(*) FROM pg_catalog.pg_collation WHERE collprovider = 'c' AND oid > 12000"
    with Session(settings) as session:
        before = session.value(query)
        session.execute("DELETE FROM pg_catalog.pg_collation WHERE collprovider = 'c' AND oid > 12000")
        collations.import_system(session)
        assert session.value(query) == before
