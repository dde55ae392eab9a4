# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection between controller and host: cut for a while, cut for good, and a host that restarts. Over real SSH."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import limits
from support import driver, holding
from support.background import (
    Background,
    check_completes,
    check_nothing_is_there,
    running,
    wait_until,
)
from support.holding import held_run
from support.machine import Machine
from support.migration import Migration, execute
from support.places import SupportError


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root can cut a network: run as root, too")
    folder = tmp_path / "machine"
    folder.mkdir()
    try:
        with Machine(folder) as made:
            yield made
    except SupportError as error:
        pytest.fail(str(error))


@pytest.fixture
def remote(migration: Migration, machine: Machine) -> Migration:
    """A migration whose hosts are reached over SSH, and whose dump goes on until ``release``."""
    migration.variables.update(machine.variables, couch2pg_rate_limit="10KB", couch2pg_progress_seconds=1)
    return migration


def started(migration: Migration, machine: Machine) -> Background:
    """A run whose dump is under way and watched."""
    run = Background(migration, through=machine.controller)
    wait_until("progress is shown", lambda: "| dump | " in run.output or run.process.poll() is not None)
    assert run.process.poll() is None, run.output
    return run


def release(migration: Migration) -> None:
    """Let the dump go on as fast as it can."""
    limits.save(migration.state / "jobs" / "dump", limits.Limits())


def completes(migration: Migration) -> None:
    """The rest needs no network: what the host has is what counts."""
    migration.variables["couch2pg_rate_limit"] = "0"
    check_completes(migration)


@pytest.mark.long
def test_a_cut_of_a_minute(remote: Migration, machine: Machine) -> None:
    """The run goes on watching, and ends as if nothing had been."""
    run = started(remote, machine)
    machine.cut()
    wait_until("the cut is noticed", lambda: "the host can't be reached" in run.output)
    # The rest of the minute, without anybody watching.
    time.sleep(15)
    assert running(remote, "dump")
    machine.restore_network()
    release(remote)
    ended = run.end()
    assert ended.code == 0, ended.output
    completes(remote)


@pytest.mark.long
def test_a_cut_for_good(remote: Migration, machine: Machine) -> None:
    """The run stops watching and says how to go on; the job doesn't notice."""
    usual = dict(remote.variables)
    remote.variables["couch2pg_unreachable_seconds"] = 1
    # The operator's own options count.
    remote.variables["ansible_ssh_common_args"] += (
        " -o ServerAliveInterval=1 -o ServerAliveCountMax=2 -o ConnectTimeout=2"
    )
    run = started(remote, machine)
    machine.cut()
    ended = run.end()
    assert ended.code
    assert "run the same playbook again to join the job" in ended.output
    assert "Nothing was changed on the target" in ended.message
    assert running(remote, "dump")
    check_nothing_is_there(remote)
    machine.restore_network()
    remote.variables = usual
    joined = Background(remote, through=machine.controller)
    wait_until("it is joined", lambda: "| dump | " in joined.output or joined.process.poll() is not None)
    release(remote)
    ended = joined.end()
    assert ended.code == 0, ended.output
    dumps = [event["status"] for event in remote.record["history"] if event["phase"] == "dump"]
    assert dumps == ["done"]


@pytest.mark.long
def test_the_host_restarts(remote: Migration, machine: Machine) -> None:
    """Every process on it is gone, and the server with it; the next run begins where that left it."""
    run = started(remote, machine)
    machine.power_off()
    remote.source.stop("immediate")
    assert not processes.of_job(remote.state / "jobs" / "dump")
    remote.source.start()
    machine.start()
    ended = run.end()
    assert "ended without a result" in ended.message
    check_nothing_is_there(remote)
    remote.variables["couch2pg_rate_limit"] = "0"
    driver.reach(remote, "dump")


@pytest.mark.long
def test_the_host_restarts_in_the_restore(migration: Migration, machine: Machine) -> None:
    """The tables that were loaded are still there, and are not loaded again."""
    migration.variables.update(machine.variables, couch2pg_progress_seconds=1)
    run, kind = held_run(migration, "indexes", through=machine.controller)
    wait_until("it is watched", lambda: "| restore | " in run.output)
    # Commits don't wait for the disk here: without this, the crash could take the indexes built just before it.
    execute(migration.target, "CHECKPOINT")
    machine.power_off()
    migration.target.stop("immediate")
    assert not processes.of_job(migration.state / "jobs" / kind)
    migration.target.start()
    machine.start()
    assert "ended without a result" in run.end().message
    check_nothing_is_there(migration)
    holding.release(migration)
    completes(migration)
    assert migration.record["phases"]["restore"]["result"]["resumed_after"] == ["pre-data", "data"]
