# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that says where couch2pg will find PostgreSQL."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.postgres)."""

    DOCUMENTATION = r"""
options:
  postgres:
    description: Where couch2pg will find PostgreSQL; what isn't given stays as it was on the source.
    type: dict
    default: {}
    suboptions:
      host:
        description: Its address as couch2pg will use it.
        type: str
      port:
        description: Its port. The Docker image's entrypoint takes no other than 5432.
        type: int
      database:
        description: Name of the database.
        type: str
      user:
        description: couch2pg's role.
        type: str
      password:
        description: The role's password, as it is; it is percent-encoded where it must be.
        type: str
      query:
        description: What follows the URL's question mark, such as V(ssl=true).
        type: str
"""
