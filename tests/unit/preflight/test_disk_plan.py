# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk plan's arithmetic: each file system once, each need once, nothing that is there already."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import size as archive_size
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.size import Sample
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host import file_systems
from ansible_collections.cht.couch2pg.plugins.module_utils.host.file_systems import FileSystem
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import Table
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.server_folders import ServerFolders
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import disk_plan
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.disk_plan import Need, judge

ROOT = FileSystem(device=1, mount_point="/", total=10_000, free=1000, inodes_free=50)
DATA = FileSystem(device=2, mount_point="/data", total=10_000, free=500, inodes_free=None)
MB = 1024 * 1024


def find(path: Path) -> FileSystem:
    return DATA if path.is_relative_to("/data") else ROOT


def test_a_file_system_that_several_uses_share_is_counted_once() -> None:
    root, data = judge([Need("/a", "archive", 600), Need("/b", "temp", 300), Need("/data/x", "database", 400)], find)
    assert (root["mount_point"], root["needed"], root["free"], root["left_over"]) == ("/", 900, 1000, 100)
    assert root["uses"] == ["archive", "temp"]
    assert (data["mount_point"], data["needed"], data["left_over"], data["ok"]) == ("/data", 400, 100, True)


def test_two_uses_that_fit_alone_but_not_together_do_not_fit() -> None:
    (root,) = judge([Need("/a", "archive", 600), Need("/b", "database", 600)], find)
    assert not root["ok"]
    assert root["left_over"] == -200
    with pytest.raises(
        MigrationError, match=r"The file system / is 200 bytes short: .* needed for archive, database"
    ) as e:
        disk_plan.check(root)
    assert e.value.code == "disk_full"


def test_the_same_use_of_the_same_path_is_counted_once() -> None:
    (root,) = judge([Need("/a", "archive", 600), Need("/a", "archive", 600)], find)
    assert root["needed"] == 600


def test_what_is_there_already_is_not_needed_again() -> None:
    (root,) = judge([Need("/a", "archive", 600, present=500), Need("/b", "database", 100, present=900)], find)
    assert root["needed"] == 100


def test_inodes_run_out_before_bytes() -> None:
    (root,) = judge([Need("/a", "archive", 1, files=51)], find)
    assert not root["ok"]
    with pytest.raises(MigrationError, match="has 50 inodes free, and 51 are needed"):
        disk_plan.check(root)
    (data,) = judge([Need("/data", "archive", 1, files=10**9)], find)
    assert data["ok"]


def sizes(**changes: Any) -> dict[str, Any]:
    measured = {
        "database": 110 * MB,
        "tables": 60 * MB,
        "indexes": 20 * MB,
        "matviews": 20 * MB,
        "largest_matview": 5 * MB,
        "largest_indexes": [10 * MB, 6 * MB, 4 * MB],
        "large_objects": 0,
        "relations": 20,
        "table_count": 8,
        "tablespaces": {},
        "archive": {"text_bytes": 200 * MB, "largest_text_bytes": 150 * MB, "compressed_bytes": 40 * MB},
        "machine": "",
    }
    return {**measured, **changes}


def options(**changes: Any) -> dict[str, Any]:
    given = {
        "staging_dir": "/nowhere/staging",
        "state_dir": "/nowhere/state",
        "migration_id": "m",
        "format": "directory",
        "compression": "auto",
        "archive_here": True,
        "jobs": 2,
    }
    return {**given, **changes}


def by_use(needs: list[Need]) -> dict[str, int]:
    return {need.use: need.bytes for need in needs}


def test_the_source_needs_the_archive_and_for_a_tar_its_buffer() -> None:
    assert by_use(disk_plan.needs_on_source(sizes(), options())) == {
        "archive": int(40 * MB * 1.15),
        "state and log": disk_plan.STATE_BYTES,
    }
    tar = disk_plan.needs_on_source(sizes(), options(format="tar", compression="none"))
    assert by_use(tar)["archive"] == int(40 * MB * 1.15)
    assert by_use(tar)["pg_dump's buffer of the largest table"] == int(150 * MB * 1.15)
    assert next(need.path for need in tar if "buffer" in need.use) == "/tmp"


@pytest.mark.parametrize(
    ("compression", "size"), [("none", 200 * MB), ("gzip:6", 40 * MB), ("zstd:1", 40 * MB), ("lz4:1", 72 * MB)]
)
def test_the_archive_depends_on_its_compression(compression: str, size: int) -> None:
    needs = disk_plan.needs_on_source(sizes(), options(compression=compression))
    assert by_use(needs)["archive"] == int(size * 1.15)


FOLDERS = ServerFolders(
    data=Path("/data/base"), wal=Path("/wal"), temporary=(Path("/data/base"),), tablespaces={"fast": Path("/fast")}
)


def test_the_target_needs_tables_indexes_matviews_wal_and_temporary_files() -> None:
    needs = by_use(disk_plan.needs_on_target(sizes(), options(), FOLDERS, wal_limit=1024 * MB, present=0))
    assert needs == {
        "state and log": disk_plan.STATE_BYTES,
        "archive": int(40 * MB * 1.15),
        "database": int(100 * MB * 1.1),
        "WAL": int(100 * MB * 1.1 * 1.2),
        # Two workers build the two largest indexes at the same time.
        "temporary files": 16 * MB,
    }


def test_the_target_needs_less_when_the_archive_is_shared_and_wal_is_bounded() -> None:
    needs = by_use(disk_plan.needs_on_target(sizes(), options(archive_here=False), FOLDERS, 64 * MB, 0))
    assert "archive" not in needs
    assert needs["WAL"] == 64 * MB


def test_a_tar_is_unpacked_on_the_target() -> None:
    needs = by_use(disk_plan.needs_on_target(sizes(), options(format="tar"), FOLDERS, 64 * MB, 0))
    assert needs["unpacked tar"] == int(200 * MB * 1.15)


def test_tablespaces_take_their_share_off_the_data_directory() -> None:
    needs = by_use(
        disk_plan.needs_on_target(
            sizes(tablespaces={"fast": 30 * MB, "not on the target": 7}), options(), FOLDERS, 64 * MB, 0
        )
    )
    assert needs["tablespace fast"] == int(30 * MB * 1.1)
    assert needs["database"] == int(100 * MB * 1.1) - int(30 * MB * 1.1)


def test_a_server_that_can_not_be_seen_is_left_out() -> None:
    needs = disk_plan.needs_on_target(sizes(), options(), ServerFolders(reason="elsewhere"), 64 * MB, 0)
    assert set(by_use(needs)) == {"state and log", "archive"}


def test_the_guide_asks_for_three_times_the_database() -> None:
    for side, data in (("source", None), ("target", None), ("target", Path("/data"))):
        assert sum(need.bytes for need in disk_plan.needs_by_guide(100, side, "/staging", data)) == 300


def table(name: str, size: int) -> Table:
    return Table(1, "public", name, size, size, 0, readable=True)


def test_samples_are_scaled_to_their_tables_and_lent_to_the_others() -> None:
    tables = [table("big", 1000), table("small", 100)]
    found = archive_size.estimate(tables, {"public.big": Sample(3000, 500, 300)})
    assert (found["text_bytes"], found["largest_text_bytes"], found["compressed_bytes"]) == (3300, 3000, 550)


def test_wide_rows_are_scaled_by_toast_and_narrow_ones_by_blocks() -> None:
    mixed = Table(1, "public", "mixed", heap_bytes=1000, table_bytes=5000, index_bytes=0, readable=True)
    # By blocks, the one wide row in a tenth of them would stand for ten.
    found = archive_size.scale(mixed, 0.1, narrow=(100, 20), wide_bytes=2000, wide=(6000, 3000))
    assert (found.text, found.compressed, found.sampled) == (1000 + 12000, 200 + 6000, 6100)
    unseen = archive_size.scale(mixed, 0.1, narrow=(100, 20), wide_bytes=0, wide=(0, 0))
    assert (unseen.text, unseen.compressed) == (1000 + 12000, 200 + 4000)


def test_without_any_sample_the_estimate_is_on_the_safe_side() -> None:
    found = archive_size.estimate([table("big", 1000)], {})
    assert found["compressed_bytes"] == 1000
    assert found["text_bytes"] == 3000
    assert archive_size.estimate([], {})["compressed_bytes"] == 0


def test_a_path_that_does_not_exist_is_on_the_file_system_of_its_parent(tmp_path: Path) -> None:
    there = file_systems.locate(tmp_path)
    # What is free may change between two looks.
    assert file_systems.locate(tmp_path / "not" / "yet").mount_point == there.mount_point
    assert there.free > 0
    assert tmp_path.is_relative_to(there.mount_point)
    assert Path(there.mount_point).is_mount()


def test_links_are_followed_to_their_file_system(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/proc/self")
    assert file_systems.locate(link).mount_point == "/proc"


def test_bytes_below_a_folder_are_counted_on_the_disk(tmp_path: Path) -> None:
    assert file_systems.folder_bytes(tmp_path / "missing") == 0
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    assert file_systems.folder_bytes(tmp_path) >= 100_000


def test_it_ships_no_code_of_a_phase() -> None:
    """Ansible sends whatever a module imports, also for types alone."""
    code = f"import sys, {disk_plan.__name__}; print(*sys.modules)"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    core = disk_plan.__name__.partition(".preflight.")[0]
    packages = {name[len(core) + 1 :].split(".")[0] for name in asked.stdout.split() if name.startswith(f"{core}.")}
    assert packages <= {"archive", "common", "host", "postgres", "preflight"}
