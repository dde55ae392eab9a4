# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo, as somebody runs it who tries the collection: what it prints at its end can be pasted, in every state."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Iterator

import pytest
from support.places import ROOT

pytestmark = pytest.mark.long

FOLDER = "demo_of_a_test"
ENVIRONMENT = {**os.environ, "DEMO_FOLDER": FOLDER, "DEMO_DOCS": "1000", "LC_ALL": "C.UTF-8"}


def shell(command: str) -> tuple[int, str]:
    """Exit code and output of a command that was printed."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    return done.returncode, done.stdout


@pytest.fixture
def demo() -> Iterator[str]:
    yield "tests/demo/run"
    code, output = shell("tests/demo/clean")
    assert code == 0, output


def test_after_a_rollback_it_names_the_command_that_migrates_again(demo: str) -> None:
    code, output = shell(demo)
    assert code == 0, output
    (playbook,) = re.findall(r"^  (PATH=.* playbooks/migrate\.yml .*)$", output, re.MULTILINE)
    code, output = shell(playbook.replace("migrate.yml", "rollback.yml"))
    assert "ROLLED BACK" in output, output

    code, output = shell(demo)
    assert code, output
    assert "The run of the migration stopped after " in output
    assert "Run it again" not in output
    (again,) = re.findall(r"^Rolled back: demo\. The target .*:\n  (.*)$", output, re.MULTILINE)
    code, output = shell(again)
    assert code == 0, output
    assert "Migration demo_2: DONE." in output
    assert f"Run it again ({again}), or only the playbook" in output
