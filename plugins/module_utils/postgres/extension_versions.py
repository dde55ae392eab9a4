# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create extensions in the versions that the operator chose, before pg_restore creates the server's default versions."""

from __future__ import annotations

from typing import Mapping

from .identifiers import literal, quote
from .session import Session

_INSTALLED = "SELECT extname AS name, extversion AS version FROM pg_catalog.pg_extension ORDER BY extname"


def installed_versions(session: Session) -> dict[str, str]:
    """The installed extensions with their versions."""
    return {row["name"]: row["version"] for row in session.rows(_INSTALLED)}


def schemas(wanted: Mapping[str, str], installed: Mapping[str, str]) -> dict[str, str]:
    """The schema of each extension of ``wanted`` that the source has; ``installed`` is schemas by extension."""
    return {name: installed[name] for name in wanted if name in installed}


def create(session: Session, wanted: Mapping[str, str], installed: Mapping[str, str]) -> None:
    """Create the extensions in the versions of ``wanted``; their schemas must exist."""
    for name, schema in sorted(schemas(wanted, installed).items()):
        session.execute(
            f"CREATE EXTENSION IF NOT EXISTS {quote(name)} SCHEMA {quote(schema)} VERSION {literal(str(wanted[name]))} CASCADE"
        )
