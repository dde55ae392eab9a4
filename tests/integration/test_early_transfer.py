# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dump writes is fetched while it writes, between two hosts with real sshd and rsync; and nothing depends on it."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import early
from support.background import wait_until
from support.cabled_hosts import Network
from support.moving import EARLY_PLAYBOOK, FILES, NAME, PLAYBOOK, Moving, run_private

TABLE = "archive/3001.dat.gz"
LARGE = FILES[TABLE]


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if os.geteuid() != 0:
        pytest.fail("only root can make networks: run as root, too")
    with Network() as made:
        yield made


class Dump:
    """A dump that is half done: it has the archive's files, but of the large table only a part, and no manifest."""

    def __init__(self, moving: Moving, written: int) -> None:
        self._moving = moving
        self._final = moving.sent
        self.partial = layout.partial_folder(moving.sent)
        shutil.rmtree(self.partial, ignore_errors=True)
        self._whole = moving.folder / "whole"
        shutil.rmtree(self._whole, ignore_errors=True)
        shutil.copytree(moving.sent, self._whole)
        moving.sent.rename(self.partial)
        (self.partial / layout.MANIFEST).unlink()
        (self.partial / layout.HALF_DONE).write_text(uuid.uuid4().hex, encoding="utf-8")
        run_private(moving.network.source, self.partial)
        os.truncate(self.partial / TABLE, written)

    def write(self, size: int) -> None:
        """Write so many bytes more of the large table."""
        at = (self.partial / TABLE).stat().st_size
        with (self.partial / TABLE).open("ab") as stream:
            stream.write((self._whole / TABLE).read_bytes()[at : at + size])

    def restore_beginning(self) -> None:
        """Write the first bytes of the large table again."""
        with (self.partial / TABLE).open("r+b") as stream:
            stream.write((self._whole / TABLE).read_bytes()[:1000])

    def end(self) -> None:
        """Write the rest and the manifest, rename, and end the job, as a dump does."""
        self.write(LARGE)
        (self.partial / layout.HALF_DONE).unlink()
        shutil.copy(self._whole / layout.MANIFEST, self.partial)
        run_private(self._moving.network.source, self.partial)
        self.partial.rename(self._final)
        state = self._moving.network.source.folder / "state of migrations" / NAME
        folder = state / "jobs" / "dump"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "spec.json", {"kind": "dump", "fingerprint": {}})
        write_json(folder / "result.json", {"status": "done", "value": {}})
        self._moving.network.source.give(state)


@pytest.fixture
def moving(network: Network, tmp_path: Path) -> Moving:
    return Moving(network, tmp_path)


def begin(moving: Moving) -> None:
    """Run the role's entry point; its job goes on."""
    moving.playbook = EARLY_PLAYBOOK
    run = moving.start().end()
    assert (run.code, run.warnings) == (0, []), run.output
    moving.playbook = PLAYBOOK


def arrived(moving: Moving) -> int:
    path = moving.early / TABLE
    return path.stat().st_size if path.exists() else 0


def early_job(moving: Moving) -> str:
    return job.read_state(moving.job.with_name(early.KIND)).status


def test_the_transfer_resumes_from_what_came_while_the_dump_wrote(moving: Moving) -> None:
    dump = Dump(moving, 1_000_000)
    begin(moving)
    wait_until("what is written has arrived", lambda: arrived(moving) == 1_000_000)
    dump.write(3_000_000)
    wait_until("what is written later has arrived, too", lambda: arrived(moving) == 4_000_000)
    found = {path.name for path in moving.early.rglob("*") if path.is_file()}
    assert found == {"3001.dat.gz", layout.HALF_DONE}
    # The dump ends, and the transfer begins before the job has noticed that.
    dump.end()
    run = moving.succeed()
    assert run.changed
    assert moving.result["resumed_bytes"] == 4_000_000
    assert moving.result["received_bytes"] < LARGE - 4_000_000 + 200_000
    assert early_job(moving) != "running"


def test_the_same_command_again_keeps_what_has_arrived(moving: Moving) -> None:
    dump = Dump(moving, 3_000_000)
    begin(moving)
    wait_until("what is written has arrived", lambda: arrived(moving) == 3_000_000)
    # The target restarts, and the dump goes on.
    job.cancel(moving.job.with_name(early.KIND))
    # Only what was fetched before differs from these bytes.
    with (dump.partial / TABLE).open("r+b") as stream:
        stream.write(bytes(1000))
    begin(moving)
    dump.write(LARGE)
    wait_until("the rest has arrived, too", lambda: arrived(moving) == LARGE)
    dump.restore_beginning()
    dump.end()
    wait_until("the job has ended", lambda: early_job(moving) == "done")
    # The dump is done: nothing begins to fetch it again.
    begin(moving)
    assert arrived(moving) == LARGE
    moving.succeed()
    assert moving.result["resumed_bytes"] == LARGE
    assert moving.result["received_bytes"] < 200_000


@pytest.mark.long
def test_the_job_ends_with_the_dump(moving: Moving) -> None:
    """Its key and the line on the source go with it. Then all is there, and only the small files are missing."""
    dump = Dump(moving, 1_000_000)
    begin(moving)
    dump.write(LARGE)
    wait_until("all of the table has arrived", lambda: arrived(moving) == LARGE)
    dump.end()
    wait_until("the job has ended", lambda: early_job(moving) == "done")
    shutil.move(moving.early, moving.folder / "kept")
    moving.check_nothing_is_left()
    shutil.move(moving.folder / "kept", moving.early)
    moving.succeed()
    assert moving.result["resumed_bytes"] == LARGE
    assert moving.succeed().changed == 0


@pytest.mark.long
def test_what_an_earlier_dump_left_does_not_harm(moving: Moving) -> None:
    """The dump fails, or another one begins: what has arrived of the first is not taken for the second's."""
    dump = Dump(moving, 2_000_000)
    begin(moving)
    wait_until("what is written has arrived", lambda: arrived(moving) == 2_000_000)
    shutil.rmtree(dump.partial)
    wait_until("the job has ended", lambda: early_job(moving) == "done")
    # The transfer of the next dump, which nothing fetches early, finds it.
    moving.sent = moving.make_archive(moving.network.source, NAME)
    moving.succeed()
    shutil.rmtree(moving.arrived)
    # And so does a job for the next dump.
    moving.sent = moving.make_archive(moving.network.source, NAME)
    dump = Dump(moving, 1_000_000)
    moving.early.mkdir()
    (moving.early / layout.HALF_DONE).touch()
    (moving.early / "archive").mkdir()
    (moving.early / TABLE).write_bytes(os.urandom(3_000_000))
    moving.network.target.give(moving.early)
    begin(moving)
    wait_until("it has begun again", lambda: arrived(moving) == 1_000_000)
    dump.end()
    moving.succeed()
    assert moving.result["refetched"] == []


@pytest.mark.long
def test_it_is_no_failure_when_nothing_can_be_fetched(moving: Moving) -> None:
    Dump(moving, 1_000_000)
    moving.source_variables["couch2pg_state_dir"] = "/proc/nowhere"
    moving.playbook = EARLY_PLAYBOOK
    run = moving.start().end()
    assert run.code == 0, run.output
    assert "The archive is fetched after the dump, and not while it is written:" in run.output
    assert not moving.early.exists()


@pytest.mark.long
def test_through_the_controller_nothing_of_it_is_used(moving: Moving) -> None:
    """A relay can't find out that the beginning of a file is another one."""
    dump = Dump(moving, 1_000_000)
    begin(moving)
    wait_until("what is written has arrived", lambda: arrived(moving) == 1_000_000)
    dump.end()
    (moving.early / TABLE).write_bytes(os.urandom(2_000_000))
    moving.variables["couch2pg_transfer_way"] = "relay"
    moving.succeed()
    assert moving.result["way"] == "relay"
