# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a COPY is, by what the server tells of it while pg_dump runs: never done before it has begun, nor while it runs."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.growth import ArchiveGrowth, expected_bytes
from ansible_collections.cht.couch2pg.plugins.module_utils.common.progress_line import describe
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.progress import Track
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import (
    APPLICATION_NAME,
    ConnectionSettings,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.program_environment import program_environment
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.server_progress import CopyProgress
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support.background import wait_until
from support.clusters import Cluster
from support.migration import execute

SMALL, LARGE = "public.small", "public.very_large"
ROWS = """
SELECT coalesce(pg_catalog.sum(p.tuples_processed), 0)::bigint
FROM pg_catalog.pg_stat_progress_copy AS p JOIN pg_catalog.pg_stat_activity AS a USING (pid) WHERE a.application_name = %s
"""
SIZES = {SMALL: 8192, LARGE: 20_000_000}


@pytest.fixture
def settings(source_cluster: Cluster, fresh_database: Callable[[Cluster], str]) -> ConnectionSettings:
    """A database with a large table that was never analysed."""
    name = fresh_database(source_cluster)
    execute(
        source_cluster,
        "CREATE TABLE small AS SELECT 1 AS n; CREATE TABLE very_large (text text) WITH (autovacuum_enabled = off);"
        "INSERT INTO very_large SELECT repeat(n::text, 20) FROM generate_series(1, 200000) AS n",
        name,
    )
    return ConnectionSettings(name, source_cluster.host, source_cluster.port, password=source_cluster.password)


@pytest.fixture
def copying(settings: ConnectionSettings, tmp_path: Path, client_dir: Path) -> Iterator[None]:
    """pg_dump in the middle of the large table: nobody reads what it writes."""
    passfile = tmp_path / "passfile"
    passfile.touch(mode=0o600)
    passfile.write_text(settings.passfile_line(), encoding="utf-8")
    command = [client_dir / "pg_dump", "--table=public.very_large", f"--dbname={settings.conninfo()}"]
    environment = program_environment(settings, passfile)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        with Session(settings) as session:
            looks = [0]

            def is_held_up() -> bool:
                """The pipe is full: it has copied many rows, and no more since the look before."""
                time.sleep(0.2)
                looks.append(session.value(ROWS, [APPLICATION_NAME]))
                return looks[-1] == looks[-2] > 1000

            wait_until("it is held up", is_held_up)
        yield
        process.kill()


def test_a_table_that_has_not_begun_is_not_done(settings: ConnectionSettings) -> None:
    """However often it is asked between what pg_dump says and what it does: it may have been halted."""
    probe = CopyProgress(settings, SIZES, {}, one_by_one=True)
    probe.listen(f'pg_dump: dumping contents of table "{SMALL}"')
    assert [probe(), probe(), probe()] == [(0, SMALL)] * 3
    # The next one begins: then the one before is done, which nobody saw.
    probe.listen(f'pg_dump: dumping contents of table "{LARGE}"')
    assert [probe(), probe()] == [(SIZES[SMALL], LARGE)] * 2
    probe.close()


@pytest.mark.usefixtures("copying")
@pytest.mark.parametrize("rows", [-1.0, 10.0, 200_000.0])
def test_a_table_that_is_copied_is_not_done(settings: ConnectionSettings, rows: float) -> None:
    """Also where its number of rows is unknown (-1, as the server has it), or was much smaller when it was analysed."""
    probe = CopyProgress(settings, SIZES, {LARGE: rows}, one_by_one=True)
    probe.listen(f'pg_dump: dumping contents of table "{LARGE}"')
    done, item = probe()
    assert item == LARGE
    assert 0 < done < SIZES[LARGE]
    assert (done == int(0.99 * SIZES[LARGE])) is (rows == 10.0)
    assert probe()[0] == done
    probe.close()


def test_tables_of_several_workers(settings: ConnectionSettings) -> None:
    """What is finished counts once, and is not named any more."""
    probe = CopyProgress(settings, SIZES, {}, one_by_one=False)
    for table in (SMALL, LARGE):
        probe.listen(f'pg_dump: dumping contents of table "{table}"')
    assert probe() == (0, LARGE)
    probe.listen(f"pg_dump: finished item 12 TABLE DATA {LARGE.split('.')[1]}")
    assert probe() == (SIZES[LARGE], SMALL)
    probe.listen(f"pg_dump: finished item 13 TABLE DATA {SMALL.split('.')[1]}")
    assert [probe(), probe()] == [(sum(SIZES.values()), "")] * 2
    probe.close()


def test_what_was_copied_before_counts(settings: ConnectionSettings) -> None:
    probe = CopyProgress(settings, SIZES, {}, one_by_one=True, done=[LARGE])
    track = Track("data", sum(SIZES.values()), "bytes", False, probe, lambda: 0.0)
    assert track.measure()["done"] == SIZES[LARGE]
    probe.close()


def test_before_14_the_archive_tells(
    old_cluster: Cluster, fresh_database: Callable[[Cluster], str], tmp_path: Path
) -> None:
    """Half of what the data's sample says that there will be is half of the work, and called an estimate."""
    name = fresh_database(old_cluster)
    statement = "CREATE TABLE t AS SELECT n, md5(n::text) AS text FROM generate_series(1, 100000) AS n; ANALYZE t"
    execute(old_cluster, statement, name)
    settings = ConnectionSettings(name, old_cluster.host, old_cluster.port, password=old_cluster.password)
    with Session(settings) as session:
        tables = list_tables(session).kept
    total = sum(table.table_bytes for table in tables)
    expected = expected_bytes(settings, tables, "directory", "none")
    assert expected == pytest.approx(39 * 100_000, rel=0.2)
    copied = CopyProgress(settings, {"public.t": total}, {}, one_by_one=True)
    track = Track("dump", total, "bytes", True, ArchiveGrowth(tmp_path, copied, total, expected), lambda: 0.0)
    assert track.measure()["done"] == 0
    copied.listen('pg_dump: dumping contents of table "public.t"')
    (tmp_path / "3001.dat").write_bytes(b"x" * (expected // 2))
    measured = track.measure()
    assert measured["done"] == pytest.approx(total / 2, rel=0.01)
    line = describe({"step": "dump", "tracks": [measured]})
    assert re.match(r"dump \| public\.t \| [\d.]+ MB of about [\d.]+ MB \((49|50) %\)", line), line
    copied.close()
