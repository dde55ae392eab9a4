# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that holds a way through the controller ends it whatever happens, with commands in place of ssh."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.plugin_utils import way_guard

SECONDS = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the way's socket, which the guard removes."""
    made = tmp_path / "way"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    """A process in place of ansible-playbook."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def begin(folder: Path, parent: int, *scripts: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A guard of these commands, and its answer."""
    commands = [
        ["sh", "-c", script, "sh", str(folder.parent / f"pid{number}")] for number, script in enumerate(scripts)
    ]
    guard = subprocess.Popen(
        [sys.executable, "-I", way_guard.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert guard.stdin
    assert guard.stdout
    guard.stdin.write(json.dumps({"commands": commands, "folder": str(folder), "parent": parent}) + "\n")
    guard.stdin.flush()
    return guard, json.loads(guard.stdout.readline())


WAY = f'echo $$ >"$1"; echo "Welcome to this host."; echo {way_guard.READY}; exec cat'


def check_everything_ended(guard: subprocess.Popen[str], folder: Path) -> None:
    guard.communicate(timeout=SECONDS)
    pids = [int(path.read_text()) for path in folder.parent.glob("pid*")]
    assert pids
    assert not any(map(way_guard.is_alive, pids))
    assert not folder.exists()


def test_it_ends_with_its_input(folder: Path) -> None:
    guard, answer = begin(folder, os.getpid(), WAY, WAY)
    assert answer == {"ready": True}
    assert folder.exists()
    assert guard.poll() is None
    check_everything_ended(guard, folder)


def test_it_ends_with_ansible_though_a_worker_goes_on(folder: Path, parent: subprocess.Popen[bytes]) -> None:
    guard, answer = begin(folder, parent.pid, WAY, WAY)
    assert answer == {"ready": True}
    parent.kill()
    parent.wait()
    # Its input is still open.
    guard.wait(timeout=SECONDS)
    check_everything_ended(guard, folder)


def test_it_ends_when_a_connection_does(folder: Path) -> None:
    guard, answer = begin(folder, os.getpid(), WAY, f"echo {way_guard.READY}; sleep 0.2")
    assert answer == {"ready": True}
    guard.wait(timeout=SECONDS)
    check_everything_ended(guard, folder)


def test_it_says_why_a_connection_was_refused(folder: Path) -> None:
    refused = "echo Pseudo-terminal >&2; echo 'remote port forwarding failed.' >&2; exit 255"
    guard, answer = begin(folder, os.getpid(), WAY, refused)
    assert answer == {"said": "remote port forwarding failed"}
    check_everything_ended(guard, folder)
