# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throttle production: niceness, disk class and rate limit of what runs on the source, changed while it runs."""

from __future__ import annotations

import os
from typing import Any, Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job, limits
from support import driver
from support.background import Background, check_nothing_is_left, wait_for_program, wait_until
from support.cases import rarely
from support.clusters import Cluster
from support.migration import Migration, column
from support.modules import run_module
from support.preflight import finding, look

BACKENDS = """
SELECT pid FROM pg_stat_activity WHERE application_name = 'cht.couch2pg' AND datname = '{database}' AND state = 'active'
AND query ~ 'COPY|hashtext'
"""


def limit_dump(migration: Migration, check: bool = False, **options: Any) -> dict[str, Any]:
    known = {"migration_id": migration.name, "state_dir": str(migration.folder / "state"), "kinds": ["dump"]}
    return run_module("job", {**known, **options}, check=check)


@pytest.fixture
def slow(make_migration: Callable[..., Migration], source_cluster: Cluster, target_cluster: Cluster) -> Migration:
    """One whose dump lasts until its limit is lifted."""
    migration = make_migration(source_cluster, target_cluster, documents=20_000)
    migration.variables.update(couch2pg_rate_limit="50KB", couch2pg_progress_seconds=1)
    return migration


def test_the_server_is_as_nice_as_the_job(slow: Migration) -> None:
    """The load is the server's: its processes that work for the dump are nice, and become nicer while it runs."""
    driver.start(slow, "dump")
    programs = wait_for_program(slow, "dump", "pg_dump")

    def all_are(nice: int) -> bool:
        backends = column(slow.source, BACKENDS.format(database=slow.database))
        mine = [*programs, *processes.of_job(slow.state / "jobs" / "dump"), *backends]
        found = {pid: os.getpriority(os.PRIO_PROCESS, pid) for pid in mine if processes.is_alive(pid)}
        return bool(backends) and set(found.values()) == {nice}

    wait_until("everything has the niceness 10", lambda: all_are(10))
    assert limit_dump(slow, check=True, nice=15)["changed"]
    changed = limit_dump(slow, nice=15, io_class="idle")
    assert (changed["changed"], changed["limits"]["dump"]["nice"], changed["limits"]["dump"]["rate_limit"]) == (
        True,
        15,
        51200,
    )
    assert not limit_dump(slow, nice=15)["changed"]
    wait_until("everything has the niceness 15", lambda: all_are(15))
    spared = slow.run("spare", "-e", "couch2pg_rate_limit=0")
    assert (spared.code, spared.changed) == (0, 1), spared.output
    assert driver.end(slow, "dump") == ""
    check_nothing_is_left(slow)


@pytest.mark.long
def test_there_is_nothing_to_spare(migration: Migration) -> None:
    assert (
        "No job of this host reads the database on the source."
        in migration.run("spare", "-e", "couch2pg_rate_limit=0").output
    )


@pytest.mark.long
def test_a_copy_is_spared_on_the_target_and_a_restore_is_not(slow: Migration) -> None:
    """With the method stream, a job of the target reads the source. The restore of an archive doesn't, so nobody needs its limits."""
    slow.variables["couch2pg_method"] = "stream"
    folder = slow.state / "jobs" / "restore"
    run = Background(slow)
    wait_until("the copy runs", lambda: job.read_state(folder).status == "running" or run.process.poll() is not None)
    spared = slow.run("spare", "-e", "couch2pg_rate_limit=0")
    assert (spared.code, spared.changed, limits.load(folder).rate_limit) == (0, 1, 0), spared.output
    done = run.end()
    assert done.code == 0, done.output
    place = (str(slow.state.parent), slow.name)
    assert job.of_kind(*place, "copy") == job.of_kind(*place, "restore") == [folder]
    write_json(folder / "spec.json", {"parameters": {"incoming": "one"}})
    assert job.of_kind(*place, "copy") == []


@pytest.mark.long
def test_what_the_snapshot_costs_is_shown(slow: Migration) -> None:
    """At once, although the output goes into a file here, for which Ansible would fill a block of 8 KB first."""
    run = Background(slow)
    wait_until("the cost is shown", lambda: "| snapshot held for " in run.output or run.process.poll() is not None)
    assert "| snapshot held for " in run.output
    run.kill()


@pytest.mark.parametrize("archive_format", ["directory", rarely("tar")])
def test_the_rate_is_kept(
    make_migration: Callable[..., Migration],
    source_cluster: Cluster,
    target_cluster: Cluster,
    archive_format: str,
) -> None:
    """A dump takes at least as long as the limit says, for the tables are read twice: by pg_dump and by the digests."""
    migration = make_migration(source_cluster, target_cluster, documents=16_000)
    migration.variables.update(couch2pg_rate_limit="4MB", couch2pg_format=archive_format)
    dump = driver.reach(migration, "dump")["dump"]
    read = 2 * sum(table["bytes"] for table in dump["tables"])
    assert read > 3 * 4 * 1024 * 1024
    # What is read before the first look, and the last piece, aren't waited for.
    assert dump["seconds"] > 0.75 * read / (4 * 1024 * 1024)


def test_a_wrong_limit_is_refused(migration: Migration) -> None:
    migration.variables["couch2pg_nice"] = 40
    assert migration.fail() == "The variable couch2pg_nice must be a whole number up to 19, and it is 40."
    assert not (migration.state / "jobs" / "dump").exists()


@pytest.mark.parametrize(
    ("elsewhere", "verdict"), [({}, "ok"), ({"login_host": "db.invalid", "connect_params": {"hostaddr": "127.0.0.1"}}, "warning")]
)  # fmt: skip
def test_a_server_that_the_limits_do_not_reach(
    make_migration: Callable[..., Migration],
    source_cluster: Cluster,
    target_cluster: Cluster,
    elsewhere: dict[str, Any],
    verdict: str,
) -> None:
    """Of the operator's own limits, preflight says whether they hold for the server; of the defaults, nothing."""
    migration = make_migration(source_cluster, target_cluster)
    place = {"migration_id": migration.name, "state_dir": str(migration.folder), "staging_dir": str(migration.folder)}
    given = {**place, "bin_dir": str(source_cluster.binaries.bin_dir), **elsewhere}
    found = finding(look(given, source_cluster, migration.database, limited=True), "limits")
    assert found["status"] == verdict
    assert found["message"].startswith("couch2pg_nice and couch2pg_io_class apply ")
    assert (
        verdict == "ok"
        or "are not found on this host. couch2pg_rate_limit limits the server's work" in found["message"]
    )
    unasked = look(given, source_cluster, migration.database)["findings"]
    assert "limits" not in [entry["name"] for entry in unasked]
