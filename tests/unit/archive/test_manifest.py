# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A manifest notices everything that can happen to files."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout, manifest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.check import check_archive, is_untouched
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.identity import (
    load_own,
    manifest_sha256,
    read_evidence,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.progress import Progress


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "m"
    (folder / "archive" / "with space").mkdir(parents=True)
    (folder / "archive" / "toc.dat").write_bytes(b"table of contents")
    (folder / "archive" / "with space" / "1.dat.gz").write_bytes(bytes(range(256)) * 100)
    (folder / "evidence.json").write_text("{}", encoding="utf-8")
    write_json(folder / layout.MANIFEST, dict(manifest.create(folder, 2), migration_id="m"))
    return folder


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_equal_files_have_no_differences(root: Path) -> None:
    assert not manifest.compare(root, manifest.load(root), 2)
    assert len(manifest.load(root)["files"]) == 3


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped byte": (
        lambda root: flip(root / "archive/with space/1.dat.gz"),
        r"changed: archive/with space/1\.dat\.gz",
    ),
    "truncated": (lambda root: (root / "archive/toc.dat").write_bytes(b"table"), "has 5 bytes instead of 17"),
    "missing": (lambda root: (root / "evidence.json").unlink(), "missing: evidence.json"),
    "extra": (lambda root: (root / "archive/core").write_bytes(b""), "not in the manifest: archive/core"),
    "link": (lambda root: (root / "archive/link").symlink_to("/etc/passwd"), "not a regular file"),
    "linked folder": (lambda root: (root / "archive/folder").symlink_to("/etc"), "not a regular file"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_named(root: Path, tmp_path: Path, name: str) -> None:
    damage, sentence = DAMAGES[name]
    damage(root)
    with pytest.raises(MigrationError, match=sentence):
        check_archive(root, tmp_path / "m", "", 2, Progress(tmp_path / "progress.json"))


def test_a_check_is_repeated_only_when_something_was_touched(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state" / "m"
    state.mkdir(parents=True)
    check_archive(root, state, "", 2, Progress(tmp_path / "progress.json"))
    assert is_untouched(root, state)
    (root / "archive/toc.dat").touch()
    assert not is_untouched(root, state)


def test_the_archive_of_another_migration_is_refused(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state" / "another"
    with pytest.raises(MigrationError, match="belongs to the migration 'm', not to 'another'"):
        check_archive(root, state, "", 2, Progress(tmp_path / "progress.json"))


def test_an_archive_of_another_day_is_refused(root: Path, tmp_path: Path) -> None:
    """It belongs to this migration by its name, and is whole; only the SHA-256 of its manifest tells it apart."""
    dumped = manifest_sha256(root)
    assert load_own(root, "m", dumped) == load_own(root, "m", "")
    assert read_evidence(root, load_own(root, "m", dumped)) is not None
    listing = json.loads((root / layout.MANIFEST).read_text(encoding="utf-8"))
    (root / layout.MANIFEST).write_text(json.dumps(dict(listing, taken_at="another day")), encoding="utf-8")
    with pytest.raises(MigrationError, match="is not the one that this migration dumped"):
        check_archive(root, tmp_path / "m", dumped, 2, Progress(tmp_path / "progress.json"))
    (root / layout.EVIDENCE).write_text("[]", encoding="utf-8")
    with pytest.raises(MigrationError, match=r"evidence\.json"):
        read_evidence(root, load_own(root, "m", ""))


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2, "files": []}', '{"format": 1, "files": [1]}'])
def test_a_damaged_manifest_is_one_sentence(root: Path, text: str) -> None:
    (root / layout.MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(MigrationError, match=r"isn't JSON|not a manifest"):
        manifest.load(root)


def test_a_missing_manifest_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="There is no archive in"):
        manifest.load(tmp_path)


def test_memory_stays_small_for_large_files(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(200_000_000)
    tracemalloc.start()
    manifest.create(tmp_path, 2)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_many_files(tmp_path: Path) -> None:
    for number in range(5000):
        (tmp_path / f"{number}.dat").write_bytes(b"%d" % number)
    listing = manifest.create(tmp_path, 4)
    assert len(listing["files"]) == 5000
    (tmp_path / "4711.dat").write_bytes(b"4712")
    assert manifest.compare(tmp_path, listing, 4).content == ["4711.dat"]
