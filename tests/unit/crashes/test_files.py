# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and archives: a run that is killed at any moment leaves what the next run completes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import check, layout, manifest, partial
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.identity import manifest_sha256
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import removal, restart, retention
from ansible_collections.cht.couch2pg.plugins.module_utils.dump import earlier_dump
from ansible_collections.cht.couch2pg.plugins.module_utils.dump import job as dump_job
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import authorized_keys, forced_command
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import key as gate_key
from ansible_collections.cht.couch2pg.plugins.module_utils.host import files, kept_file
from ansible_collections.cht.couch2pg.plugins.module_utils.host.temporary import temporary_folder
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.context import JobContext
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.progress import Progress
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.throttle import Throttle
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document
from ansible_collections.cht.couch2pg.plugins.module_utils.restore.steps import RestoreSteps
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import early, job, partial_archive, relay
from support.crashes import check_every_moment

ORIGIN: Any = {
    "migration_id": "m",
    "server": {"identity": "1"},
    "database": {"name": "cht"},
    "snapshot": "1-1",
    "taken_at": "now",
    "dump": {},
}


def nothing(_root: Path) -> None:
    """An empty folder."""


def an_archive(root: Path, name: str = "staging/m", migration: str = "m", rows: str = "rows") -> Path:
    """A finished one of this migration."""
    folder = root / name
    (folder / "archive").mkdir(parents=True)
    (folder / "archive" / "toc.dat").write_text("contents")
    (folder / "archive" / "1.dat").write_text(rows)
    (folder / layout.EVIDENCE).write_text("{}")
    files.write_json(folder / layout.MANIFEST, dict(manifest.create(folder, 1), migration_id=migration))
    return folder


def a_job(root: Path, kind: str) -> Path:
    """What a job that has ended leaves."""
    folder = root / "state" / "m" / "jobs" / kind
    (folder / "code" / "core").mkdir(parents=True)
    (folder / "code" / "core" / "a.py").touch()
    for name in ("log", "lock", "start.lock", "limits.json"):
        (folder / name).touch()
    files.write_json(folder / "spec.json", {"kind": kind, "fingerprint": {}, "parameters": {}})
    files.write_json(folder / "result.json", {"status": "done", "value": {}})
    return folder


def context(root: Path, kind: str, **parameters: Any) -> JobContext:
    folder = root / "state" / "m" / "jobs" / kind
    folder.mkdir(parents=True, exist_ok=True)
    return JobContext(folder, parameters, Progress(folder / "progress.json"), Throttle(folder))


# Writing


def test_a_file_is_written(root: Path) -> None:
    check_every_moment(
        root,
        lambda root: (root / "file").write_text("old"),
        lambda root: files.write_text(root / "file", "new"),
    )


def test_folders_are_made(root: Path) -> None:
    check_every_moment(root, nothing, lambda root: files.make_private_folder(root / "a" / "b" / "c"))


@pytest.mark.parametrize("before", [None, "old"])
def test_an_operators_file_is_changed(root: Path, before: str | None) -> None:
    def make(root: Path) -> None:
        if before:
            (root / "etc" / "app").mkdir(parents=True)
            (root / "etc" / "app" / "env").write_text(before)

    check_every_moment(root, make, lambda root: kept_file.plan(root / "etc" / "app" / "env", "new").apply("m"))


def test_the_record(root: Path) -> None:
    def add(root: Path) -> None:
        path = document.record_path(str(root / "state"), "m")
        entry = document.make_entry("target", {"rows": 1})
        document.add(path, "m", "cht", "restore", entry, True, clock=lambda: 0.0)

    check_every_moment(root, nothing, add)


def test_the_steps_of_a_restore(root: Path) -> None:
    def step(root: Path) -> None:
        steps = RestoreSteps(root, "1", "2")
        if steps.oid != 7:
            steps.start(7)
        if not steps.done.get("pre-data"):
            steps.mark({"pre-data": True})
        if not steps.done.get("data"):
            steps.mark({"data": True})

    check_every_moment(root, nothing, step)


# Incomplete archives


def fill(folder: Path) -> None:
    (folder / "archive").mkdir()
    (folder / "archive" / "rows").write_text("1")


def write_archive(root: Path) -> list[str]:
    folder = root / "staging" / "m.partial"
    partial.start_empty(folder, "snapshot")
    fill(folder)
    partial.finish(folder, ORIGIN, 1)
    return [entry["path"] for entry in manifest.load(folder)["files"]]


def half(root: Path) -> None:
    folder = root / "staging" / "m.partial"
    partial.start_empty(folder, "earlier")
    fill(folder)
    (folder / "more").touch()


def finished_half(root: Path) -> None:
    half(root)
    partial.finish(root / "staging" / "m.partial", ORIGIN, 1)


@pytest.mark.parametrize("make", [nothing, half, finished_half])
def test_an_archive_is_begun_and_finished(root: Path, make: Callable[[Path], None]) -> None:
    check_every_moment(root, make, write_archive)


def test_only_the_manifest_is_missing(root: Path) -> None:
    """As a copy does it that has its rows."""

    def end(root: Path) -> list[str]:
        partial.finish(root / "staging" / "m.partial", ORIGIN, 1)
        return [entry["path"] for entry in manifest.load(root / "staging" / "m.partial")["files"]]

    check_every_moment(root, half, end)


@pytest.mark.parametrize("make", [half, finished_half])
def test_an_incomplete_archive_is_removed(root: Path, make: Callable[[Path], None]) -> None:
    check_every_moment(root, make, lambda root: partial.discard(root / "staging" / "m.partial"))


def test_a_finished_archive_is_taken_back(root: Path) -> None:
    def make(root: Path) -> None:
        half(root)
        an_archive(root)

    def again(root: Path) -> None:
        if (root / "staging" / "m").exists():
            partial.take_back(root / "staging" / "m")
        partial.start_empty(root / "staging" / "m.partial", "again")

    check_every_moment(root, make, again)


def test_a_manifest_of_any_folder(root: Path) -> None:
    def make(root: Path) -> None:
        (root / "folder").mkdir()
        (root / "folder" / "mine").write_text("1")
        (root / "state" / "m").mkdir(parents=True)

    def create(root: Path) -> dict[str, Any]:
        options = {"archive": str(root / "folder"), "state_dir": str(root / "state"), "migration_id": "m"}
        spec = check.job_spec({**options, "jobs": 1, "full": False, "state": "created"}, "")
        result = check.run(context(root, "archive_check", **spec.parameters))
        return {name: result[name] for name in ("bytes", "files")}

    check_every_moment(root, make, create, without_times)


def without_times(found: dict[str, str]) -> dict[str, str]:
    return {name: "" if name.endswith((check.STAMP, "progress.json")) else text for name, text in found.items()}


DUMPED: Any = {
    **ORIGIN,
    "server": {"identity": "1", "version": "16"},
    "database": {"name": "cht", "oid": 1, "bytes": 1},
    "digest_method": "hash64",
    **{name: [] for name in ("tables", "matviews", "left_out", "couchdb_progress")},
}


def test_a_dump_that_lacks_its_checksums_only(root: Path) -> None:
    """The rest needs no server."""

    def make(root: Path) -> None:
        half(root)
        folder = root / "staging" / "m.partial"
        dumped = {"format": "directory", "compression": "none", "seconds": 1.0, "written": earlier_dump.written(folder)}
        files.write_json(folder / layout.EVIDENCE, {**DUMPED, "dump": dumped})

    def end(root: Path) -> list[str]:
        same = {"migration_id": "m", "server_identity": "1", "database": "cht", "digest_method": "hash64", "jobs": 1}
        parameters = {**same, "format": "directory", "compression": "none", "staging_dir": str(root / "staging")}
        return [entry["path"] for entry in dump_job.run(context(root, "dump", **parameters))["file_list"]]

    check_every_moment(root, make, end, without_times)


# Transfer


def transferred(root: Path) -> Any:
    """A whole transfer through the controller, as the action plugin leads it."""
    source = source_of(root)
    final = root / "staging" / "m"
    options = {"source": source, "archive": str(final), "state_dir": str(root / "state"), "migration_id": "m"}
    for _round in range(3):
        missing = relay.missing(options)
        for segment in missing["segments"]:
            with (root / "source" / segment["path"]).open("rb") as wanted, Path(
                missing["partial"], segment["path"]
            ).open("r+b") as there:
                wanted.seek(segment["offset"])
                there.seek(segment["offset"])
                there.write(wanted.read())
        if missing["complete"]:
            break
    parameters = {
        "archive": str(final),
        "manifest_sha256": source["manifest_sha256"],
        "way": "relay",
        "reason": "",
        "source": source,
        "state": str(root / "state" / "m"),
        "jobs": 1,
        "full": False,
        "migration_id": "m",
    }
    (root / "state" / "m").mkdir(parents=True, exist_ok=True)
    result = job.run(context(root, "transfer", **parameters))
    return {name: result[name] for name in ("bytes", "files")}


def source_of(root: Path) -> Any:
    folder = root / "source"
    return {
        "archive": str(folder),
        "manifest_sha256": manifest_sha256(folder),
        "manifest_bytes": (folder / layout.MANIFEST).stat().st_size,
        "identity": partial_archive.identify(folder),
        "bytes": 12,
        "files": 3,
    }


def to_transfer(root: Path) -> None:
    an_archive(root, "source")
    (root / "staging").mkdir()


def of_another_day(root: Path) -> None:
    to_transfer(root)
    an_archive(root, "staging/m.partial", rows="earlier")
    (root / "staging" / "m.partial" / layout.HALF_DONE).touch()


def altered(root: Path) -> None:
    """After its transfer, beside what an interrupted repair left."""
    to_transfer(root)
    shutil.copytree(root / "source", root / "staging" / "m")
    (root / "staging" / "m" / "archive" / "1.dat").write_text("ROWS")
    partial.mark(root / "staging" / "m.partial")
    (root / "staging" / "m.partial" / "old").touch()


def fetched_early(root: Path) -> None:
    to_transfer(root)
    early_one = root / "staging" / "m.early"
    partial.mark(early_one)
    (early_one / "archive").mkdir()
    (early_one / "archive" / "1.dat").write_text("ro")


def of_transfer(found: dict[str, str]) -> dict[str, str]:
    return {
        name: text.partition(" ")[2]
        for name, text in without_times(found).items()
        if not name.startswith(("source", "state/m/jobs"))
    }


@pytest.mark.parametrize("make", [to_transfer, of_another_day, fetched_early])
def test_an_archive_is_transferred(root: Path, make: Callable[[Path], None]) -> None:
    check_every_moment(root, make, transferred, of_transfer)


def test_an_altered_archive_is_repaired(root: Path) -> None:
    """The file is named in the first round, and fetched again in the next one."""

    def repaired(root: Path) -> Any:
        final = root / "staging" / "m"
        if final.exists() and manifest.compare(final, manifest.load(final), 1):
            partial_archive.reopen(final)
        folder = layout.partial_folder(final)
        if folder.exists():
            shutil.copy(root / "source" / "archive" / "1.dat", folder / "archive" / "1.dat")
        return transferred(root)

    check_every_moment(root, altered, repaired, of_transfer)


def test_what_arrives_early_is_taken_over(root: Path) -> None:
    final = Path("staging") / "m"

    def take(root: Path) -> None:
        folder = layout.early_folder(root / final)
        if not layout.partial_folder(root / final).exists():
            partial.start_empty(folder)
            fill(folder)
        early.take_over(root / final, root / "state" / "m" / "jobs", resumable=True)

    check_every_moment(root, fetched_early, take)


# The gate


KEY = "ssh-ed25519 AAAA"


@pytest.fixture
def home(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with no .ssh."""
    keys = root / "home" / ".ssh" / "authorized_keys"
    monkeypatch.setattr(authorized_keys, "authorized_keys", lambda _account: keys)
    return keys


def open_gate(root: Path) -> None:
    (root / "home").mkdir(exist_ok=True)
    wanted: authorized_keys.Wanted = {
        "public_key": KEY,
        "hours": 1,
        "state_dir": str(root / "state"),
        "migration_id": "m",
        "archive": None,
        "server": ("h", 1),
    }
    authorized_keys.open_gate(wanted, "python3", 0)


def with_keys(root: Path) -> None:
    (root / "home" / ".ssh").mkdir(parents=True)
    (root / "home" / ".ssh" / "authorized_keys").write_text("mine")


@pytest.mark.parametrize("make", [nothing, with_keys])
def test_the_gate_is_opened(root: Path, home: Path, make: Callable[[Path], None]) -> None:
    check_every_moment(root, make, open_gate)
    assert KEY in home.read_text()


@pytest.mark.parametrize("make", [nothing, with_keys])
def test_the_gate_is_closed_wherever_it_was_opened_to(root: Path, home: Path, make: Callable[[Path], None]) -> None:
    def open_and_close(root: Path) -> None:
        open_gate(root)
        authorized_keys.close_gate(str(root / "state"), "m", 0, True)

    check_every_moment(root, make, open_and_close)
    assert home.exists() is (make is with_keys)

    def opened(root: Path) -> None:
        make(root)
        open_gate(root)

    check_every_moment(
        root, opened, lambda root: authorized_keys.close_gate(str(root / "state"), "m", 0, True) and None
    )
    assert home.exists() is (make is with_keys)


def test_the_gate_closes_itself(root: Path, home: Path) -> None:
    """As its own program does it, and where that is killed, the next run of the role."""

    def close(root: Path) -> None:
        folder = authorized_keys.gate_folder(str(root / "state"), "m")
        settings = files.read_json(folder / forced_command.SETTINGS)
        if settings:
            forced_command.withdraw(settings, 0)
            forced_command.remove_files(folder)
        authorized_keys.close_gate(str(root / "state"), "m", 0, True)

    check_every_moment(root, open_gate, close)
    assert not home.parent.exists()


def test_a_key(root: Path) -> None:
    def make_key(root: Path) -> int:
        return len(gate_key.make(root / "job")["public_key"].split())

    check_every_moment(root, nothing, make_key, lambda found: dict.fromkeys(found, ""))
    check_every_moment(root, make_key, lambda root: gate_key.remove(root / "job") and None)


# Cleanup and a new beginning


def cleaned(root: Path) -> list[str]:
    final = root / "staging" / "m"
    planned = removal.plan(final, "m", None, str(root / "state"), half_done=True)
    return removal.remove(planned)["left"]


def to_clean(root: Path) -> None:
    an_archive(root)
    half(root)
    a_job(root, "dump")
    a_job(root, "restore")
    files.write_json(root / "state" / "m" / "couch2pg_target.json", {"password": "x"})


def test_cleanup(root: Path) -> None:
    def make(root: Path) -> None:
        to_clean(root)
        (root / "staging" / "m" / "mine").touch()

    check_every_moment(root, to_clean, cleaned)
    check_every_moment(root, make, cleaned)


@pytest.mark.parametrize("phase", ["dump", "transfer"])
def test_a_phase_begins_again(root: Path, phase: str) -> None:
    def make(root: Path) -> None:
        final = an_archive(root)
        a_job(root, phase)
        noted = {"manifest_sha256": manifest_sha256(final)}
        files.write_json(root / "state" / "m" / (earlier_dump.FINISHED if phase == "dump" else check.STAMP), noted)

    def discard(root: Path) -> None:
        restart.discard_archive(phase, root / "state" / "m", root / "staging" / "m", True, clock=lambda: 0.0)

    check_every_moment(root, make, discard)


def test_old_dumps(root: Path) -> None:
    """Nightly ones, of which the newest stays."""

    def make(root: Path) -> None:
        for name, day in (("m0", "2000-01-01T00:00:00Z"), ("m1", "2000-01-02T00:00:00Z")):
            folder = an_archive(root, f"staging/{name}", name)
            listing: Any = {**manifest.load(folder), "database": "cht", "server_identity": "1", "taken_at": day}
            files.write_json(folder / layout.MANIFEST, listing)
            shutil.copytree(a_job(root, "dump").parent, root / "state" / name / "jobs")
            shutil.rmtree(root / "state" / "m")
            path = document.record_path(str(root / "state"), name)
            document.add(path, name, "cht", "dump", document.make_entry("source", {}), True, clock=lambda: 0.0)

    def keep(root: Path) -> None:
        planned = retention.plan(str(root / "staging"), str(root / "state"), "m1", "cht", 1)
        removal.remove(planned)

    # Without its record, which goes last, nothing shows whose the empty folder is.
    check_every_moment(root, make, keep, lambda found: {name: found[name] for name in found if name != "state/m0"})
    assert not (root / "staging" / "m0").exists()


def test_a_password_in_a_temporary_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(root))

    def use(_root: Path) -> None:
        with temporary_folder() as folder:
            (folder / "passfile").write_text("password")

    check_every_moment(root, nothing, use)
    assert list(root.iterdir()) == []
