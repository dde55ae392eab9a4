# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A manifest for files of another tool: they can be checked, but not restored or verified."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from support.clusters import Cluster
from support.migration import execute
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


def test_any_folder_with_links_is_listed_checked_and_renewed(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    (folder / "2026").mkdir(parents=True)
    (folder / "2026" / "data").write_bytes(b"one")
    (folder / "latest").symlink_to("2026")
    options = {"archive": str(folder), "migration_id": "backups", "state_dir": str(tmp_path / "state")}

    def manifest(state: str) -> dict[str, Any]:
        return run_module("archive_manifest", {**options, "state": state})

    assert (manifest("created")["changed"], manifest("created")["changed"]) == (True, False)
    assert not manifest("verified")["changed"]
    (folder / "2026" / "data").write_bytes(b"two")
    (folder / "latest").unlink()
    (folder / "latest").symlink_to("/etc")
    (folder / "more").write_bytes(b"")
    for state in ("verified", "created"):
        differs = manifest(state)
        assert differs["msg"] == (
            f"The folder {folder} differs from its manifest: not in the manifest: more; changed: 2026/data and 1 more. If these "
            "changes are right, write the manifest again (archive_manifest, state: renewed)."
        )
        assert differs["details"]["sha256_differs"] == ["2026/data", "latest"]
    assert manifest("renewed")["files"] == 2
    assert not manifest("renewed")["changed"]
    assert not manifest("verified")["changed"]


def test_no_file_of_any_folder_is_left_out(tmp_path: Path) -> None:
    """Whatever its name; and what can't be read, or be listed, is said."""
    folder = tmp_path / "old files"
    (folder / "closed").mkdir(parents=True)
    # As old programs wrote it, in Latin-1.
    name = Path(os.fsdecode(os.fsencode(folder) + b"/na\xefve.txt"))
    name.write_bytes(b"one")
    options = {"migration_id": "old", "state_dir": str(tmp_path / "state"), "state": "created"}

    def manifest(path: Path, through: list[str] | None = None, **more: Any) -> dict[str, Any]:
        return run_module("archive_manifest", {**options, "archive": str(path), **more}, through=through or [])

    assert manifest(folder)["files"] == 1
    name.write_bytes(b"two")
    assert "changed: na\\xefve.txt. If these" in manifest(folder)["msg"]
    # Root would read it all the same.
    as_user = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    (folder / "closed").chmod(0)
    for state in ("created", "renewed"):
        closed = manifest(folder, as_user, state=state)
        assert closed["msg"].startswith(f"The folder {folder}/closed can't be read by this user"), closed
    (folder / "closed").chmod(0o700)
    assert manifest(folder, state="renewed")["changed"]

    missing = manifest(tmp_path / "nothing")
    assert (missing["code"], missing["msg"]) == (
        "no_folder",
        f"There is no folder {tmp_path}/nothing on this host. Correct archive.",
    )
    app = tmp_path / "apps" / "app"
    app.mkdir(parents=True)
    (app / "manifest.json").write_text('{"name": "app"}', encoding="utf-8")
    for state in ("created", "renewed"):
        other = manifest(app, state=state)
        assert other["code"] == "other_manifest", other
        assert "Give a folder above this one" in other["msg"]
    assert (app / "manifest.json").read_text(encoding="utf-8") == '{"name": "app"}'
    # What is advised works.
    assert manifest(app.parent, migration_id="above")["files"] == 1


def test_the_manifest_of_a_dump_is_never_written_again(
    source_cluster: Cluster, fresh_database: Any, client_dir: Path, tmp_path: Path
) -> None:
    """Neither the dump nor the manifest needs a table couchdb."""
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE other AS SELECT generate_series(1, 5) AS n", name)
    place = {"migration_id": "m", "state_dir": str(tmp_path / "state")}
    dump = {
        **place,
        **login(source_cluster, name),
        "staging_dir": str(tmp_path / "staging"),
        "bin_dir": str(client_dir),
    }
    # Sizes in words, as everywhere.
    dumped = run_module("pg_dump", {**dump, "rate_limit": "10 GB"})
    assert dumped["rows"] == 5, dumped
    archive = Path(dumped["archive"])
    (archive / "archive" / "more").write_bytes(b"")
    refused = run_module("archive_manifest", {**place, "archive": str(archive), "state": "renewed"})
    assert refused["code"] == "manifest_of_a_dump", refused
    differs = run_module("archive_manifest", {**place, "archive": str(archive)})
    assert "The archive in" in differs["msg"]
    assert "couch2pg_restart_from=transfer" in differs["msg"]
    sizes = run_module("disk_space_info", {**login(source_cluster, name), "side": "source", "state_dir": str(tmp_path)})
    assert sizes["ok"]
    needs = [{"path": str(tmp_path), "bytes": "10 PB"}]
    short = run_module("disk_space_info", {"needs": needs})
    assert short["file_systems"][0]["needed"] == 10 * 1024**5
