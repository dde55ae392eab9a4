# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archive and job folders go file by file, each one known; everything else stays, and is listed."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout, manifest
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import leftovers, removal
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json

NAME = "cht-1"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "staging" / NAME
    (root / "archive").mkdir(parents=True)
    (root / "archive" / "toc.dat").write_bytes(b"contents")
    (root / "archive" / "3001.dat").write_bytes(b"rows")
    (root / "evidence.json").write_text("{}")
    write_json(root / layout.MANIFEST, dict(manifest.create(root, 1), migration_id=NAME))
    return root


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "state" / NAME / "jobs" / "dump"
    (folder / "code" / "core").mkdir(parents=True)
    (folder / "code" / "core" / "dump.py").touch()
    for name in ("log", "lock", "start.lock", "limits.json"):
        (folder / name).touch()
    write_json(folder / "spec.json", {"kind": "dump", "fingerprint": {}})
    write_json(folder / "result.json", {"status": "done", "value": {}})
    return folder


def plan(tmp_path: Path, archive: Path | None = None) -> removal.Plan:
    sha256 = manifest.sha256(archive / layout.MANIFEST) if archive else ""
    return removal.plan(archive, NAME, sha256, str(tmp_path / "state"))


def test_everything_that_is_known_goes(tmp_path: Path, archive: Path, job: Path) -> None:
    record = job.parents[1] / "record.json"
    record.touch()
    # Captured settings hold credentials.
    for name in ("couch2pg_target.json", "couch2pg-bundle.tar.gz"):
        record.with_name(name).touch()
    done = removal.remove(plan(tmp_path, archive))
    assert done["files"] == 13
    assert list(record.parent.iterdir()) == [record]
    assert done["left"] == []
    assert not archive.exists()
    assert not job.parent.exists()
    assert record.exists()
    assert archive.parent.exists()
    # Nothing is left to do.
    assert removal.plan(archive, NAME, "", str(tmp_path / "state")) == removal.Plan()


def test_what_is_not_known_stays(tmp_path: Path, archive: Path, job: Path) -> None:
    elsewhere = tmp_path / "precious"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    mine = [
        archive / "notes.txt",
        archive / "archive" / "also.dat",
        archive / "link",
        job / "notes",
        job.parent / "other",
    ]
    for path in mine:
        path.symlink_to(elsewhere) if path.name == "link" else path.touch()
    # One of the archive's that was changed since is no file of the archive any more.
    (archive / "archive" / "toc.dat").write_bytes(b"other contents")
    done = removal.remove(plan(tmp_path, archive))
    assert set(done["left"]) == {str(path) for path in [*mine, archive / "archive" / "toc.dat"]}
    assert (elsewhere / "file").exists()
    assert not (archive / "archive" / "3001.dat").exists()
    again = removal.plan(archive, NAME, "", str(tmp_path / "state"))
    assert again.files == again.folders == []
    assert len(again.left) == len(done["left"])


def test_a_folder_that_is_no_jobs_stays(tmp_path: Path, job: Path) -> None:
    (job / "start.lock").unlink()
    planned = plan(tmp_path)
    assert planned.files == planned.folders == []
    assert job / "spec.json" in planned.left


def test_an_interrupted_removal_goes_on(tmp_path: Path, archive: Path) -> None:
    planned = plan(tmp_path, archive)
    assert planned.files[-1] == archive / layout.MANIFEST
    planned.files[0].unlink()
    (archive / layout.HALF_DONE).touch()
    removal.remove(plan(tmp_path, archive))
    assert not archive.exists()
    # Between the manifest and the folders.
    (archive / "archive").mkdir(parents=True)
    removal.remove(removal.plan(archive, NAME, "", str(tmp_path / "state")))
    assert not archive.exists()


def test_a_running_job_refuses(tmp_path: Path, archive: Path, job: Path) -> None:
    with (job / "lock").open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(
            MigrationError, match=r"Jobs of this migration are running on this host: dump\. Nothing was removed"
        ):
            plan(tmp_path, archive)


@pytest.mark.parametrize("field", ["migration_id", "files"])
def test_another_archive_is_refused(tmp_path: Path, archive: Path, field: str) -> None:
    sha256 = manifest.sha256(archive / layout.MANIFEST)
    listing = manifest.load(archive)
    write_json(archive / layout.MANIFEST, dict(listing, **{field: [] if field == "files" else "another"}))
    with pytest.raises(MigrationError, match="is not the one that this migration created"):
        removal.plan(archive, NAME, sha256, str(tmp_path / "state"))


def test_without_a_record_its_name_decides(tmp_path: Path, archive: Path, job: Path) -> None:
    """Of a rehearsal that was given up, no manifest was recorded."""
    state = str(tmp_path / "state")
    with pytest.raises(MigrationError, match="Nothing was removed"):
        removal.plan(archive, "another", None, state)
    assert removal.remove(removal.plan(archive, NAME, None, state, jobs=False))["left"] == []
    assert not archive.exists()
    assert (job / "result.json").exists()


@pytest.mark.parametrize("mark", [layout.HALF_DONE, layout.MANIFEST, ""])
def test_a_half_done_one_goes_when_it_is_marked(tmp_path: Path, mark: str) -> None:
    archive, state = tmp_path / "staging" / NAME, str(tmp_path / "state")
    partial = archive.with_name(f"{NAME}.partial")
    (partial / "archive").mkdir(parents=True)
    (partial / "archive" / "toc.dat").write_text("half")
    if mark:
        (partial / mark).touch()
        # A removal that is interrupted must still know it for ours.
        planned = removal.plan(archive, NAME, None, state, half_done=True)
        assert planned.files[-1] == partial / mark
    removal.remove(removal.plan(archive, NAME, None, state))
    assert partial.exists()
    removal.remove(removal.plan(archive, NAME, None, state, half_done=True))
    assert partial.exists() is not bool(mark)


def test_a_manifest_does_not_lead_out(tmp_path: Path, archive: Path) -> None:
    outside = archive.parent / "outside"
    outside.write_bytes(b"rows")
    listing = manifest.load(archive)
    listing["files"].append({"path": "../outside", "bytes": 4, "sha256": ""})
    write_json(archive / layout.MANIFEST, listing)
    removal.remove(plan(tmp_path, archive))
    assert outside.exists()


def test_archives_are_found(archive: Path) -> None:
    (archive.parent / "somebody's").mkdir()
    half = archive.parent / f"{NAME}.partial"
    half.mkdir()
    (half / layout.HALF_DONE).touch()
    found = leftovers.archives(str(archive.parent))
    assert [(Path(entry["archive"]).name, entry["complete"]) for entry in found] == [
        (NAME, True),
        (f"{NAME}.partial", False),
    ]
    assert found[0]["bytes"] > found[1]["bytes"] == 0
