# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recover the copy exactly to the restore point."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

from ..common.errors import MigrationError
from ..postgres.session import Session
from .folders import Owner
from .moment import Point
from .private_server import PrivateServer

SIGNAL_SINCE = 12
_COMMITTED = """
SELECT number FROM pg_catalog.unnest(%s::bigint[]) AS number
-- The server refuses to tell of a transaction that it has not seen.
WHERE CASE WHEN number < pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())
           THEN pg_catalog.txid_status(number) = 'committed' ELSE false END
"""


def settings(wal: Path, point: Point) -> dict[str, str]:
    """The recovery's settings. wal: the folder of the WAL after the backup."""
    # These quotes are for the shell that runs the command. Quotes of the configuration file are added when it is written.
    folder = "'" + str(wal).replace("'", "'\\''").replace("%", "%%") + "'"
    return {
        "restore_command": f'cp {folder}/%f "%p"',
        "recovery_target_name": point.name,
        "recovery_target_action": "promote",
        "recovery_target_timeline": "current",
    }


def arm(data: Path, major: int, wal: Path, point: Point, owner: Owner) -> dict[str, str]:
    """Prepare ``data`` so that the server's next start recovers to the point; returns settings for its configuration."""
    for name in ("recovery.signal", "standby.signal", "recovery.conf", "recovery.done"):
        (data / name).unlink(missing_ok=True)
    if major >= SIGNAL_SINCE:
        owner.write(data / "recovery.signal", "")
        return settings(wal, point)
    # The default before 12 is the timeline of the backup.
    lines = [
        f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n"
        for name, value in settings(wal, point).items()
        if name != "recovery_target_timeline"
    ]
    owner.write(data / "recovery.conf", "".join(lines))
    return {}


def run(server: PrivateServer, point: Point, on_wait: Callable[[], None] = lambda: None) -> None:
    """Recover, promote, and check that the copy shows what the snapshot shows; joins a recovery that runs.

    Raises MigrationError ``recovery_failed`` or ``restore_point``.
    """
    server.start()
    try:
        server.wait(on_wait, seconds=None)
    except MigrationError as error:
        if error.code != "server_not_started":
            raise
        raise MigrationError(
            f"The copy could not be recovered to the restore point {point.name}: {_reason(server, point)} Run again after this command, "
            "which begins the backup again: ansible-playbook cht.couch2pg.migrate -i inventory.yml -e couch2pg_restart_from=restore",
            "recovery_failed",
            log=server.log_lines()[-20:],
        ) from error
    check(server, point)


def check(server: PrivateServer, point: Point) -> None:
    """Raise MigrationError ``restore_point`` unless recovery stopped at the point, with nothing else committed."""
    where = re.compile(f'recovery stopping at restore point "{re.escape(point.name)}"')
    # Before PostgreSQL 13, a recovery whose WAL ends early is promoted all the same.
    stopped = any(where.search(line) for line in server.log_lines())
    with Session(server.connection("postgres")) as session:
        committed = [row["number"] for row in session.rows(_COMMITTED, [list(point.running)])]
    if stopped and not committed:
        return
    reason = "transactions that were running count as committed" if stopped else "the WAL ended before it"
    raise MigrationError(
        f"The copy does not stand at the restore point {point.name}: {reason}. Begin the backup again: "
        "ansible-playbook cht.couch2pg.migrate -i inventory.yml -e couch2pg_restart_from=restore",
        "restore_point",
        committed=committed,
    )


def _reason(server: PrivateServer, point: Point) -> str:
    if any("recovery ended before configured recovery target was reached" in line for line in server.log_lines()):
        return f"WAL before it is missing or damaged in the copy, so {point.name} was not reached."
    return server.last_error()
