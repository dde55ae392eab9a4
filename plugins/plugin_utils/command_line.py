# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse options of ansible-playbook with which a run would skip checks, and an ansible-core that is too old."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, Iterable, Mapping

import yaml

ALWAYS = "always"
# The oldest Python of the controller with which the oldest supported ansible-core works.
OLDEST_PYTHON = (3, 11)
# Tags that are allowed although no task has them: those of Ansible itself, and those that Molecule skips in every run.
GENERAL_TAGS = {"all", ALWAYS, "notest"}
MOLECULE = "molecule-"


def refusal(arguments: Mapping[str, Any], version: str, requires: str, python: tuple[int, ...] = OLDEST_PYTHON) -> str:
    """The reason why no play may start; empty without one. The refused options would skip the tasks that check everything else.

    arguments: the command line, as ``ansible.context.CLIARGS``; version: of ansible-core; requires: as ``required``; python: the version
    of the Python that runs it.
    """
    if _number(version) < _number(requires):
        name = "python{}.{}".format(*max(python, OLDEST_PYTHON))
        first = ""
        if python < OLDEST_PYTHON:
            needed, found = (".".join(map(str, number[:2])) for number in (OLDEST_PYTHON, python))
            first = f"That needs Python {needed} or newer on this machine, and this is {found}: install it ({name}, {name}-venv). "
        return (
            f"This collection needs ansible-core {requires} or newer, and this is {version}. Nothing was changed. {first}"
            f"Install a newer one beside it, and use its ansible-playbook: {name} -m venv ~/ansible-core && "
            f"~/ansible-core/bin/pip install 'ansible-core>={requires}' && ~/ansible-core/bin/ansible-playbook --version"
        )
    if arguments.get("start_at_task"):
        return (
            "With --start-at-task, the run would skip checks. Nothing was changed. Leave that option out: the playbook continues after "
            "the work that is done."
        )
    if ALWAYS in (arguments.get("skip_tags") or ()):
        return "With --skip-tags always, the run would skip checks. Nothing was changed. Leave that option out."
    return ""


def required(runtime: str) -> str:
    """The oldest version of ansible-core that the text of ``meta/runtime.yml`` allows, such as ``2.18.0``."""
    return str(yaml.safe_load(runtime)["requires_ansible"]).lstrip(">=")


def unknown_tags(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """A sentence for each tag of ``given`` that no task has. With a misspelt tag, a run would do nothing and still look successful."""
    names = list(known)
    sentences = []
    for tag in given:
        if tag in names or tag in GENERAL_TAGS or tag.startswith(MOLECULE):
            continue
        near = get_close_matches(tag, names, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        all_of_them = f"Its tags are {', '.join(names)}." if names else "Leave --tags and --skip-tags out."
        sentences.append(f"This run has no tag {tag}. {hint}{all_of_them}")
    return sentences


def _number(version: str) -> tuple[int, ...]:
    """``2.18.1rc1`` as numbers: (2, 18, 1)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
