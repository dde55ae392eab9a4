# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a dashboard's query, as a sentence."""

from __future__ import annotations

from typing import Any, Callable

DOCUMENTATION = r"""
name: dashboard_problem
short_description: Tell what is wrong with a dashboard's query
version_added: 0.1.0
author: cht.couch2pg maintainers (@medic)
description:
  - Turns a query of RV(cht.couch2pg.dashboard_compare#module:queries) into a sentence; an empty one when nothing is wrong.
options:
  _input:
    description: The query.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ compared.queries | map('cht.couch2pg.dashboard_problem') | select }}"
"""

RETURN = r"""
_value:
  description: The sentence.
  type: str
  sample: "visits: The source has 12 rows, the target 11."
"""


def dashboard_problem(query: dict[str, Any]) -> str:
    """The query's name and its problems."""
    return f"{query['name']}: {' '.join(query['problems'])}" if query["problems"] else ""


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"dashboard_problem": dashboard_problem}
