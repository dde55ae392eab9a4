# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that no log can replace: every materialized view is populated, and couch2pg's role can refresh all of them.

After a failed refresh and a restart, couch2pg skips the refresh and logs 'Run completed', although a view is still broken.
"""

from __future__ import annotations

import shlex
import time
from typing import Sequence, TypedDict

from ..common.errors import MigrationError
from ..common.redaction import Redactor
from ..couch2pg.log.errors import recognise, subject
from ..couch2pg.log.lines import XMLFORMS_FAILED
from ..couch2pg.log.remedies import Names, remedy
from ..postgres.connection import ConnectionSettings
from ..postgres.identifiers import quote, sql_shown
from ..postgres.matview_graph import statements_that_populate
from ..postgres.session import Session
from ..postgres.workers import run_in_sessions

FUNCTION = "refresh_matviews()"
DEADLOCK = "40P01"
NO_FUNCTION = "42883"
SHOWN = 5

_MATVIEWS = f"""
SELECT {sql_shown("n.nspname", "c.relname")} AS matview, c.relispopulated AS populated
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' ORDER BY 1
"""


class MatviewState(TypedDict):
    """A materialized view as ``schema.name``, and whether it is populated."""

    matview: str
    populated: bool


class Refreshed(TypedDict):
    """A successful call of ``refresh_matviews()``: couch2pg's role, and the duration in seconds."""

    role: str
    seconds: float


def check(session: Session, expected: Sequence[str]) -> list[MatviewState]:
    """Every materialized view, after checking that all are populated, and that those in ``expected`` exist.

    A name without a schema matches any schema. Raises MigrationError ``matviews_missing`` or ``matviews_unpopulated``.
    """
    found = [MatviewState(matview=row["matview"], populated=row["populated"]) for row in session.rows(_MATVIEWS)]
    there = {row["matview"] for row in found} | {row["matview"].partition(".")[2] for row in found}
    missing = [name for name in expected if name not in there]
    if missing:
        raise MigrationError(
            f"Materialized views are missing: {_some(missing)}. couch2pg doesn't report that, because it only refreshes existing ones. "
            f"Create them as they are on the source: there, {_dump(session, missing)} >views.sql; here, psql --file=views.sql "
            f"{shlex.quote(session.settings.database)}. Then run again, and do what that run says.",
            "matviews_missing",
            matviews=missing,
        )
    empty = [row["matview"] for row in found if not row["populated"]]
    if empty:
        raise MigrationError(
            f"Materialized views are not populated: {_some(empty)}. couch2pg's refresh fails on them, but after a restart it "
            f"still logs 'Run completed'. In this database, as their owner or a superuser: {' '.join(statements_that_populate(session))} "
            "Then run again.",
            "matviews_unpopulated",
            matviews=empty,
        )
    return found


def refresh(settings: ConnectionSettings) -> Refreshed | None:
    """Call ``refresh_matviews()`` as couch2pg does; None when the function doesn't exist.

    Raises MigrationError ``couch2pg_refresh_failed`` with the cause and the remedy.
    """
    # In its own thread, so that a job that must stop can cancel it.
    (outcome,) = run_in_sessions([settings], 1, lambda: Session(settings), _refresh)
    return outcome


def _refresh(session: Session, settings: ConnectionSettings) -> Refreshed | None:
    started = time.monotonic()
    # The settings of couch2pg's own session.
    session.execute("RESET ALL")
    if "session_replication_role" in session.pinned:
        # RESET ALL restores the value with which this session was opened. couch2pg's session has origin.
        session.execute("SET session_replication_role = origin")
    for last in (False, True):
        try:
            session.execute(f"SELECT {FUNCTION}")
            break
        except MigrationError as error:
            if error.code != "sql":
                raise
            state = error.details["sqlstate"]
            if state == NO_FUNCTION and FUNCTION in error.message:
                return None
            # couch2pg may run the same refresh at this moment: retry once.
            if state != DEADLOCK or last:
                raise _failed(settings, error) from error
    return {"role": settings.user, "seconds": round(time.monotonic() - started, 1)}


def _failed(settings: ConnectionSettings, error: MigrationError) -> MigrationError:
    """The error with couch2pg's remedy. PostgreSQL's detail is left out, because it may contain data of patients."""
    state = error.details["sqlstate"]
    evidence = f"{error.message.rstrip('.')}\ncode: '{state}'\n{error.details['context'] or ''}".encode()
    kind = recognise(XMLFORMS_FAILED, evidence)
    named = subject(evidence)
    redact = Redactor()
    reason = redact(error.message.split(": ", 1)[-1]).rstrip(".")
    advice = remedy(kind, evidence, Names(settings.user, settings.database), redact)
    return MigrationError(
        f"{FUNCTION} fails as {settings.user!r}{f' on {named}' if named else ''}, and couch2pg would end there: {reason}. "
        f"{advice}",
        "couch2pg_refresh_failed",
        kind=kind.name,
        subject=named,
        sqlstate=state,
    )


def _dump(session: Session, names: Sequence[str]) -> str:
    """The command that prints the definitions of materialized views on the source. names: as ``_MATVIEWS`` shows them."""
    # A name with a dot in one of its parts is quoted there already.
    patterns = [name if '"' in name else ".".join(quote(part) for part in name.split(".")) for name in names]
    words = ["pg_dump", "--schema-only", *(f"--table={pattern}" for pattern in patterns), session.settings.database]
    return " ".join(map(shlex.quote, words))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
