# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses a run that would skip checks, before its first play starts."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Callable

from ansible import context
from ansible.errors import AnsibleFilterError
from ansible.release import __version__
from ansible_collections.cht.couch2pg.plugins.plugin_utils.command_line import refusal, required

DOCUMENTATION = r"""
name: whole_run
short_description: Refuse a run that would skip checks
version_added: 0.1.0
author: cht.couch2pg maintainers (@medic)
description:
  - Returns a pattern of hosts unchanged, and fails when options of C(ansible-playbook) would make it skip tasks that check
    (C(--start-at-task), C(--skip-tags always)), or when ansible-core is older than this collection supports.
  - For the keyword C(hosts) of a play, which Ansible evaluates whatever these options are.
  - From then on, each line of the run is written at once. To a file or a pipe, Ansible would write blocks of 8 KB, and
    the progress of a job would appear minutes late.
options:
  _input:
    description: The pattern of hosts.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Check before anything else
  hosts: "{{ 'all' | cht.couch2pg.whole_run }}"
"""

RETURN = r"""
_value:
  description: The pattern of hosts.
  type: str
  sample: all
"""

RUNTIME = Path(__file__).parents[2] / "meta" / "runtime.yml"


def whole_run(pattern: str) -> str:
    """``pattern``, or an error that says what to leave out."""
    problem = refusal(context.CLIARGS, __version__, required(RUNTIME.read_text(encoding="utf-8")), sys.version_info[:2])
    if problem:
        raise AnsibleFilterError(problem)
    # The keyword hosts is evaluated by the process that writes the output; a task would run in another one.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    return pattern


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"whole_run": whole_run}
