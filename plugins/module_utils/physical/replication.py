# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this host may copy the source's server: a replication connection as pg_basebackup makes one."""

from __future__ import annotations

from typing import Any

from ..common.errors import MigrationError
from ..postgres import login_refusal
from ..postgres.connection import APPLICATION_NAME, ConnectionSettings
from ..postgres.hba_line import hba_line
from ..postgres.identifiers import quote
from .other_method import OR_STREAM

try:
    import psycopg2
    import psycopg2.extras
except ImportError:
    # connection.py reports that psycopg2 is missing.
    pass

# SQLSTATEs: no line in pg_hba.conf, or another user than the system's; no privilege; no WAL sender is free.
_NO_LINE, _NO_PRIVILEGE, _TOO_MANY = "28000", "42501", "53300"


def check(source: ConnectionSettings) -> None:
    """Raise MigrationError ``replication_refused`` with the line of pg_hba.conf that is missing, or the privilege."""
    parameters: dict[str, Any] = {**source.libpq(), "application_name": APPLICATION_NAME}
    if source.password is not None:
        parameters["password"] = source.password
    try:
        connection = psycopg2.connect(**parameters, connection_factory=psycopg2.extras.PhysicalReplicationConnection)
    except psycopg2.Error as error:
        said = " ".join(str(error).split())
        # The remedy depends on the SQLSTATE, because the server's message may be in another language.
        state = login_refusal.sqlstate({**parameters, "replication": "true"})
        raise MigrationError(
            f"The source's server at {source.place} refuses a copy of its files: {said} {_remedy(source, state)}",
            "replication_refused",
            sqlstate=state,
        ) from error
    connection.close()


def _remedy(source: ConnectionSettings, state: str | None) -> str:
    if state == _NO_PRIVILEGE:
        return f"On the source, as a superuser: ALTER ROLE {quote(source.user)} REPLICATION; {OR_STREAM}"
    if state == _TOO_MANY:
        return f"Increase max_wal_senders on the source by at least 3, and restart its server. {OR_STREAM}"
    if state == _NO_LINE:
        return (
            f"Add this line to the source's pg_hba.conf, and reload it (SELECT pg_reload_conf()), then run again: "
            f"{hba_line('replication', source.user, source.host, source.port)}. {OR_STREAM}"
        )
    return f"Fix the cause, then run again. {OR_STREAM}"
