# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A refresh that fails is told with advice; after it was followed as it is printed, the same migration is completed."""

from __future__ import annotations

import json
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.findings import Findings
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import conditions
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.refresh import advice
from support import binaries, places, seed
from support.background import wait_until
from support.by_phases import Phases
from support.cases import rarely
from support.clusters import Cluster
from support.migration import column, execute
from support.small_disk import fill, folder_of_server, resize

Fresh = Callable[[Cluster], str]
COUCHDB = "CREATE TABLE couchdb (doc jsonb); ALTER TABLE couchdb OWNER TO couch2pg; "
VIEW = "CREATE MATERIALIZED VIEW told AS {}; ALTER MATERIALIZED VIEW told OWNER TO couch2pg; CREATE UNIQUE INDEX ON told (n); "
FUNCTION = """
CREATE FUNCTION refresh_matviews() RETURNS void LANGUAGE plpgsql AS 'BEGIN REFRESH MATERIALIZED VIEW CONCURRENTLY public.told; END';
ALTER FUNCTION refresh_matviews() OWNER TO couch2pg;
"""
OF_ROWS = "CREATE TABLE given AS SELECT text '1' AS n; ALTER TABLE given OWNER TO couch2pg; " + VIEW
SLOW = VIEW.format("SELECT 1 AS n FROM pg_sleep(0.5)")


@pytest.fixture
def phases(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, client_dir: Path, tmp_path: Path
) -> Iterator[Phases]:
    seed.create_role(target_cluster, seed.OWNER)
    made = Phases(source_cluster, target_cluster, client_dir, tmp_path, fresh_database(source_cluster))
    yield made
    seed.drop_database(target_cluster, made.incoming)
    execute(target_cluster, "ALTER ROLE couch2pg RESET ALL")


def reach(phases: Phases, statements: str) -> None:
    """Everything up to the restore, of a database that these statements make."""
    execute(phases.source, f"{COUCHDB}{statements}{FUNCTION}", phases.database)
    phases.run("dump", "transfer", "restore")


def dump_again(phases: Phases, message: str) -> None:
    """What the printed command does, and the restore."""
    assert " -e couch2pg_restart_from=dump" in message, message
    for phase in ("restore", "dump"):
        assert not phases.restart(phase).get("failed")
    phases.run("dump", "transfer", "restore")


def statements_of(message: str) -> str:
    """What a superuser is to run."""
    return " ".join(re.findall(r"(?:ALTER|CREATE|GRANT|REFRESH) [^;]+;", message.split(": ", 2)[2]))


@dataclass(frozen=True)
class OnSource:
    """made: statements; harm: what comes after; words: of the message; remedy: what is run there, as the message says."""

    made: str
    words: str
    remedy: Callable[[str], str]
    harm: str = ""


def another_query(message: str) -> str:
    """First what shows the fault."""
    assert "Correct the query on the source" in message
    return f"DROP MATERIALIZED VIEW told; {VIEW.format('SELECT length(n) AS n FROM given')}"


def corrected_rows(message: str) -> str:
    """As another document does."""
    (statement,) = re.findall(r"REFRESH [^;]+;", message)
    return f"DELETE FROM given WHERE ctid = '(0,2)'; {statement}"


ON_SOURCE = {
    "a cast": OnSource(
        OF_ROWS.format("SELECT n::int AS n FROM given"),
        "invalid input syntax",
        another_query,
        "UPDATE given SET n = 'x'; ",
    ),
    "zero": OnSource(
        OF_ROWS.format("SELECT 1 / n::int AS n FROM given"),
        "division by zero",
        another_query,
        "UPDATE given SET n = '0'; ",
    ),
    "duplicates": OnSource(
        OF_ROWS.format("SELECT n FROM given"),
        "could not create unique index",
        corrected_rows,
        "INSERT INTO given VALUES ('1'); ",
    ),
    "no index": OnSource(
        VIEW.format("SELECT 1 AS n") + "DROP INDEX told_n_idx; ",
        "cannot refresh materialized view",
        lambda message: statements_of(message).replace("COLUMNS", "n"),
    ),
}


@pytest.mark.parametrize("case", [rarely(name) for name in ON_SOURCE])
def test_a_cause_on_the_source(case: str, phases: Phases) -> None:
    given = ON_SOURCE[case]
    reach(phases, given.made + given.harm)
    message = phases.fail("refresh")
    assert given.words in message
    execute(phases.source, given.remedy(message), phases.database)
    dump_again(phases, message)
    phases.run("refresh", "verify")


LIMITS = {
    "statement_timeout": (SLOW, "ALTER ROLE couch2pg SET statement_timeout = '200ms'"),
    "of the database": (SLOW + "ALTER DATABASE {database} SET statement_timeout = '200ms'; ", ""),
    "of both": (SLOW + "ALTER ROLE couch2pg IN DATABASE {database} SET statement_timeout = '200ms'; ", ""),
    "transaction_timeout": (SLOW, "ALTER ROLE couch2pg SET transaction_timeout = '300ms'"),
    "temp_file_limit": (
        VIEW.format("SELECT n FROM generate_series(1, 300000) AS n ORDER BY 1 DESC"),
        "ALTER ROLE couch2pg SET temp_file_limit = '64kB'; ALTER ROLE couch2pg SET work_mem = '64kB'",
    ),
}


@pytest.mark.parametrize(
    "case", ["statement_timeout", *(rarely(name) for name in LIMITS if name != "statement_timeout")]
)
def test_a_limit_of_the_owner(case: str, phases: Phases) -> None:
    made, there = LIMITS[case]
    reach(phases, made.format(database=phases.database))
    if there:
        execute(phases.target, there)
    message = phases.fail("refresh")
    execute(phases.target, statements_of(message))
    phases.run("refresh")
    if not message.endswith("Then run again."):
        accept(phases)
    phases.run("verify")


def accept(phases: Phases) -> None:
    """What verify names."""
    names = json.loads(phases.fail("verify").split("set couch2pg_accept_differences: ")[1])
    phases.options["verify"] = {"accept_differences": names}


@pytest.mark.long
def test_a_full_disk(phases: Phases, small_disk: Path) -> None:
    """That of a tablespace, which is larger on the source."""
    resize(small_disk, "50m")
    for cluster in (phases.source, phases.target):
        execute(cluster, f"CREATE TABLESPACE small LOCATION '{folder_of_server(small_disk)}'")
    try:
        view = VIEW.format("SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 30000) AS n")
        reach(phases, view.replace("told AS", "told TABLESPACE small AS"))
        fill(small_disk, 2_000_000)
        message = phases.fail("refresh")
        print(message)
        assert message.endswith("Free or add disk space on the target's server, then run again.")
        resize(small_disk, "500m")
        phases.run("refresh", "verify")
    finally:
        for cluster, name in ((phases.source, phases.database), (phases.target, phases.incoming)):
            seed.drop_database(cluster, name)
            execute(cluster, "DROP TABLESPACE small")


@pytest.mark.long
def test_a_refresh_that_somebody_cancels(phases: Phases) -> None:
    reach(phases, VIEW.format("SELECT 1 AS n FROM pg_sleep(2)"))
    cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'REFRESH %'"
    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(phases.fail, "refresh")
        wait_until("it is cancelled", lambda: column(phases.target, cancel))
        assert failing.result().endswith("Another session cancelled the refresh: run again.")
    phases.run("refresh", "verify")


@pytest.fixture(scope="module")
def debian() -> Iterator[tuple[Cluster, Cluster]]:
    """Two servers with contrib: the first loads a library that the second doesn't."""
    loaded = {"shared_preload_libraries": "pg_stat_statements"}
    with ExitStack() as stack:
        made = []
        for settings in (loaded, {}):
            folder = Path(tempfile.mkdtemp(prefix="contrib-", dir=places.work_folder("clusters")))
            made.append(stack.enter_context(Cluster.create(folder, binaries.of_distribution(), settings=settings)))
            seed.create_role(made[-1], seed.OWNER)
        yield made[0], made[1]


@pytest.fixture
def of_debian(debian: tuple[Cluster, Cluster], database_name: str, tmp_path: Path) -> Iterator[Phases]:
    source, target = debian
    seed.create_database(source, database_name)
    made = Phases(source, target, source.binaries.bin_dir, tmp_path, database_name)
    yield made
    seed.drop_database(target, made.incoming)
    seed.drop_database(source, database_name)


@pytest.mark.long
def test_a_library_that_the_target_does_not_load(of_debian: Phases) -> None:
    phases = of_debian
    view = VIEW.format("SELECT count(*) AS n FROM pg_stat_statements")
    reach(phases, f"CREATE EXTENSION pg_stat_statements; GRANT pg_read_all_stats TO couch2pg; {view}")
    message = phases.fail("refresh")
    execute(phases.target, statements_of(message))
    phases.target.stop()
    phases.target.start()
    phases.run("refresh", "verify")


@pytest.fixture
def plain(target_cluster: Cluster) -> Iterator[ConnectionSettings]:
    """A login that may not read what the server loads at its start."""
    execute(target_cluster, f"CREATE ROLE plain LOGIN PASSWORD '{target_cluster.password}'")
    target_cluster.remember("plain", target_cluster.password)
    host, port = target_cluster.host, target_cluster.port
    yield ConnectionSettings(database="postgres", host=host, port=port, user="plain", password=target_cluster.password)
    execute(target_cluster, "DROP ROLE plain")


def test_what_a_login_cannot_see_is_not_replaced(plain: ConnectionSettings) -> None:
    """A statement without the libraries that the server loads now would end their use."""
    details = {"sqlstate": "55000", "context": None, "hint": None}
    with Session(plain) as session:
        told = advice.of_call(session, "plain", "pg_cron must be loaded via shared_preload_libraries", details)
        findings = Findings()
        conditions.check_libraries(session, findings, {"preload_libraries": ["plpgsql"]})
        # What the source could not tell has a finding there.
        conditions.check_libraries(session, findings, {"preload_libraries": None})
        conditions.check_libraries(session, findings, {})
    (found,) = findings.found
    assert found.status == "warning"
    assert "may not read shared_preload_libraries" in found.message
    for said, name in ((told, "pg_cron"), (found.message, "plpgsql")):
        assert "as a superuser: SHOW shared_preload_libraries;" in said
        assert f"ALTER SYSTEM SET shared_preload_libraries = ..., '{name}';" in said
        assert said.count("ALTER SYSTEM") == 1
    assert told.endswith("then run again.")


LOCKED = {
    "SET lock_timeout = '10ms'; LOCK TABLE public.held": 'ALTER ROLE "plain" SET lock_timeout = 0; Then run again.',
    "LOCK TABLE public.held NOWAIT": "Another session has a lock that the refresh needs: run again.",
}


@pytest.mark.parametrize("statement", LOCKED)
def test_a_lock_of_another_session(statement: str, plain: ConnectionSettings, target_cluster: Cluster) -> None:
    """Nothing is wrong with the view on the source."""
    execute(target_cluster, "CREATE TABLE public.held (); GRANT ALL ON public.held TO plain")
    try:
        with closing(target_cluster.connect()) as holder, Session(plain) as session:
            holder.autocommit = False
            holder.cursor().execute("LOCK TABLE public.held")
            with pytest.raises(MigrationError) as caught:
                session.execute(f"BEGIN; {statement}")
            details = caught.value.details
            session.execute("ROLLBACK")
            told = advice.of_call(session, "plain", details["reason"], details)
        assert told.endswith(LOCKED[statement])
        execute(target_cluster, "".join(re.findall("ALTER [^;]+;", told)) or "SELECT 1")
    finally:
        execute(target_cluster, "DROP TABLE public.held")


# Without a login to it, the view on the source has what it read before.
FAR = """
CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO couch2pg;
CREATE SERVER "Far off" FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname 'postgres');
GRANT USAGE ON FOREIGN SERVER "Far off" TO couch2pg;
CREATE USER MAPPING FOR couch2pg SERVER "Far off" OPTIONS (user 'postgres', password '{password}'); SET ROLE couch2pg;
CREATE FOREIGN TABLE far (datname name) SERVER "Far off" OPTIONS (schema_name 'pg_catalog', table_name 'pg_database');
CREATE MATERIALIZED VIEW told AS SELECT count(*) AS n FROM far; CREATE UNIQUE INDEX ON told (n); RESET ROLE;
"""
HARM = {
    "no mapping": 'DROP USER MAPPING FOR couch2pg SERVER "Far off"; ',
    "no password": 'ALTER USER MAPPING FOR couch2pg SERVER "Far off" OPTIONS (DROP password); ',
    "no server": "ALTER SERVER \"Far off\" OPTIONS (SET port '1'); ",
    "no table": "ALTER FOREIGN TABLE far OPTIONS (SET table_name 'lost'); ",
}


@pytest.mark.long
@pytest.mark.parametrize("there", ["source", "target"])
@pytest.mark.parametrize("case", HARM)
def test_a_foreign_server(case: str, there: str, of_debian: Phases) -> None:
    phases = of_debian
    port, password = phases.source.port, phases.source.password
    reach(phases, FAR.format(port=port, password=password) + HARM[case])
    message = phases.fail("refresh")
    statements = statements_of(message).replace("'USER'", "'postgres'").replace("'PASSWORD'", f"'{password}'")
    statements = statements.replace("SERVER ...", 'SERVER "Far off"').replace("host '...'", "host '127.0.0.1'")
    statements = statements.replace("port '...'", f"port '{port}'")
    if case == "no table":
        assert "correct it there, or the foreign table's definition on the source" in message
        statements = "ALTER FOREIGN TABLE far OPTIONS (SET table_name 'pg_database')"
    if there == "source":
        execute(phases.source, statements, phases.database)
        dump_again(phases, message)
    else:
        execute(phases.target, statements, phases.incoming)
    phases.run("refresh")
    if there == "target":
        accept(phases)
    phases.run("verify")
