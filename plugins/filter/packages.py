# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages that a host of PostgreSQL needs, according to its facts."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.host import packages

DOCUMENTATION = r"""
name: packages
short_description: Names of the packages that a migration needs
version_added: 0.1.0
author: cht.couch2pg maintainers (@medic)
description:
  - The packages of psycopg2, rsync and ssh, and of PostgreSQL's client programs if they are wanted, by the facts of a host
    (C(distribution) and C(python)).
  - Empty for a family of distributions that is not known.
positional: client, client_major
options:
  _input:
    description: The host's C(ansible_facts).
    type: dict
    required: true
  client:
    description: Whether PostgreSQL's client programs are wanted.
    type: bool
    default: false
  client_major:
    description: Their major version, as PostgreSQL's own repositories name it; 0 for the one of the distribution.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Install what a migration needs
  ansible.builtin.package:
    name: "{{ ansible_facts | cht.couch2pg.packages }}"
"""

RETURN = r"""
_value:
  description: Names of packages.
  type: list
  elements: str
  sample: [python3-psycopg2, rsync, openssh-client]
"""


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"packages": _packages}


def _packages(facts: Mapping[str, Any], client: bool = False, client_major: int = 0) -> list[str]:
    version = facts.get("python", {}).get("version", {})
    return packages.wanted(
        ["psycopg2", "rsync", "ssh", *(["pg_dump"] if client else [])],
        str(facts.get("os_family", "")),
        release=str(facts.get("distribution_major_version", "")),
        python=f"{version['major']}.{version['minor']}" if version else "",
        client_major=int(client_major),
    )
