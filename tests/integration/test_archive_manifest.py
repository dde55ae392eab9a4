# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A manifest for files of another tool: they can be checked, but not restored or verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.clusters import Cluster
from support.modules import login, run_module


def test_a_manifest_of_other_files_is_refused_by_restore_and_verify(
    target_cluster: Cluster, fresh_database: Any, tmp_path: Path
) -> None:
    archive = tmp_path / "staging" / "m"
    archive.mkdir(parents=True)
    (archive / "cht.dump").write_bytes(b"of another tool")
    place = {"archive": str(archive), "migration_id": "m", "state_dir": str(tmp_path / "state")}
    assert run_module("archive_manifest", {**place, "state": "created"})["files"] == 1
    assert run_module("archive_manifest", {**place, "full": True})["files"] == 1
    name = fresh_database(target_cluster)
    there = {**place, **login(target_cluster, name)}
    for module, options in (("pg_restore", {"incoming": f"{name}_incoming"}), ("verify", {})):
        refused = run_module(module, {**there, **options})
        assert refused["code"] == "no_evidence", refused
        assert "was not dumped by this collection" in refused["msg"]
