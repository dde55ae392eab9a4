# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a dashboard's query on one side, read-only, as the dashboard's role and with a time limit. Returns digests, no row."""

from __future__ import annotations

import datetime as dt
import statistics
import time
from dataclasses import dataclass
from typing import Any, TypedDict

from ..common.errors import MigrationError
from ..common.redaction import remove_credentials, remove_personal
from ..postgres import query_plan
from ..postgres.connection import ConnectionSettings
from ..postgres.identifiers import literal, quote
from ..postgres.session import ResultColumn, Session
from .result_digest import NEAR_ROWS, Fingerprint, ResultDigests

CURSOR = "couch2pg_dashboard"
BATCH = 2000
# A session that becomes a role doesn't get the role's settings. These settings change the answer or its plan.
_ROLE_SETTINGS = {"search_path", "timezone", "row_security", "work_mem", "jit"}
# Classes of errors whose text names statements and rights. The text of other errors may quote a value.
_SPEAKABLE = ("42", "0A", "25", "28", "3D", "3F", "53", "54", "55")


@dataclass(frozen=True)
class Query:
    """A query of the operator.

    ordered: its rows are a list, not a set. tolerance: the largest difference between equal numbers. ignore_columns: columns
    that may differ. newest: the column with a time, whose newest value must be at most ``newest_within_hours`` old.
    """

    name: str
    sql: str
    role: str = ""
    ordered: bool = False
    tolerance: float = 0.0
    ignore_columns: tuple[str, ...] = ()
    newest: str = ""
    newest_within_hours: float = 0.0


class Column(TypedDict):
    """A column of a result: its name, and its type as PostgreSQL prints it."""

    name: str
    type: str


class QueryError(TypedDict):
    """Why a query failed, in words that quote no value of the data."""

    code: str
    message: str


class Answer(query_plan.Explained, total=False):
    """The answer to a query. With an error, only what precedes the result is set.

    newest_within_hours: None when the query has no column ``newest``. newest_age_hours: None without a row.
    """

    name: str
    ordered: bool
    tolerance: float
    ignored: list[str]
    newest_within_hours: float | None
    error: QueryError | None
    columns: list[Column]
    digests: ResultDigests
    newest_age_hours: float | None
    milliseconds: float


def answer(settings: ConnectionSettings, query: Query, key: bytes, timeout: float, runs: int) -> Answer:
    """The answer to ``query``: columns, digests, time and plan, or the error; never a row."""
    result: Answer = {"name": query.name, "ordered": query.ordered, "tolerance": query.tolerance, "error": None}
    result["ignored"] = list(query.ignore_columns)
    result["newest_within_hours"] = query.newest_within_hours if query.newest else None
    try:
        with Session(settings) as session:
            result.update(_result(session, query, key, timeout))
            result.update(_plan(session, query, timeout, runs, result["milliseconds"]))
    except MigrationError as error:
        result["error"] = _explain_error(error, query, timeout)
    return result


def _begin(session: Session, query: Query, timeout: float) -> None:
    """Begin a read-only transaction with the settings of the dashboard's own session."""
    session.execute("RESET search_path; RESET TimeZone; RESET row_security")
    if "jit" in session.pinned:
        session.execute("RESET jit")
    session.execute("BEGIN TRANSACTION READ ONLY")
    if query.role:
        for name, value in _role_settings(session, query.role).items():
            session.execute("SELECT pg_catalog.set_config(%s, %s, true)", [name, value])
        session.execute(f"SET LOCAL ROLE {quote(query.role)}")
    session.execute(f"SET LOCAL statement_timeout = {max(1, round(timeout * 1000))}")
    # A dashboard reads all rows. Without this, the planner would optimise the cursor for its first rows.
    session.execute("SET LOCAL cursor_tuple_fraction = 1")


def _role_settings(session: Session, role: str) -> dict[str, str]:
    found = session.rows(
        "SELECT s.setconfig AS settings FROM pg_catalog.pg_roles AS r LEFT JOIN pg_catalog.pg_db_role_setting AS s "
        "ON s.setrole = r.oid AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = "
        "pg_catalog.current_database())) WHERE r.rolname = %s ORDER BY s.setdatabase",
        [role],
    )
    if not found:
        raise MigrationError(
            f"There is no role {role!r} on this server: create it, or correct the query's role in couch2pg_dashboard_queries.",
            "role_missing",
        )
    pairs = [setting.partition("=") for row in found for setting in row["settings"] or []]
    return {name: value for name, _sign, value in pairs if name.lower() in _ROLE_SETTINGS}


def _open(session: Session, sql: str) -> None:
    """Open a cursor. PL/pgSQL refuses several statements, and statements without rows, before it runs any."""
    body = f"DECLARE c refcursor := '{CURSOR}'; BEGIN OPEN c NO SCROLL FOR EXECUTE {literal(sql)}; END"
    session.execute(f"DO {literal(body)}")


def _result(session: Session, query: Query, key: bytes, timeout: float) -> Answer:
    _begin(session, query, timeout)
    began = time.monotonic()
    _open(session, query.sql)
    fingerprint: Fingerprint | None = None
    columns: list[ResultColumn] = []
    newest: list[Any] = []
    while True:
        left = timeout - (time.monotonic() - began)
        session.execute(f"SET LOCAL statement_timeout = {max(1, round(left * 1000))}")
        described, rows = session.fetch(f"FETCH {BATCH} FROM {CURSOR}")
        if fingerprint is None:
            columns = described
            names = _check_columns(query, [column.name for column in columns])
            fingerprint = Fingerprint(key, names, query.ignore_columns, query.tolerance)
            place = names.index(query.newest) if query.newest else None
        for row in rows:
            fingerprint.add(row)
        if place is not None:
            newest = [max([*newest, *(_moment(row[place]) for row in rows if row[place] is not None)], default=None)]
            newest = [moment for moment in newest if moment is not None]
        if query.tolerance and fingerprint.rows > NEAR_ROWS:
            raise MigrationError(
                f"It returns more than {NEAR_ROWS} rows, too many to compare with a tolerance. Aggregate or round them in the query, "
                "or remove the tolerance.",
                "too_many_rows",
            )
        if len(rows) < BATCH:
            break
    elapsed = (time.monotonic() - began) * 1000
    now = session.value("SELECT pg_catalog.clock_timestamp()")
    session.execute("ROLLBACK")
    types = _type_names(session, columns)
    return {
        "columns": [{"name": name, "type": kind} for name, kind in zip(names, types)],
        "digests": fingerprint.as_dict(query.ordered),
        "newest_age_hours": round((now - newest[0]).total_seconds() / 3600, 2) if newest else None,
        "milliseconds": round(elapsed, 1),
    }


def _check_columns(query: Query, found: list[str]) -> list[str]:
    """The names of the columns; equal names get a number."""
    names: list[str] = []
    for name in found:
        names.append(name if name not in names else f"{name} ({found[: len(names) + 1].count(name)})")
    for wanted in [*query.ignore_columns, *([query.newest] if query.newest else [])]:
        if wanted not in names:
            raise MigrationError(
                f"Its result has no column {wanted!r}, only {', '.join(names)}: correct ignore_columns or newest "
                "in couch2pg_dashboard_queries.",
                "column_missing",
            )
    return names


def _moment(value: Any) -> dt.datetime:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            value = None
    elif isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        # A date counts as the end of its day.
        value = dt.datetime.combine(value, dt.time(23, 59, 59))
    if not isinstance(value, dt.datetime):
        raise MigrationError("The column in newest contains no time. Cast it in the query.", "newest_no_time")
    return value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)


def _type_names(session: Session, columns: list[ResultColumn]) -> list[str]:
    names = session.rows(
        "SELECT t.oid::bigint AS oid, pg_catalog.format_type(t.oid, NULL) AS name FROM pg_catalog.pg_type AS t "
        "WHERE t.oid = ANY(%s)",
        [[column.type for column in columns]],
    )
    known = {row["oid"]: row["name"] for row in names}
    return [known.get(column.type, "unknown") for column in columns]


def _plan(session: Session, query: Query, timeout: float, runs: int, elapsed: float) -> Answer:
    """The median time of ``runs`` runs in the server, and the plan of the last one. Without runs, ``elapsed`` and no plan."""
    times: list[float] = []
    plan: list[query_plan.PlanStep] = []
    for _number in range(runs):
        _begin(session, query, timeout)
        _open(session, f"EXPLAIN (ANALYZE, VERBOSE, TIMING OFF, FORMAT JSON) {query.sql}")
        _columns, rows = session.fetch(f"FETCH ALL FROM {CURSOR}")
        session.execute("ROLLBACK")
        (explained,) = rows[0][0]
        times.append(explained["Planning Time"] + explained["Execution Time"])
        plan = list(query_plan.steps(explained["Plan"]))
    return {
        "milliseconds": round(statistics.median(times), 1) if times else elapsed,
        "plan": plan,
        "relations": query_plan.relations(session, plan),
    }


def _explain_error(error: MigrationError, query: Query, timeout: float) -> QueryError:
    """The error in words that quote no value of the data."""
    state = error.details.get("sqlstate") or ""
    who = f" as {query.role!r}" if query.role else ""
    said = remove_personal(remove_credentials(error.message.split(": ", 1)[-1]))
    if error.code != "sql":
        code, message = error.code, error.message
    elif state == "57014":
        code, message = "timeout", f"It ran longer than {timeout:g} s and was stopped."
    elif state == "25006":
        code, message = "writes", "It would write, which is refused: nothing was written. Use a query that only reads."
    elif state in ("42P11", "0A000") and "cursor" in said:
        code, message = "not_one_query", "It isn't one query that returns rows. Use exactly one SELECT."
    elif state == "42501":
        code, message = "permission_denied", f"It is refused{who}: {said} Grant that right on this server."
    elif state.startswith(_SPEAKABLE):
        code, message = "sql", said
    else:
        code, message = "data", f"PostgreSQL ended it with error {state}, whose text may quote data and isn't shown."
    return {"code": code, "message": message}
