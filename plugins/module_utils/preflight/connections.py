# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server has as many free connections as the run opens at a time."""

from __future__ import annotations

from ..common.counted import counted
from ..common.errors import MigrationError
from ..postgres.identifiers import quote
from ..postgres.session import Session

# Connections besides those of the workers: the snapshot and, with the method stream, the job that holds it; the leader of pg_dump or
# pg_restore, progress, and a look from outside.
BESIDE = 6

_CONNECTIONS = """
SELECT r.rolsuper AS superuser, r.rolconnlimit AS role_limit, d.datconnlimit AS database_limit,
       pg_catalog.current_setting('max_connections')::int AS most,
       pg_catalog.current_setting('superuser_reserved_connections')::int
       + coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0) AS reserved,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE pid <> pg_catalog.pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend') AS used
FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
WHERE r.rolname = current_user AND d.datname = pg_catalog.current_database()
"""


def check(session: Session, jobs: int, jobs_of: str, streams: bool = False) -> str:
    """A sentence about the free connections; raises MigrationError ``too_few_connections`` when the run needs more.

    jobs_of: the side whose couch2pg_jobs is ``jobs``. streams: this is the source of the method stream.
    """
    row = session.row(_CONNECTIONS)
    needed = _needed(jobs, streams)
    free = row["most"] - row["used"] - (0 if row["superuser"] else row["reserved"])
    where, user = session.settings.place, session.settings.user
    wanted = f"the run needs {needed} at a time (couch2pg_jobs: {jobs}, and {needed - jobs} more)"
    possible = max((count for count in range(1, jobs) if _needed(count, streams) <= free), default=0)
    fewer = f"Set couch2pg_jobs of the {jobs_of} to {possible}. Or, on" if possible else "On"
    if free < needed:
        raise MigrationError(
            f"PostgreSQL at {where} has {free} free connections (max_connections is {row['most']}, {row['used']} are in use), "
            f"and {wanted}. {fewer} that server, end idle sessions, or raise the limit and restart it: "
            f"ALTER SYSTEM SET max_connections = {row['most'] + needed - free};",
            "too_few_connections",
            needed=needed,
            free=free,
        )
    limits = [
        (row["role_limit"], f"ALTER ROLE {quote(user)} CONNECTION LIMIT -1"),
        (row["database_limit"], f"ALTER DATABASE {quote(session.settings.database)} CONNECTION LIMIT -1"),
    ]
    for limit, remedy in limits:
        if not row["superuser"] and -1 < limit < needed:
            raise MigrationError(
                f"PostgreSQL at {where} allows {user!r} {counted(limit, 'connection')}, and {wanted}. Run {remedy} there, or set "
                "couch2pg_login_user to a superuser.",
                "too_few_connections",
                needed=needed,
                free=limit,
            )
    return f"{free} are free, {needed} are needed at a time"


def _needed(jobs: int, streams: bool) -> int:
    """The connections that the run opens at a time. While ``jobs`` workers copy rows, half as many digest the other tables."""
    return jobs + (jobs // 2 if streams else 0) + BESIDE
