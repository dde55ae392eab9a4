# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was verified is what is promoted: this archive and no other, and nothing was changed since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document
from support import seed
from support.by_phases import Phases
from support.clusters import Cluster
from support.migration import column, execute


@pytest.fixture(scope="module")
def dumped(
    source_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Phases]:
    """An archive on the source, which tests copy."""
    name = "proven"
    seed.seed(source_cluster, name, documents=seed.MINIMUM, huge=False)
    seed.create_role(target_cluster, seed.OWNER)
    phases = Phases(source_cluster, target_cluster, client_dir, tmp_path_factory.mktemp("dumped"), name)
    phases.run("dump")
    yield phases
    seed.drop_database(source_cluster, name)


@pytest.fixture
def phases(dumped: Phases, tmp_path: Path) -> Iterator[Phases]:
    """A migration of which the dump is done."""
    shutil.copytree(dumped.folder, tmp_path, dirs_exist_ok=True)
    move_results(tmp_path, dumped.folder)
    own = Phases(dumped.source, dumped.target, dumped.bin_dir, tmp_path, dumped.database)
    yield own
    like = f"SELECT datname FROM pg_database WHERE datname LIKE '{own.database}%'"
    for name in column(own.target, like):
        seed.drop_database(own.target, name)


def move_results(folder: Path, before: Path) -> None:
    """Let the copied state name the folder that it is in now."""
    for path in (folder / "state").rglob("*.json"):
        path.write_text(path.read_text(encoding="utf-8").replace(str(before), str(folder)), encoding="utf-8")
    record = folder / "state" / "test" / "record.json"
    found = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(dict(found, seal=document.seal(found))), encoding="utf-8")


def test_an_archive_of_another_day_is_refused(phases: Phases, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whole, under the same name, of the same migration_id: only the SHA-256 of its manifest tells it apart."""
    other = Phases(phases.source, phases.target, phases.bin_dir, tmp_path_factory.mktemp("other"), phases.database)
    row = 'INSERT INTO couchdb (doc) VALUES (\'{"_id": "of another day"}\')'
    execute(phases.source, row, phases.database)
    other.run("dump")
    phases.run("transfer", "restore", "refresh")
    phases.archive.rename(phases.archive.with_name("kept"))
    shutil.copytree(other.archive, phases.archive)
    for phase in ("transfer", "restore", "verify"):
        assert "is not the one that this migration dumped" in phases.fail(phase), phase
    assert "is not the finished archive of this job" in phases.fail("dump")
    shutil.rmtree(phases.archive)
    phases.archive.with_name("kept").rename(phases.archive)
    phases.run("dump", "transfer", "restore", "refresh", "verify", "promote")
