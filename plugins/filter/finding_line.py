# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A finding of preflight as one line for a person."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.cht.couch2pg.plugins.module_utils.common.findings import FindingDocument

DOCUMENTATION = r"""
name: finding_line
short_description: Show a finding of preflight as one line
version_added: 0.1.0
author: cht.couch2pg maintainers (@medic)
description:
  - Turns a finding of M(cht.couch2pg.preflight) into one line, with its status first.
options:
  _input:
    description: The finding.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what was found
  ansible.builtin.debug:
    msg: "{{ result.findings | map('cht.couch2pg.finding_line') }}"
"""

RETURN = r"""
_value:
  description: The line.
  type: str
  sample: "ok       pg_dump: /usr/bin/pg_dump, version 17"
"""


def finding_line(finding: FindingDocument) -> str:
    """Status, name and message."""
    status = finding["status"] if finding["status"] == "ok" else finding["status"].upper()
    return f"{status:<8} {finding['name']}: {finding['message']}"


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"finding_line": finding_line}
