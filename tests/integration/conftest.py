# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL servers for the tests: each is started when a test first asks for it, and destroyed at the end."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from support import binaries, holding, places, seed
from support.clusters import Cluster
from support.migration import Migration, column, execute
from support.small_disk import mounted

OLD, THIRTEEN, SOURCE, TARGET = 10, 13, 16, 18
# Files that take longest. Two workers share the files, and a long one at the end would leave one of them without work.
LONGEST = (
    "test_after",
    "test_proof",
    "test_stream",
    "test_resume",
    "test_faults",
    "test_rehearse",
    "test_cutover",
    "test_couch2pg_health",
    "test_migrate",
    "test_schema_verified",
    "test_differs",
    "test_session_settings",
    "test_public_databases",
    "test_french_server",
    "test_limits",
    "test_transfer",
    "test_couch2pg_settings",
    "test_physical",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the others keep their order."""
    position = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: position.get(item.path.stem, len(LONGEST)))


def _cluster(major: int) -> Iterator[Cluster]:
    # A folder of its own for each run: two may run at the same time.
    folder = Path(tempfile.mkdtemp(prefix=f"{major}-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(major)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def old_cluster() -> Iterator[Cluster]:
    """The oldest major version that is supported; it has no client programs of its own."""
    yield from _cluster(OLD)


@pytest.fixture(scope="session")
def thirteen_cluster() -> Iterator[Cluster]:
    """The last major version before 14 changed signatures and 15 the rights in schema public."""
    yield from _cluster(THIRTEEN)


@pytest.fixture(scope="session")
def source_cluster() -> Iterator[Cluster]:
    yield from _cluster(SOURCE)


@pytest.fixture(scope="session")
def target_cluster() -> Iterator[Cluster]:
    yield from _cluster(TARGET)


@pytest.fixture
def extension_folder(target_cluster: Cluster) -> Iterator[Path]:
    """Where the target's sessions find extensions of the test's own, beside those that there are."""
    folder = target_cluster.directory / "own" / "extension"
    folder.mkdir(parents=True)
    execute(target_cluster, f"ALTER ROLE postgres SET extension_control_path = '{folder.parent}:$system'")
    yield folder
    execute(target_cluster, "ALTER ROLE postgres RESET extension_control_path")
    shutil.rmtree(folder.parent)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 3 MB that a server can reach."""
    if os.getuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root can mount a file system: run as root, too")
    with mounted("3m") as disk:
        yield disk


@pytest.fixture(scope="session")
def client_dir() -> Path:
    """The folder of the newest pg_dump, pg_restore and psql."""
    return binaries.clients().bin_dir


_numbers = itertools.count(1)


@pytest.fixture
def database_name() -> str:
    """A name that no other test of this run has; the database is not made."""
    return f"test_{os.getpid()}_{next(_numbers)}"


@pytest.fixture
def fresh_database(database_name: str) -> Iterator[Callable[[Cluster], str]]:
    """Call it with a cluster: makes an empty database owned by couch2pg there, and drops it after the test."""
    made: list[Cluster] = []

    def make(cluster: Cluster) -> str:
        seed.create_role(cluster, seed.OWNER)
        seed.create_database(cluster, database_name)
        made.append(cluster)
        return database_name

    yield make
    for cluster in made:
        if cluster.running:
            seed.drop_database(cluster, database_name)


@pytest.fixture
def make_migration(
    client_dir: Path, database_name: str, tmp_path: Path
) -> Iterator[Callable[[Cluster, Cluster], Migration]]:
    """Call it with source and target: a seeded database on the source, and the role couch2pg on the target."""
    made: list[Migration] = []

    def make(source: Cluster, target: Cluster, documents: int = 400, huge: bool = False) -> Migration:
        seed.seed_again(source, database_name, documents=documents, huge=huge)
        seed.create_role(target, seed.OWNER)
        made.append(Migration(source, target, client_dir, tmp_path, database_name))
        return made[0]

    yield make
    for migration in made:
        processes.kill_all([pid for folder in tmp_path.rglob("jobs/*") for pid in processes.of_job(folder)])
        for cluster in (migration.source, migration.target):
            if not cluster.running:
                cluster.start()
            for name in column(cluster, f"SELECT datname FROM pg_database WHERE datname LIKE '{database_name}%'"):
                seed.drop_database(cluster, name)
        holding.release(migration)


@pytest.fixture
def migration(
    make_migration: Callable[[Cluster, Cluster], Migration], source_cluster: Cluster, target_cluster: Cluster
) -> Migration:
    """From 16 to 18, not yet begun."""
    return make_migration(source_cluster, target_cluster)


@pytest.fixture
def place(tmp_path: Path, client_dir: Path) -> dict[str, Any]:
    """Options of the module preflight, for both sides."""
    return {
        "migration_id": "m",
        "state_dir": str(tmp_path / "state"),
        "staging_dir": str(tmp_path / "staging"),
        "bin_dir": str(client_dir),
    }
