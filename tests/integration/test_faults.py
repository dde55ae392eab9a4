# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens when something breaks in the middle: a clear failure, nothing under the real name, and the next run completes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from support import driver, seed
from support.background import (
    Background,
    check_completes,
    check_nothing_is_there,
    kill,
    programs_of,
    running,
    wait_for_program,
    wait_until,
)
from support.by_phases import Phases
from support.cases import rarely
from support.clusters import Cluster
from support.migration import Migration, Run, execute
from support.modules import run_module
from support.small_disk import resize


@pytest.fixture
def large(make_migration: Callable[..., Migration], source_cluster: Cluster, target_cluster: Cluster) -> Migration:
    """One that needs some disk."""
    return make_migration(source_cluster, target_cluster, documents=40_000)


@pytest.fixture
def lasting(make_migration: Callable[..., Migration], source_cluster: Cluster, target_cluster: Cluster) -> Migration:
    """One whose phases last long enough to be hit."""
    return make_migration(source_cluster, target_cluster, documents=8_000)


# It may be killed while it is only asked for its version, or for the list of the archive.
KILLED = {
    "dump": ("pg_dump", r"pg_dump was killed by signal 9"),
    "restore": ("pg_restore", r"pg_restore( \(|\S* was killed by signal 9)"),
}


@pytest.mark.parametrize("job", [rarely("dump"), "restore"])
def test_a_program_is_killed(lasting: Migration, job: str) -> None:
    program, sentence = KILLED[job]
    driver.start(lasting, job)
    # The first one that is seen may have ended by itself.
    while running(lasting, job):
        kill(programs_of(lasting, job, program))
    message = driver.end(lasting, job)
    assert re.search(sentence, message), message
    assert "run again" in message.lower()
    check_nothing_is_there(lasting)
    check_completes(lasting)


@pytest.mark.long
@pytest.mark.parametrize("job", KILLED)
def test_a_program_of_a_run_is_killed(large: Migration, job: str) -> None:
    program, sentence = KILLED[job]
    run = Background(large)
    kill(wait_for_program(large, job, program))
    ended = run.end()
    assert ended.code
    assert re.search(sentence, ended.message), ended.message
    assert "run again" in ended.message.lower()
    check_nothing_is_there(large)
    assert large.record["phases"][job]["status"] == "failed"
    check_completes(large)


@pytest.mark.parametrize(("job", "program"), [rarely("dump", "pg_dump"), rarely("restore", "pg_restore")])
def test_the_job_itself_is_killed(lasting: Migration, job: str, program: str) -> None:
    driver.start(lasting, job)
    wait_for_program(lasting, job, program)
    # As the kernel does when memory is short: one process, and no other.
    kill([int((lasting.state / "jobs" / job / "lock").read_text(encoding="utf-8"))])
    assert "ended without a result" in driver.end(lasting, job)
    check_nothing_is_there(lasting)
    assert not processes.of_job(lasting.state / "jobs" / job)
    assert not (lasting.state / "jobs" / job / "work").exists()
    check_completes(lasting)


LARGE_ROWS = "CREATE TABLE couchdb (doc jsonb); CREATE TABLE many AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 30000) AS n"


@pytest.mark.parametrize(("job", "program"), [("dump", "pg_dump"), rarely("restore", "pg_restore")])
def test_the_kernel_kills_a_worker(
    source_cluster: Cluster,
    target_cluster: Cluster,
    client_dir: Path,
    tmp_path: Path,
    fresh_database: Callable[[Cluster], str],
    job: str,
    program: str,
) -> None:
    """The program itself lives, and says no more than that a worker died. The same command completes it."""
    name = fresh_database(source_cluster)
    execute(source_cluster, LARGE_ROWS, name)
    seed.create_role(target_cluster, seed.OWNER)
    # With two, the other reads the rows for their digests.
    phases = Phases(source_cluster, target_cluster, client_dir, tmp_path, name, options={"dump": {"jobs": 4}})
    if job == "restore":
        phases.run("dump", "transfer")
    folder = phases.state / "jobs" / job

    def kill_a_worker() -> None:
        found: list[int] = []

        def look() -> bool:
            for pid in processes.of_job(folder):
                if processes.name(pid) == program:
                    # It may have ended since.
                    with suppress(OSError):
                        found.extend(
                            map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split())
                        )
            return bool(found)

        wait_until(f"{program} has a worker", look)
        kill(found[:1])

    try:
        with ThreadPoolExecutor() as pool:
            killing = pool.submit(kill_a_worker)
            sentence = phases.fail(job)
            killing.result()
        assert f"The kernel or somebody killed a worker of {program}; most often memory ran out" in sentence
        assert "run again" in sentence
        phases.run(job)
    finally:
        seed.drop_database(target_cluster, phases.incoming)


@pytest.mark.parametrize(
    ("job", "program", "side"), [("dump", "pg_dump", "source"), rarely("restore", "pg_restore", "target")]
)
def test_postgresql_stops(lasting: Migration, job: str, program: str, side: str) -> None:
    cluster: Cluster = getattr(lasting, side)
    driver.start(lasting, job)
    wait_for_program(lasting, job, program)
    cluster.stop("immediate")
    message = driver.end(lasting, job)
    assert "Traceback" not in message
    assert "again" in message
    # A full disk is another cause.
    assert "are free" not in message
    cluster.start()
    check_nothing_is_there(lasting)
    check_completes(lasting)


@pytest.mark.long
def test_two_controllers_at_once(large: Migration) -> None:
    """Both get there, and the work is done once."""
    first = Background(large)
    wait_for_program(large, "dump", "pg_dump")
    second = Background(large)
    assert [run.end().code for run in (first, second)] == [0, 0]
    assert [name for name in large.databases() if name.startswith(large.database)] == [large.database]
    check_completes(large)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "altered": (flip, "changed: "),
    "missing": (lambda victim: victim.unlink(), "missing: archive/"),
    "truncated": (lambda victim: os.truncate(victim, 100), "has 100 bytes instead of"),
    "extra": (lambda victim: (victim.parent / "extra").touch(), "not in the manifest: archive/extra"),
}


def test_the_archive_is_damaged(migration: Migration) -> None:
    """Before anything is restored, the archive must be as it was dumped; another one is refused, never overwritten."""
    driver.reach(migration, "dump")
    victim = max(migration.archive.rglob("*.dat.gz"), key=lambda path: path.stat().st_size)
    sound = victim.read_bytes()
    for damage, sentence in DAMAGES.values():
        damage(victim)
        assert sentence in driver.run_phase(migration, "transfer")["msg"]
        check_nothing_is_there(migration)
        victim.write_bytes(sound)
    assert "extra" in driver.run_phase(migration, "transfer")["msg"]
    migration.archive.rename(migration.folder / "moved away")
    check_completes(migration)


@pytest.mark.long
def test_files_that_were_made_otherwise_get_a_manifest(migration: Migration, tmp_path: Path) -> None:
    """The module alone, as somebody uses it for an archive of his own."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "cht.dump").write_bytes(b"rows")
    options = {
        "archive": str(mine),
        "migration_id": "mine",
        "state_dir": str(tmp_path / "state"),
        "state": "{{ wanted }}",
    }
    play = [{"hosts": "couch2pg_target", "gather_facts": False, "tasks": [{"cht.couch2pg.archive_manifest": options}]}]
    (tmp_path / "play.yml").write_text(json.dumps(play), encoding="utf-8")

    def run(wanted: str) -> Run:
        return migration.run(str(tmp_path / "play"), "-e", f"wanted={wanted}")

    assert run("verified").code
    assert run("created").code == 0
    assert json.loads((mine / "manifest.json").read_text(encoding="utf-8"))["bytes"] == 4
    assert run("created").changed == 0
    assert run("verified").code == 0
    (mine / "cht.dump").write_bytes(b"raws")
    assert "cht.dump" in run("verified").message


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("spec.json", '{"kind": "rest', "spec.json is damaged"),
        ("result.json", '{"status": "fine"}', "isn't a job's result"),
    ],
    ids=["truncated", "foreign"],
)
def test_the_folder_of_a_job_is_damaged(migration: Migration, name: str, content: str, sentence: str) -> None:
    """It is named, nothing is concluded from it, and without it the work is done again."""
    driver.reach(migration, "restore")
    folder = migration.state / "jobs" / "restore"
    (folder / name).write_text(content, encoding="utf-8")
    assert sentence in migration.fail()
    check_nothing_is_there(migration)
    folder.rename(migration.folder / "moved away")
    check_completes(migration)


@pytest.mark.long
def test_the_disk_is_too_small_for_the_plan(large: Migration, small_disk: Path) -> None:
    """Preflight says which file system, and how many bytes are short."""
    large.variables["couch2pg_staging_dir"] = str(small_disk / "staging")
    sentence = large.fail(playbook="preflight")
    assert f"The file system {small_disk} is " in sentence
    assert "bytes short" in sentence
    assert not (large.state / "jobs").exists()


@pytest.mark.long
def test_the_disk_gets_full_during_the_dump(large: Migration, small_disk: Path) -> None:
    large.variables["couch2pg_staging_dir"] = str(small_disk / "staging")
    sentence = driver.run_phase(large, "dump")["msg"]
    assert "No space left on device" in sentence
    assert not list((small_disk / "staging").iterdir()), (
        "a dump without its snapshot is good for nothing, and fills the disk"
    )
    resize(small_disk, "500m")
    driver.reach(large)


def test_the_disk_that_gets_full_is_that_of_the_state(large: Migration, small_disk: Path) -> None:
    """As it is by default: there is no other, for the archives either. The job ends, and can tell why."""
    (large.folder / "state").symlink_to(small_disk)
    large.variables["couch2pg_staging_dir"] = str(small_disk / "archives")
    assert "No space left on device" in driver.run_phase(large, "dump")["msg"]
    job = large.state / "jobs" / "dump"
    assert not processes.of_job(job)
    assert not (job / "work").exists()
    look = {"migration_id": large.name, "state_dir": str(small_disk)}
    assert "No space left" in str(run_module("migration_info", look)["lines"])
    resize(small_disk, "500m")
    driver.reach(large, "dump")


def test_the_disk_gets_full_during_the_restore(large: Migration, small_disk: Path) -> None:
    """The target's server runs out of space; when it has more, the next run completes."""
    target = large.target
    resize(small_disk, "50m")
    move_databases(target, small_disk)
    try:
        driver.reach(large, "transfer")
        assert "Free disk space on the target" in driver.run_phase(large, "restore")["msg"]
        check_nothing_is_there(large)
        resize(small_disk, "900m")
        driver.reach(large, "restore")
    finally:
        move_back(target, small_disk)


def move_databases(cluster: Cluster, disk: Path) -> None:
    """Move the server's databases to the disk, while it is stopped."""
    cluster.stop()
    base = cluster.data_directory / "base"
    subprocess.run(["cp", "-a", str(base), str(disk / "base")], check=True)
    shutil.rmtree(base)
    base.symlink_to(disk / "base")
    cluster.start()


def move_back(cluster: Cluster, disk: Path) -> None:
    cluster.stop("immediate")
    base = cluster.data_directory / "base"
    base.unlink()
    subprocess.run(["cp", "-a", str(disk / "base"), str(base)], check=True)
    cluster.start()
