# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option with the address of PostgreSQL for couch2pg."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.postgres)."""

    DOCUMENTATION = r"""
options:
  postgres:
    description: PostgreSQL as couch2pg will reach it. Values that are not set stay as on the source.
    type: dict
    default: {}
    suboptions:
      host:
        description: Address of the server.
        type: str
      port:
        description: Its port. The Docker image's entrypoint allows only 5432.
        type: int
      database:
        description: Name of the database.
        type: str
      user:
        description: couch2pg's role.
        type: str
      password:
        description: The role's password, not percent-encoded.
        type: str
      query:
        description: The query string of the URL, such as V(ssl=true).
        type: str
"""
