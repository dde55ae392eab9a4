# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a job: started once, joined, redone after a death, refused when it is other work.

The work is a real one, the check of an archive, whose file is large and empty (sparse), so that it lasts.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import check as archive_check
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout, manifest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job, limits
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import runner as job_runner
from ansible_collections.cht.couch2pg.plugins.module_utils.status import overview
from support import background
from support.background import wait_until

LONG = 20_000_000_000
# exit(2) as a system call, which libc has for the whole process only.
EXIT_OF_ONE_THREAD = {"x86_64": 60, "aarch64": 93}


def never(_result: object) -> bool:
    return False


def always(_result: object) -> bool:
    return True


def make_archive(root: Path) -> Path:
    """A small archive with its manifest."""
    root.mkdir()
    (root / "data").write_bytes(b"some rows")
    write_json(root / layout.MANIFEST, dict(manifest.create(root, 1), migration_id="m"))
    return root


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A small archive with its manifest."""
    return make_archive(tmp_path / "archive")


@pytest.fixture
def long_archive(archive: Path) -> Path:
    """One that takes many seconds to hash."""
    with (archive / "data").open("wb") as stream:
        stream.truncate(LONG)
    listing = manifest.load(archive)
    listing["files"][0]["bytes"] = listing["bytes"] = LONG
    write_json(archive / layout.MANIFEST, listing)
    return archive


def worker(folder: Path) -> int:
    """The process that does the work; another one sees it end."""
    return int((folder / "lock").read_text(encoding="utf-8"))


def kill(pids: list[int]) -> None:
    """For good, all at once."""
    background.kill(pids)
    while any(processes.is_alive(pid) for pid in pids):
        time.sleep(0.01)


def left_behind(folder: Path) -> subprocess.Popen[bytes]:
    """A program of the job, which was halted for its limit."""
    program = subprocess.Popen(["sleep", "600"], env={processes.MARKER: str(folder)})
    program.send_signal(signal.SIGSTOP)
    while program.pid not in processes.of_job(folder):
        time.sleep(0.01)
    return program


def io_class(thread: int) -> str:
    """As ionice says it."""
    return subprocess.run(["ionice", "-p", str(thread)], capture_output=True, text=True, check=True).stdout.strip()


def spec_for(archive: Path, secrets: dict[str, str] | None = None) -> tuple[Path, job.JobSpec]:
    state = str(archive.parent / "state")
    options = {
        "archive": str(archive),
        "state_dir": state,
        "migration_id": "m",
        "jobs": 1,
        "full": False,
        "state": "verified",
    }
    spec = archive_check.job_spec(options, "")
    return job.job_folder(state, "m", spec.kind), job.JobSpec(
        spec.kind, spec.entry, spec.parameters, spec.fingerprint, secrets or {}
    )


@pytest.fixture
def running(long_archive: Path) -> Iterator[tuple[Path, job.JobSpec]]:
    """A running job, killed in the end."""
    folder, spec = spec_for(long_archive, {"login_password": "do-not-write-me"})
    assert job.start_or_join(folder, spec, never).started
    # The start returns when the first of its two processes holds the lock.
    wait_until("the job works", lambda: len(processes.of_job(folder)) == 2)
    yield folder, spec
    processes.kill_all(processes.of_job(folder))


@pytest.fixture(scope="module")
def done_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, job.JobSpec, Path]:
    """The folder and the spec of a job that is done, and a copy of the folder."""
    place = tmp_path_factory.mktemp("done")
    folder, spec = spec_for(make_archive(place / "archive"))
    job.start_or_join(folder, spec, always)
    job.wait(folder, 30)
    shutil.copytree(folder, place / "copy")
    return folder, spec, place / "copy"


@pytest.fixture
def done(done_once: tuple[Path, job.JobSpec, Path]) -> tuple[Path, job.JobSpec]:
    """The same job for each test, as it was when it ended."""
    folder, spec, copy = done_once
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    return folder, spec


def test_a_job_runs_and_its_result_is_kept(archive: Path) -> None:
    folder, spec = spec_for(archive)
    assert job.start_or_join(folder, spec, always).started
    state = job.wait(folder, 30)
    assert state.status == "done"
    assert state.result["value"]["files"] == 1
    again = job.start_or_join(folder, spec, always)
    assert (again.status, again.started) == ("done", False)


def test_a_result_that_is_not_valid_any_more_is_made_again(archive: Path) -> None:
    folder, spec = spec_for(archive)
    job.start_or_join(folder, spec, always)
    job.wait(folder, 30)
    assert job.start_or_join(folder, spec, never).started


def test_a_failed_job_tells_why_and_is_redone(archive: Path) -> None:
    (archive / "data").write_bytes(b"some rowz")
    folder, spec = spec_for(archive)
    job.start_or_join(folder, spec, always)
    with pytest.raises(MigrationError, match="changed: data"):
        job.wait(folder, 30).raise_if_failed()
    (archive / "data").write_bytes(b"some rows")
    assert job.start_or_join(folder, spec, always).started
    assert job.wait(folder, 30).status == "done"


def test_a_job_that_starts_is_never_called_dead(archive: Path) -> None:
    folder, spec = spec_for(archive)
    seen: set[str] = set()
    with ThreadPoolExecutor(1) as pool:
        for _number in range(3):
            starting = pool.submit(job.start_or_join, folder, spec, never)
            while not starting.done():
                seen.add(job.read_state(folder).status)
            job.wait(folder, 20)
    assert "running" in seen
    assert "dead" not in seen


def test_a_running_job_is_joined(running: tuple[Path, job.JobSpec]) -> None:
    folder, spec = running
    again = job.start_or_join(folder, spec, always)
    assert (again.status, again.started) == ("running", False)
    assert len(processes.of_job(folder)) == 2


def test_a_killed_job_is_known_at_once_and_redone(running: tuple[Path, job.JobSpec]) -> None:
    folder, spec = running
    kill(processes.of_job(folder))
    with pytest.raises(MigrationError, match="ended without a result"):
        job.read_state(folder).raise_if_failed()
    assert job.start_or_join(folder, spec, always).started


def test_what_a_killed_job_ran_ends_with_it(running: tuple[Path, job.JobSpec]) -> None:
    """A program of it that was halted, too; and its folder for secrets goes."""
    folder, _spec = running
    program = left_behind(folder)
    os.kill(worker(folder), signal.SIGKILL)
    assert program.wait(30) == -signal.SIGTERM
    state = job.wait(folder, 30)
    assert state.status == "dead"
    assert processes.of_job(folder) == []
    assert not (folder / "work").exists()
    assert not (folder / "reserve").exists()
    assert "killed by signal 9" in (folder / "log").read_text(encoding="utf-8")
    assert not job.needs_cancel(folder)


def test_what_a_killed_job_ran_ends_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    program = left_behind(tmp_path)
    killed = os.fork()
    if killed == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    with contextlib.suppress(OSError), Path("/dev/full").open("w", encoding="utf-8", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        try:
            job_runner.wait_for_worker(tmp_path, killed)
        finally:
            monkeypatch.undo()
    assert program.wait(30) == -signal.SIGTERM
    assert not (tmp_path / "work").exists()


def test_what_a_job_left_that_was_killed_with_all_that_watches_it(running: tuple[Path, job.JobSpec]) -> None:
    folder, _spec = running
    kill(processes.of_job(folder))
    program = left_behind(folder)
    assert job.needs_cancel(folder)
    assert job.cancel(folder).status == "dead"
    assert program.wait(30) == -signal.SIGTERM
    assert not (folder / "work").exists()
    assert not job.needs_cancel(folder)


def test_a_process_is_alive_until_its_last_thread_is_gone() -> None:
    # The main thread ends by itself, as the kernel has it for a moment when a process is killed.
    program = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); "
    program += f"ctypes.CDLL(None).syscall({EXIT_OF_ONE_THREAD[platform.machine()]}, 0)"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        stat = Path(f"/proc/{process.pid}/stat")
        while stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        assert processes.is_alive(process.pid)
        process.kill()
        while processes.is_alive(process.pid):
            time.sleep(0.01)


def test_a_job_that_is_asked_to_stop_says_so(running: tuple[Path, job.JobSpec]) -> None:
    folder, _spec = running
    processes.kill_all(processes.of_job(folder))
    state = job.read_state(folder)
    assert (state.status, state.result["error"]["code"]) == ("failed", "cancelled")


def test_a_job_that_is_asked_to_stop_while_it_begins_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its description is a pipe, which it reads for as long as the test keeps it open."""
    description = tmp_path / "spec.json"
    os.mkfifo(description)
    monkeypatch.setenv(processes.MARKER, str(tmp_path))
    command = [sys.executable, "-m", job_runner.__name__, str(tmp_path)]
    subprocess.run(command, input=b"{}", stderr=subprocess.DEVNULL, check=True, timeout=30)
    # The start returns when the first of its two processes holds the lock.
    wait_until("the job has begun", lambda: len(processes.of_job(tmp_path)) == 2)
    with description.open("wb"):
        description.unlink()
        processes.kill_all(processes.of_job(tmp_path))
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (result["status"], result["error"]["code"]) == ("failed", "cancelled")


def test_a_cancelled_job_ends_cleanly_and_can_be_done_again(running: tuple[Path, job.JobSpec]) -> None:
    """With what its programs have started, of which it doesn't know."""
    folder, spec = running
    program = left_behind(folder)
    state = job.cancel(folder)
    assert (state.status, state.result["error"]["code"]) == ("failed", "cancelled")
    assert program.wait(30) == -signal.SIGTERM
    assert processes.of_job(folder) == []
    assert not (folder / "work").exists()
    assert job.cancel(folder).status == "failed"
    assert job.start_or_join(folder, spec, always).started


def test_limits_are_followed_while_it_runs(running: tuple[Path, job.JobSpec]) -> None:
    folder, _spec = running
    pid = worker(folder)

    def treated() -> set[tuple[int, str]]:
        """How every thread of it is treated."""
        threads = [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
        return {(os.getpriority(os.PRIO_PROCESS, thread), io_class(thread)) for thread in threads}

    assert treated() == {(0, "none: prio 0")}
    for wanted in (limits.Limits(nice=7, io_class="idle"), limits.Limits()):
        limits.save(folder, wanted)
        # Only root makes a process less nice again.
        nice = wanted.nice if os.geteuid() == 0 else 7
        expected = (nice, "idle" if wanted.nice else "none: prio 0")
        deadline = time.monotonic() + 20
        while treated() != {expected} and time.monotonic() < deadline:
            time.sleep(0.1)
        assert treated() == {expected}


def test_other_work_under_the_same_name_is_refused(running: tuple[Path, job.JobSpec]) -> None:
    folder, spec = running
    other = job.JobSpec(spec.kind, spec.entry, spec.parameters, {"archive": "/elsewhere"})
    with pytest.raises(MigrationError, match=r"archive was .* is now '/elsewhere'"):
        job.start_or_join(folder, other, always)


def test_progress_has_a_heartbeat_and_a_position(running: tuple[Path, job.JobSpec]) -> None:
    folder, _spec = running
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        progress = job.read_state(folder).progress
        if progress.get("tracks") and progress["tracks"][0]["done"]:
            break
        time.sleep(0.1)
    assert progress["step"] == "checksums"
    (track,) = progress["tracks"]
    assert 0 < track["done"] < track["total"] == LONG


def test_no_secret_is_in_any_file_or_argument(running: tuple[Path, job.JobSpec]) -> None:
    folder, _spec = running
    places = [path for path in folder.rglob("*") if path.is_file()]
    places += [Path(f"/proc/{pid}/{name}") for pid in processes.of_job(folder) for name in ("cmdline", "environ")]
    assert not [path for path in places if b"do-not-write-me" in path.read_bytes()]


def test_everything_is_private(running: tuple[Path, job.JobSpec]) -> None:
    folder, _spec = running
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = set()
    for path in folder.iterdir():
        # The job writes its progress beside the file and renames it.
        with contextlib.suppress(FileNotFoundError):
            modes.add(path.stat().st_mode & 0o077)
    assert modes == {0}


def test_the_job_carries_its_own_code(running: tuple[Path, job.JobSpec]) -> None:
    folder, _spec = running
    pid = worker(folder)
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert f"PYTHONPATH={folder / 'code'}".encode() in environment


@pytest.mark.parametrize("name", ["spec.json", "result.json"])
@pytest.mark.parametrize("text", ['{"kind": ', "[]", '"else"', '{"status": "done"}', '{"status": "failed"}'])
def test_a_damaged_folder_is_refused_by_name(done: tuple[Path, job.JobSpec], name: str, text: str) -> None:
    folder, spec = done
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(MigrationError, match=name):
        job.start_or_join(folder, spec, always)


def test_a_damaged_progress_file_stops_nobody(running: tuple[Path, job.JobSpec]) -> None:
    folder, _spec = running
    (folder / "progress.json").write_text("{", encoding="utf-8")
    assert job.read_state(folder).status == "running"


def test_two_who_start_at_once_start_one(long_archive: Path) -> None:
    folder, spec = spec_for(long_archive)
    children = []
    for _number in range(4):
        pid = os.fork()
        if pid == 0:
            state = job.start_or_join(folder, spec, never)
            os._exit(0 if state.started else 1)
        children.append(pid)
    started = sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 for pid in children)
    # The start returns when the first of its two processes holds the lock.
    wait_until("the job works", lambda: len(processes.of_job(folder)) >= 2)
    found = processes.of_job(folder)
    processes.kill_all(found)
    assert (started, len(found)) == (1, 2)


def test_the_spec_says_what_the_job_is(running: tuple[Path, job.JobSpec]) -> None:
    folder, spec = running
    stored = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    assert (stored["kind"], stored["fingerprint"]) == ("archive_check", spec.fingerprint)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"kind": 1}', "\x00"])
@pytest.mark.parametrize("name", ["spec.json", "result.json", "progress.json", "limits.json"])
def test_a_file_of_somebody_else_in_the_folder(done: tuple[Path, job.JobSpec], name: str, content: str) -> None:
    """One clear sentence, or no harm at all; never a traceback, and never a wrong result."""
    folder, spec = done
    (folder / name).write_text(content, encoding="utf-8")
    told = "\n".join(overview.lines(overview.overview(str(folder.parents[2]), "m")))
    assert told.startswith("Migration m\n")
    sentence = ""
    try:
        job.start_or_join(folder, spec, always)
    except MigrationError as error:
        sentence = error.message
    assert job.wait(folder, 30).status == "done" if not sentence else name in sentence
    assert not sentence or "run again" in sentence


def test_limits_that_are_not_possible() -> None:
    for wrong in ({"nice": 20}, {"nice": -1}, {"io_class": "realtime"}, {"rate_limit": -5}):
        with pytest.raises(MigrationError):
            limits.Limits(**wrong)  # type: ignore[arg-type]


def test_the_overview_tells_of_jobs_where_there_is_no_record(done: tuple[Path, job.JobSpec]) -> None:
    """As on the source."""
    folder, _spec = done
    assert overview.lines(overview.overview(str(folder.parents[2]), "m")) == ["Migration m", "  done     archive_check"]


def test_the_overview_tells_of_running_and_of_nothing(running: tuple[Path, job.JobSpec]) -> None:
    folder, _spec = running
    state_dir = str(folder.parents[2])
    assert overview.migration_ids(state_dir) == ["m"]
    lines = overview.lines(overview.overview(state_dir, "m"))
    assert lines[1].startswith("  running  archive_check: ")
    assert overview.lines(overview.overview(state_dir, "other")) == [
        "Migration other",
        "  no job of this migration has run on this host",
    ]


def test_a_job_that_is_killed_while_it_starts(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does when memory runs out; nothing is in its log."""
    killer = f"import os\nif {processes.MARKER!r} in os.environ:\n    os.kill(os.getpid(), 9)\n"
    (tmp_path / "sitecustomize.py").write_text(killer, encoding="utf-8")
    state = str(tmp_path / "state")
    options = {
        "archive": str(archive),
        "state_dir": state,
        "migration_id": "m",
        "jobs": 1,
        "full": False,
        "state": "verified",
    }
    spec = archive_check.job_spec(options, "")
    folder = job.job_folder(state, "m", spec.kind)
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        with pytest.raises(MigrationError, match="was killed by signal 9, by somebody or because memory ran out"):
            job.start_or_join(folder, spec, never)
    job.start_or_join(folder, spec, never)
    assert job.wait(folder, None).status == "done"
