# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that would skip checks, and tags that nothing has."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.plugin_utils.command_line import refusal, required, unknown_tags

PHASES = ["dump", "transfer"]


@pytest.mark.parametrize(
    ("arguments", "version", "words"),
    [
        ({"start_at_task": "Dump"}, "2.21.0", "With --start-at-task, the run would skip checks."),
        ({"skip_tags": ["report", "always"]}, "2.21.0", "With --skip-tags always, the run would skip checks."),
        ({}, "2.17.9", "This collection needs ansible-core 2.18.0 or newer, and this is 2.17.9."),
        ({}, "2.9", "needs ansible-core 2.18.0 or newer"),
    ],
)
def test_a_run_that_would_skip_checks_is_refused(arguments: dict[str, Any], version: str, words: str) -> None:
    assert words in refusal(arguments, version, "2.18.0")


def test_the_remedy_for_an_old_ansible_core_fits_the_machine() -> None:
    """pip alone finds no ansible-core for an older Python, and refuses to touch that of a distribution."""
    command = "-m venv ~/ansible-core && ~/ansible-core/bin/pip install 'ansible-core>=2.18.0'"
    fits = refusal({}, "2.14.18", "2.18.0", (3, 12))
    assert f"python3.12 {command}" in fits
    assert "That needs Python" not in fits
    old = refusal({}, "2.12.10", "2.18.0", (3, 9))
    assert (
        "That needs Python 3.11 or newer on this machine, and this is 3.9: install it (python3.11, python3.11-venv)."
        in old
    )
    assert f"python3.11 {command}" in old


@pytest.mark.parametrize("version", ["2.18.0", "2.18.0rc1", "2.21.5", "3.0.0"])
def test_other_runs_are_not(version: str) -> None:
    assert refusal({"start_at_task": None, "skip_tags": ["report"]}, version, "2.18.0") == ""


def test_the_oldest_ansible_core() -> None:
    assert required('---\nrequires_ansible: ">=2.18.0"\n') == "2.18.0"


def test_an_unknown_tag() -> None:
    assert (
        unknown_tags(["all", "always", "dump", "molecule-notest", "molecule-idempotence-notest", "notest"], PHASES)
        == []
    )
    assert unknown_tags(["dmp"], PHASES) == ["This run has no tag dmp. Did you mean dump? Its tags are dump, transfer."]
    assert unknown_tags(["x"], []) == ["This run has no tag x. Leave --tags and --skip-tags out."]
