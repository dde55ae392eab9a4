# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The type of an option in an ``argument_spec`` of Ansible, so that mypy finds a misspelt key. Private to this collection."""

from __future__ import annotations

from typing import Sequence, TypedDict


class Option(TypedDict, total=False):
    """One option of a module. elements: the type of a list's entries. options: the options within a dictionary."""

    type: str
    elements: str
    required: bool
    default: object
    choices: list[str]
    no_log: bool
    options: dict[str, Option]
    required_if: Sequence[Sequence[object]]
