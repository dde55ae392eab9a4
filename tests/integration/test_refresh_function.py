# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the refresh, and the refresh function on empty tables: it tells one that can't work from one that can."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import removal
from ansible_collections.cht.couch2pg.plugins.module_utils.physical.folders import Folders
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import changes
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.refresh import function_proof
from support import seed
from support.by_phases import Phases
from support.clusters import Cluster
from support.migration import execute
from support.modules import login, run_module

ROWS = 20000
MAKE = f"""
CREATE TABLE couchdb (doc jsonb);
CREATE TABLE small (n int PRIMARY KEY); INSERT INTO small VALUES (1);
INSERT INTO couchdb SELECT jsonb_build_object('_id', n, 'text', repeat('x', 100)) FROM generate_series(1, {ROWS}) AS n;
CREATE MATERIALIZED VIEW first AS SELECT doc->>'_id' AS id FROM couchdb;
CREATE MATERIALIZED VIEW early AS SELECT count(*) AS n FROM first;
CREATE UNIQUE INDEX ON first (id); CREATE UNIQUE INDEX ON early (n);
CREATE FUNCTION refresh_matviews() RETURNS void LANGUAGE plpgsql AS
$$BEGIN REFRESH MATERIALIZED VIEW CONCURRENTLY first; REFRESH MATERIALIZED VIEW CONCURRENTLY early; END$$;
"""


@pytest.fixture
def session(target_cluster: Cluster, fresh_database: Callable[[Cluster], str]) -> Iterator[Session]:
    name = fresh_database(target_cluster)
    execute(target_cluster, MAKE, name)
    with Session(
        ConnectionSettings(name, target_cluster.host, target_cluster.port, password=target_cluster.password)
    ) as made:
        yield made


def succeeds(session: Session) -> bool:
    """The answer. No row may be gone, and the digests of the restore must still count."""
    before = changes.read_counts(session)
    answer = function_proof.succeeds_without_rows(session, "postgres", "SELECT public.refresh_matviews()")
    assert session.value("SELECT count(*) FROM public.couchdb") == ROWS
    assert session.value("SELECT count(*) FROM public.first") == ROWS
    assert session.value("SELECT n FROM public.early") == ROWS
    with Session(session.settings) as other:
        assert changes.rows_changed(before, changes.read_counts(other)) == set()
    return answer


def test_a_function_that_works(session: Session) -> None:
    assert succeeds(session)


@pytest.mark.parametrize(
    "change",
    [
        "DROP INDEX public.early_n_idx",
        "DROP MATERIALIZED VIEW public.early; CREATE TABLE public.early AS SELECT 20000::bigint AS n",
        # One that works on all rows gets its chance there.
        """CREATE OR REPLACE FUNCTION public.refresh_matviews() RETURNS void LANGUAGE plpgsql AS
        $$DECLARE found jsonb; BEGIN SELECT doc INTO STRICT found FROM couchdb LIMIT 1; END$$""",
    ],
)
def test_a_function_that_fails(change: str, session: Session) -> None:
    session.execute(change)
    assert not succeeds(session)


def test_the_largest_views_are_refreshed_first(
    source_cluster: Cluster,
    target_cluster: Cluster,
    fresh_database: Callable[[Cluster], str],
    client_dir: Path,
    tmp_path: Path,
) -> None:
    """As they were on the source, and what the largest ones read before all."""
    name = fresh_database(source_cluster)
    views = "".join(
        f"CREATE MATERIALIZED VIEW {view} AS SELECT n, repeat('x', 100) AS text FROM generate_series(1, {rows}) AS n;"
        for view, rows in (("a_small", 10), ("b_middle", 2000), ("c_large", 9000))
    )
    execute(
        source_cluster,
        f"CREATE TABLE couchdb (doc jsonb); {views}"
        "CREATE MATERIALIZED VIEW d_larger AS SELECT a.text || c.text AS text FROM a_small AS a, c_large AS c;"
        "CREATE MATERIALIZED VIEW e_empty AS SELECT 1 AS n WITH NO DATA",
        name,
    )
    phases = Phases(source_cluster, target_cluster, client_dir, tmp_path, name, options={"refresh": {"jobs": 1}})
    try:
        phases.run("dump", "transfer", "restore")
        refreshed = [entry["matview"] for entry in phases.run("refresh")["matviews"]]
    finally:
        seed.drop_database(target_cluster, phases.incoming)
    names = ("c_large", "a_small", "d_larger", "b_middle", "e_empty")
    assert refreshed == [f"public.{view}" for view in names]


EVERY_VIEW = """
CREATE SCHEMA "dash board"; CREATE TABLE couchdb (doc jsonb);
CREATE MATERIALIZED VIEW one AS SELECT count(*) AS n FROM couchdb; CREATE UNIQUE INDEX ON one (n);
CREATE FUNCTION refresh_matviews() RETURNS void LANGUAGE plpgsql AS $$DECLARE m record; BEGIN
    FOR m IN SELECT matviewname FROM pg_matviews LOOP
        EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY public.%I', m.matviewname);
    END LOOP; END$$
"""


@pytest.mark.long
def test_a_view_that_was_moved_on_the_target(
    source_cluster: Cluster,
    target_cluster: Cluster,
    fresh_database: Callable[[Cluster], str],
    client_dir: Path,
    tmp_path: Path,
) -> None:
    """Also after the refresh: couch2pg would fail there. What the message says undoes it."""
    name = fresh_database(source_cluster)
    execute(source_cluster, EVERY_VIEW, name)
    phases = Phases(source_cluster, target_cluster, client_dir, tmp_path, name)
    try:
        phases.run("dump", "transfer", "restore", "refresh")
        assert not phases.run("refresh")["changed"]
        execute(target_cluster, 'ALTER MATERIALIZED VIEW one SET SCHEMA "dash board"', phases.incoming)
        message = phases.fail("refresh")
        assert "The target has dash board.one, and the source doesn't." in message
        execute(target_cluster, message.split("On the target, run: ")[1].split("; then")[0], phases.incoming)
        phases.run("refresh", "verify")
    finally:
        seed.drop_database(target_cluster, phases.incoming)


WRITING = """
CREATE TABLE couchdb (doc jsonb); INSERT INTO couchdb SELECT jsonb_build_object('_id', n) FROM generate_series(1, 20000) AS n;
CREATE TABLE refreshed (id serial, at timestamptz DEFAULT now()); CREATE TABLE ddl_log (id serial, tag text); CREATE SEQUENCE numbers;
CREATE MATERIALIZED VIEW numbered AS SELECT nextval('public.numbers') AS n FROM public.couchdb; CREATE UNIQUE INDEX ON numbered (n);
CREATE FUNCTION refresh_matviews() RETURNS void LANGUAGE plpgsql AS $$DECLARE found jsonb; BEGIN
    SELECT doc INTO STRICT found FROM public.couchdb LIMIT 1;
    REFRESH MATERIALIZED VIEW CONCURRENTLY public.numbered; INSERT INTO public.refreshed DEFAULT VALUES; END$$;
CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO public.ddl_log (tag) VALUES (tg_tag); END$$;
CREATE EVENT TRIGGER ddl ON ddl_command_end EXECUTE FUNCTION log_ddl(); ALTER EVENT TRIGGER ddl ENABLE ALWAYS;
"""


@pytest.mark.parametrize("server", ["source_cluster", "target_cluster"])
def test_nothing_of_it_stays_before_the_promotion(
    server: str,
    request: pytest.FixtureRequest,
    fresh_database: Callable[[Cluster], str],
    client_dir: Path,
    tmp_path: Path,
) -> None:
    """The function needs rows, and writes; an event trigger fires for it; the query of a view takes numbers."""
    cluster: Cluster = request.getfixturevalue(server)
    name = fresh_database(cluster)
    execute(cluster, WRITING, name)
    phases = Phases(cluster, cluster, client_dir, tmp_path, name, options={"restore": {"replace_existing": True}})
    try:
        phases.run("dump", "transfer", "restore")
        refreshed = phases.run("refresh")
        assert refreshed["function"]["without_rows"] is False
        assert set(phases.run("verify")["counted_again"]) <= {"public.ddl_log", "public.refreshed"}
    finally:
        seed.drop_database(cluster, phases.incoming)


@pytest.mark.long
def test_nothing_of_it_stays_on_a_copy_of_the_whole_server(
    source_cluster: Cluster,
    target_cluster: Cluster,
    fresh_database: Callable[[Cluster], str],
    client_dir: Path,
    tmp_path: Path,
) -> None:
    """The method physical has the views' rows; the function is called on the private server, and what it did is undone."""
    name = fresh_database(source_cluster)
    execute(source_cluster, f"{WRITING} CREATE TABLE couchdb_progress (seq varchar, source varchar)", name)
    place = {"migration_id": "test", "state_dir": str(tmp_path / "state")}
    archive = {"archive": str(tmp_path / "staging" / "test"), "bin_dir": str(client_dir)}
    options = {**login(target_cluster, "postgres"), **place, **archive, "database": name}
    options.update(source=login(source_cluster, name), server_bin_dir=str(source_cluster.binaries.bin_dir))
    try:
        done = run_module("pg_physical", options)
        assert not done.get("failed"), done
        copy = {**done["login"], **place, "database": name}
        traces = """SELECT last_value FROM public.numbers UNION ALL SELECT last_value FROM public.refreshed_id_seq
            UNION ALL SELECT count(*) FROM public.refreshed UNION ALL SELECT count(*) FROM public.ddl_log"""

        def read() -> list[dict[str, Any]]:
            with Session(
                ConnectionSettings(name, port=copy["login_port"], unix_socket=copy["login_unix_socket"])
            ) as session:
                return session.rows(traces)

        before = read()
        refreshed = run_module("matview_refresh", copy)
        assert not refreshed.get("failed"), refreshed
        assert refreshed["function"]["without_rows"] is False
        assert all(view["done_before"] for view in refreshed["matviews"]), refreshed
        verified = run_module("verify", {**copy, **archive})
        assert not verified.get("failed"), verified
        assert read() == before
    finally:
        removal.remove(Folders.beside(target_cluster.data_directory, "test"))
