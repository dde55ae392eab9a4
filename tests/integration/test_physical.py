# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method physical: a copy of the whole server that shows exactly what the evidence shows, while couch2pg writes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import private_server
from support import binaries, places
from support.clusters import Cluster
from support.migration import Migration, column
from support.modules import login, run_module
from support.writer import BackgroundWriter, Writer


@pytest.fixture(scope="module")
def same_major() -> Iterator[Cluster]:
    """A target of the source's major version."""
    folder = Path(tempfile.mkdtemp(prefix="16-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(16)) as cluster:
        yield cluster


def remove_copy(target: Cluster) -> None:
    """End the servers on copies beside the target's data directory, and remove them."""
    for path in [*target.directory.glob("data_incoming_*"), *target.directory.glob("data_incoming_*/old")]:
        process = private_server.postmaster(path)
        if process is not None:
            private_server.end(process)
    for path in target.directory.glob("data_incoming_*"):
        shutil.rmtree(path)


@pytest.fixture
def made() -> list[Migration]:
    """The migrations of ``make_options``."""
    return []


@pytest.fixture
def make_options(
    source_cluster: Cluster, make_migration: Callable[..., Any], made: list[Migration], tmp_path: Path
) -> Iterator[Callable[[Cluster], dict[str, Any]]]:
    """Call it with a target: options of pg_physical for a seeded database."""
    targets: list[Cluster] = []

    def make(target: Cluster, documents: int = 400) -> dict[str, Any]:
        targets.append(target)
        migration = make_migration(source_cluster, target, documents=documents)
        made.append(migration)
        return {
            **login(target, "postgres"),
            "database": migration.database,
            "source": login(source_cluster, migration.database),
            "archive": str(tmp_path / "staging" / "test"),
            "bin_dir": str(binaries.clients().bin_dir),
            "server_bin_dir": str(source_cluster.binaries.bin_dir),
            "migration_id": "test",
            "state_dir": str(tmp_path / "state"),
        }

    yield make
    for target in targets:
        remove_copy(target)


def of_copy(done: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options of later phases for the server on the copy."""
    names = ("database", "migration_id", "state_dir")
    return {**done["login"], **{name: options[name] for name in names}}


def verify(done: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return run_module("verify", {**of_copy(done, options), **{name: options[name] for name in ("archive", "bin_dir")}})


def test_a_copy_equals_its_evidence_while_couch2pg_writes(
    make_options: Callable[..., dict[str, Any]], source_cluster: Cluster, same_major: Cluster
) -> None:
    options = make_options(same_major)
    writing = Writer(lambda: source_cluster.connect(options["database"]), pause=0.01)
    with BackgroundWriter(writing) as writer:
        writer.wait_for(2)
        done = run_module("pg_physical", options)
        writer.wait_for(2)
    assert not done.get("failed"), done
    assert done["changed"]
    refreshed = run_module("matview_refresh", of_copy(done, options))
    assert not refreshed.get("failed"), refreshed
    assert all(view["done_before"] for view in refreshed["matviews"]), refreshed
    verified = verify(done, options)
    assert not verified.get("failed"), verified
    again = run_module("pg_physical", options)
    assert not again["changed"], again
    # The source keeps nothing of it.
    assert column(source_cluster, "SELECT slot_name FROM pg_replication_slots") == []


def test_a_newer_major_gets_the_same_rows(make_options: Callable[..., dict[str, Any]], target_cluster: Cluster) -> None:
    options = make_options(target_cluster)
    done = run_module("pg_physical", options)
    assert not done.get("failed"), done
    assert done["server_version"] >= 180000
    refreshed = run_module("matview_refresh", of_copy(done, options))
    assert not refreshed.get("failed"), refreshed
    verified = verify(done, options)
    assert not verified.get("failed"), verified
    assert not run_module("pg_physical", options)["changed"]


def test_a_whole_migration_up_to_verify(
    make_options: Callable[..., dict[str, Any]],
    made: list[Migration],
    same_major: Cluster,
) -> None:
    """And once more from the beginning, which removes the first copy."""
    make_options(same_major)
    migration = made[0]
    migration.variables.update(couch2pg_method="physical")
    steps = ("--tags", "preflight,physical,refresh,verify")
    first = migration.run("migrate", *steps)
    assert first.code == 0, first.output
    assert {name: phase["status"] for name, phase in migration.record["phases"].items()} == dict.fromkeys(
        ("preflight", "dump", "restore", "refresh", "verify"), "done"
    )
    again = migration.run("migrate", *steps)
    assert (again.code, again.changed) == (0, 0), again.output
    point = migration.record["phases"]["restore"]["result"]["restore_point"]
    restarted = migration.run("migrate", *steps, "-e", "couch2pg_restart_from=restore")
    assert restarted.code == 0, restarted.output
    assert migration.record["phases"]["restore"]["result"]["restore_point"] != point
