# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large tables of an archive, which several sessions load piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from ansible_collections.cht.couch2pg.plugins.module_utils.pipeline import marks
from support.background import kill, wait_until
from support.cases import rarely
from support.clusters import Cluster
from support.migration import column
from support.modules import login, run_module


@pytest.mark.parametrize("archive_format", [rarely("directory"), "custom"])
def test_an_interrupted_load_goes_on_without_a_lost_or_doubled_row(
    archive_format: str,
    client_dir: Path,
    source_cluster: Cluster,
    target_cluster: Cluster,
    make_migration: Callable[..., Any],
    tmp_path: Path,
) -> None:
    database = make_migration(source_cluster, target_cluster, documents=30000).database
    shared = {"migration_id": "test", "state_dir": str(tmp_path), "bin_dir": str(client_dir), "jobs": 2}
    staging = {"staging_dir": str(tmp_path / "staging"), "format": archive_format}
    dumped = run_module("pg_dump", {**shared, **login(source_cluster, database), **staging})
    assert not dumped.get("failed"), dumped
    incoming = f"{database}_incoming"
    options = {**shared, **login(target_cluster, database), "archive": dumped["archive"], "incoming": incoming}

    def pieces() -> int:
        if incoming not in column(target_cluster, "SELECT datname FROM pg_database"):
            return 0
        there = f"SELECT to_regclass('{marks.SCHEMA}.complete') IS NOT NULL"
        if column(target_cluster, there, incoming) != [True]:
            return 0
        (count,) = column(target_cluster, f"SELECT count(*) FROM {marks.SCHEMA}.complete", incoming)
        return int(count)

    run_module("pg_restore", {**options, "job_wait": 0})
    wait_until("a piece is loaded", pieces)
    folder = job.job_folder(tmp_path, "test", "restore")
    kill(processes.of_job(folder))
    wait_until("the job ended", lambda: not processes.of_job(folder))
    kept = pieces()
    assert kept > 0
    (loaded_first,) = column(target_cluster, "SELECT xmin::text FROM couchdb LIMIT 1", incoming)
    # A later attempt with one job finds the rows that two were to load.
    restored = run_module("pg_restore", {**options, "jobs": 1})
    assert not restored.get("failed"), restored
    assert restored["resumed_after"] == ["pre-data", "data"]
    assert column(target_cluster, "SELECT xmin::text FROM couchdb LIMIT 1", incoming) == [loaded_first]
    source, target = (
        {row["table"]: (row["rows"], row["digest"]) for row in side} for side in (dumped["tables"], restored["tables"])
    )
    assert source == target
    assert column(target_cluster, f"SELECT to_regnamespace('{marks.SCHEMA}') IS NULL", incoming) == [True]
