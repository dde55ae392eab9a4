# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an earlier dump has left: taken only when it is whole, and this very job's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout
from ansible_collections.cht.couch2pg.plugins.module_utils.dump import earlier_dump
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import UNFINISHED, write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.context import JobContext
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.progress import Progress
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.throttle import Throttle

# More than any process can have (pid_max).
DEAD = 4194305
WANTED: dict[str, Any] = {
    "migration_id": "m",
    "server_identity": "7000000000000000001",
    "database": "cht",
    "digest_method": "hash64",
    "format": "directory",
    "compression": "zstd:1",
}


@pytest.fixture
def context(tmp_path: Path) -> JobContext:
    folder = tmp_path / "state" / "jobs" / "dump"
    folder.mkdir(parents=True)
    return JobContext(folder, dict(WANTED), Progress(folder / "progress.json"), Throttle(folder))


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    """One that lacks nothing but its manifest."""
    root = tmp_path / "m.partial"
    (root / "archive").mkdir(parents=True)
    for name in ("toc.dat", "3001.dat"):
        (root / "archive" / name).write_bytes(b"rows")
    (root / layout.HALF_DONE).touch()
    document = {
        "migration_id": "m",
        "server": {"identity": WANTED["server_identity"]},
        "database": {"name": "cht"},
        "digest_method": "hash64",
        "dump": {"format": "directory", "compression": "zstd:1", "written": earlier_dump.written(root)},
    }
    write_json(root / layout.EVIDENCE, document)
    return root


def test_one_that_is_whole(partial: Path, context: JobContext) -> None:
    """What was left of a manifest that was being written is no part of it, and goes."""
    (partial / f".{layout.MANIFEST}.{DEAD}-x1y2{UNFINISHED}").write_text("{", encoding="utf-8")
    assert earlier_dump.evidence_of(partial, context)
    assert not list(partial.glob(".manifest*"))


@pytest.mark.parametrize(
    "harm",
    [
        lambda root: (root / "archive" / "3001.dat").unlink(),
        lambda root: (root / "archive" / "3001.dat").write_bytes(b"row"),
        lambda root: (root / "archive" / "4001.dat").write_bytes(b""),
        lambda root: (root / layout.EVIDENCE).unlink(),
        lambda root: (root / layout.HALF_DONE).unlink(),
    ],
    ids=["half removed", "shorter", "more", "no evidence", "a stranger's"],
)
def test_one_that_is_not(partial: Path, context: JobContext, harm: Callable[[Path], None]) -> None:
    harm(partial)
    assert earlier_dump.evidence_of(partial, context) is None


@pytest.mark.parametrize("name", sorted(WANTED))
def test_one_of_other_work(partial: Path, context: JobContext, name: str) -> None:
    context.parameters[name] = "another"
    assert earlier_dump.evidence_of(partial, context) is None
