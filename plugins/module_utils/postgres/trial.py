# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out what a server allows a role, by trying it in a transaction that is rolled back.

Managed services let their administrators do what PostgreSQL reserves for superusers, so the role's attributes don't show it.
"""

from __future__ import annotations

import re

from ..common.errors import MigrationError
from .identifiers import literal, quote
from .session import Session

_EVENT_TRIGGER = (
    "CREATE FUNCTION pg_temp.couch2pg_trial() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE EVENT TRIGGER couch2pg_trial ON ddl_command_end EXECUTE PROCEDURE pg_temp.couch2pg_trial()",
)
_PUBLICATION = ("CREATE PUBLICATION couch2pg_trial FOR ALL TABLES",)


def refusal(session: Session, *statements: str) -> str:
    """The server's reason for refusing the statements; empty when it allows them. All their changes are rolled back."""
    session.execute("BEGIN")
    try:
        for statement in statements:
            session.execute(statement)
    except MigrationError as error:
        if error.code != "sql":
            raise
        return re.sub(r"^PostgreSQL at .*? refused a statement in '.*?': ", "", error.message).rstrip(".")
    finally:
        session.execute("ROLLBACK")
    return ""


def extension_refusal(session: Session, name: str, version: str) -> str:
    """Why the role may not create the extension; empty when it may, or when the session's database has it already."""
    if session.rows("SELECT 1 AS one FROM pg_catalog.pg_extension WHERE extname = %s", [name]):
        return ""
    # The server looks for a schema for the extension before it checks rights. Every role may use the temporary schema.
    return refusal(
        session,
        "SET LOCAL search_path = pg_temp",
        f"CREATE EXTENSION {quote(name)} VERSION {literal(version)} CASCADE",
    )


def object_refusal(session: Session, kind: str) -> str:
    """Why the role may not create an ``event trigger``, or a ``publication`` of all tables; empty when it may."""
    return refusal(session, *(_EVENT_TRIGGER if kind == "event trigger" else _PUBLICATION))
