# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room on real file systems, and estimates held against what a real dump and restore then take."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
from support import places, seed
from support.clusters import Cluster
from support.modules import login, run_module, with_mount

DATABASE = "room"
MB = 1024 * 1024


@pytest.fixture(scope="module")
def seeded(source_cluster: Cluster) -> Iterator[Cluster]:
    seed.seed(source_cluster, DATABASE, documents=6000)
    yield source_cluster
    seed.drop_database(source_cluster, DATABASE)


def use(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(need for need in report["needs"] if need["use"] == name)


def test_needs_of_ones_own_on_two_file_systems() -> None:
    needs = [
        {"path": "/dev/shm/a", "bytes": 1, "use": "a"},
        {"path": "/dev/shm/b", "bytes": 2, "use": "b"},
        {"path": "/proc/self", "bytes": 0, "use": "c"},
    ]
    found = run_module("disk_space_info", {"needs": needs})
    shm, proc = found["file_systems"]
    assert found["ok"] is True
    assert found["changed"] is False
    assert (shm["mount_point"], shm["needed"], shm["uses"]) == ("/dev/shm", 3, ["a", "b"])
    assert proc["mount_point"] == "/proc"
    free = os.statvfs("/dev/shm")
    assert shm["free"] == pytest.approx(free.f_bavail * free.f_frsize, rel=0.1)
    assert shm["left_over"] == shm["free"] - 3


def test_too_little_room_names_the_file_system_and_the_bytes() -> None:
    needs = [{"path": "/dev/shm/a", "bytes": 10**15, "use": "nightly backup"}]
    found = run_module("disk_space_info", {"needs": needs})
    short = -found["file_systems"][0]["left_over"]
    assert found["failed"] is True
    assert found["code"] == "disk_full"
    assert found["msg"].startswith(f"The file system /dev/shm is {short} bytes short: 1000000000000000 ")
    assert "nightly backup" in found["msg"]
    told = run_module("disk_space_info", {"needs": needs, "fail_when_short": False})
    assert told["ok"] is False
    assert "failed" not in told


def test_a_small_file_system_is_full_by_bytes_or_by_inodes(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    inside = str(mount / "staging" / "deep")

    def room(**need: int) -> dict[str, Any]:
        small = with_mount(mount, "size=4m,nr_inodes=20", fill=2 * MB)
        return run_module("disk_space_info", {"needs": [{"path": inside, **need}]}, through=small)

    assert room(bytes=MB, files=10)["file_systems"][0]["mount_point"] == str(mount)
    assert f"The file system {mount} is {MB} bytes short" in room(bytes=3 * MB)["msg"]
    assert f"The file system {mount} has 18 inodes free, and 100 are needed" in room(bytes=1, files=100)["msg"]


@pytest.mark.parametrize("archive_format", ["directory", "tar"])
def test_the_archive_is_about_as_large_as_predicted(
    seeded: Cluster, client_dir: Path, tmp_path: Path, archive_format: str
) -> None:
    options = {
        **login(seeded, DATABASE),
        "side": "source",
        "format": archive_format,
        "compression": "gzip:1",
        "staging_dir": str(tmp_path),
    }
    predicted = run_module("disk_space_info", options)
    migration = {"migration_id": "room", "state_dir": str(tmp_path / "state"), "bin_dir": str(client_dir)}
    real = run_module("pg_dump", {**{n: v for n, v in options.items() if n != "side"}, **migration})
    assert real["bytes"] <= use(predicted, "archive")["bytes"] <= 1.6 * real["bytes"]
    text = predicted["sizes"]["archive"]["text_bytes"]
    assert predicted["sizes"]["archive"]["sampled_bytes"] <= text
    # Run again, the archive is there and no more is needed.
    again = run_module("disk_space_info", {**options, "migration_id": "room"})
    needed = sum(
        need["bytes"] for place in again["file_systems"] for need in place["needs"] if need["use"] == "archive"
    )
    assert needed < 0.6 * real["bytes"]


def test_a_large_table_is_sampled_in_part(source_cluster: Cluster, fresh_database: Any) -> None:
    name = fresh_database(source_cluster)
    with source_cluster.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE couchdb (doc jsonb)")
        cursor.execute(
            "INSERT INTO couchdb SELECT jsonb_build_object('_id', n, 'text', repeat(md5(n::text), 8)) "
            "FROM generate_series(1, 120000) AS n"
        )
        cursor.execute("SELECT sum(length(doc::text) + 1) FROM couchdb")
        real = int(cursor.fetchone()[0])
    connection.close()
    found = run_module("disk_space_info", {**login(source_cluster, name), "side": "source"})["sizes"]["archive"]
    assert found["sampled_bytes"] < real / 3
    assert found["text_bytes"] == pytest.approx(real, rel=0.1)
    assert found["seconds"] < 5


def test_the_target_plan_sees_the_servers_folders(seeded: Cluster, target_cluster: Cluster, tmp_path: Path) -> None:
    source = run_module("disk_space_info", {**login(seeded, DATABASE), "side": "source", "staging_dir": str(tmp_path)})
    found = run_module(
        "disk_space_info",
        {
            **login(target_cluster, DATABASE),
            "side": "target",
            "sizes": source["sizes"],
            "staging_dir": str(tmp_path),
            "state_dir": "/dev/shm/state",
        },
    )
    assert found["unknown"] == []
    assert use(found, "database")["path"] == str(target_cluster.data_directory / "base")
    assert use(found, "WAL")["path"] == str(target_cluster.data_directory / "pg_wal")
    assert {place["mount_point"] for place in found["file_systems"]} >= {"/dev/shm"}
    # A restored database is smaller than the one that was lived in, and never much larger than planned.
    assert use(found, "database")["bytes"] > 0.9 * source["sizes"]["tables"]
    uses = [name for place in found["file_systems"] for name in place["uses"]]
    assert len(uses) == len(set(uses))
    assert found["guide_bytes"] == 3 * source["sizes"]["database"]


def test_wal_on_another_disk_is_counted_there(seeded: Cluster, tmp_path: Path) -> None:
    """pg_wal is a link on many servers; so it is here, to a folder in /dev/shm."""
    moved = Path("/dev/shm") / f"wal-{os.getpid()}"
    folder = places.work_folder("clusters") / f"wal-{os.getpid()}"
    with Cluster.create(folder, seeded.binaries) as cluster:
        cluster.stop()
        wal = cluster.data_directory / "pg_wal"
        try:
            shutil.move(wal, moved)
            subprocess.run(["chown", "-R", f"--reference={cluster.data_directory}", moved], check=True)
            wal.symlink_to(moved)
            cluster.start()
            source = run_module("disk_space_info", {**login(seeded, DATABASE), "side": "source"})
            found = run_module(
                "disk_space_info",
                {**login(cluster, "x"), "side": "target", "sizes": source["sizes"], "staging_dir": str(tmp_path)},
            )
            shm = next(place for place in found["file_systems"] if place["mount_point"] == "/dev/shm")
            assert shm["uses"] == ["WAL"]
            assert shm["needed"] > MB
        finally:
            cluster.stop()
            shutil.rmtree(moved, ignore_errors=True)


def test_an_ordinary_role_is_told_that_the_servers_folders_are_unknown(seeded: Cluster, tmp_path: Path) -> None:
    password = seed.create_role(seeded, "room_guest")
    source = run_module("disk_space_info", {**login(seeded, DATABASE), "side": "source"})
    found = run_module(
        "disk_space_info",
        {
            **login(seeded, "x", "room_guest", password),
            "side": "target",
            "sizes": source["sizes"],
            "staging_dir": str(tmp_path),
        },
    )
    assert found["ok"] is True
    assert found["unknown"] == ["data directory"]
    assert found["unknown_reason"] == "'room_guest' may not read the server's data_directory setting"
    assert {need["use"] for need in found["needs"]} == {"archive", "state and log"}


def test_the_guides_rule_can_be_chosen(seeded: Cluster, tmp_path: Path) -> None:
    options = {**login(seeded, DATABASE), "side": "source", "staging_dir": str(tmp_path), "rule": "guide"}
    found = run_module("disk_space_info", options, check=True)
    assert found["file_systems"][0]["needed"] == found["guide_bytes"] == 3 * found["sizes"]["database"]
    alone = run_module("disk_space_info", {"rule": "guide", "database_bytes": 10**14, "staging_dir": "/dev/shm"})
    assert "The file system /dev/shm is" in alone["msg"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "There is nothing to check. Set needs"),
        ({"side": "source"}, "With side 'source', database must be given too."),
        ({"side": "target", "database": "x"}, "On the target, give sizes"),
    ],
)
def test_what_is_missing_is_said(options: dict[str, Any], sentence: str) -> None:
    found = run_module("disk_space_info", options)
    assert found["failed"] is True
    assert sentence in found["msg"]
