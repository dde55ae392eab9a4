# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create extensions in the versions that the operator chose, before pg_restore creates the server's default versions."""

from __future__ import annotations

from typing import Any, Mapping

from .connection import Session
from .identifiers import literal, quote


def schemas(wanted: Mapping[str, str], evidence: dict[str, Any]) -> dict[str, str]:
    """The schema of each extension in ``wanted`` (name to version) that the source's database has."""
    listed = evidence["schema"]["extensions"]
    return {name: listed[name]["schema"] for name in wanted if name in listed}


def create(session: Session, wanted: Mapping[str, str], evidence: dict[str, Any]) -> None:
    """Create the extensions; their schemas must exist."""
    for name, schema in sorted(schemas(wanted, evidence).items()):
        session.execute(
            f"CREATE EXTENSION IF NOT EXISTS {quote(name)} SCHEMA {quote(schema)} VERSION {literal(str(wanted[name]))} CASCADE"
        )
