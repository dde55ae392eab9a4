# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn the recovered copy into a data directory of the target's major version, with pg_upgrade and hard links."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, cast

from ..common.errors import MigrationError
from ..host import programs
from ..host.files import remove_tree
from ..postgres.analyze import analyze_tables
from ..postgres.session import Session
from . import backup
from .done import ClusterProperties
from .folders import Folders, Owner
from .private_server import PORT, PrivateServer, option

PROVIDERS_SINCE = 150000
CHECKSUMS_BY_DEFAULT_SINCE = 18
# From this major version on, pg_upgrade keeps the planner's statistics, except extended ones.
KEEPS_STATISTICS_SINCE = 18
LOG_LINES = 20
_CONTROL = Path("global/pg_control")
_TEMPLATE = """
SELECT pg_catalog.pg_encoding_to_char(encoding) AS encoding, datcollate AS lc_collate, datctype AS lc_ctype,
       pg_catalog.to_json(d) ->> 'datlocprovider' AS provider,
       coalesce(pg_catalog.to_json(d) ->> 'datlocale', pg_catalog.to_json(d) ->> 'daticulocale') AS locale,
       pg_catalog.to_json(d) ->> 'daticurules' AS rules,
       pg_catalog.current_setting('data_checksums') = 'on' AS checksums,
       (SELECT setting::bigint * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END FROM pg_catalog.pg_settings
        WHERE name = 'wal_segment_size') AS segment_bytes
FROM pg_catalog.pg_database AS d WHERE datname = 'template0'
"""
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def cluster_properties(session: Session) -> ClusterProperties:
    """What a new cluster must have in common with the session's, for ``upgrade``."""
    return cast("ClusterProperties", session.row(_TEMPLATE))


def initdb_options(properties: ClusterProperties, superuser: str, major: int) -> list[str]:
    """The options of initdb of version ``major`` for a cluster with these properties."""
    options = [
        f"--username={superuser}",
        f"--encoding={properties['encoding']}",
        f"--lc-collate={properties['lc_collate']}",
        f"--lc-ctype={properties['lc_ctype']}",
        f"--wal-segsize={properties['segment_bytes'] >> 20}",
        "--auth=trust",
    ]
    provider = _PROVIDERS.get(properties["provider"] or "c", "libc")
    if provider != "libc":
        options += [f"--locale-provider={provider}"]
        options += [f"--{'icu' if provider == 'icu' else 'builtin'}-locale={properties['locale']}"]
    if properties["rules"]:
        options += [f"--icu-rules={properties['rules']}"]
    if properties["checksums"]:
        options += ["--data-checksums"]
    elif major >= CHECKSUMS_BY_DEFAULT_SINCE:
        options += ["--no-data-checksums"]
    return options


def upgrade(
    old: PrivateServer,
    new: PrivateServer,
    properties: ClusterProperties,
    superuser: str,
    major: int,
    folders: Folders,
    owner: Owner,
    jobs: int,
    log: Callable[[str], None],
) -> None:
    """Make the new server's data directory from that of the old server, which is stopped. Undoes an interrupted attempt first.

    properties: of ``cluster_properties``. major: the new server's. Raises MigrationError ``upgrade_refused`` or ``upgrade_failed``.
    """
    as_before(old.data, new.data, owner)
    environment = dict(programs.environment(), HOME=str(folders.work))
    said = backup.Said(log)
    words = [str(new.bin_dir / "initdb"), f"--pgdata={new.data}", *initdb_options(properties, superuser, major)]
    if programs.run(owner.command(words, folders.work), environment, said):
        raise MigrationError(
            f"initdb of PostgreSQL {major} failed for {new.data}: {said.reason()} Fix the cause, then run again.",
            "upgrade_failed",
            messages=said.lines[-LOG_LINES:],
        )
    new.configure()
    command = [
        str(new.bin_dir / "pg_upgrade"),
        f"--old-bindir={old.bin_dir}",
        f"--new-bindir={new.bin_dir}",
        f"--old-datadir={old.data}",
        f"--new-datadir={new.data}",
        f"--old-options={option(folders)}",
        f"--new-options={option(folders)}",
        f"--username={superuser}",
        f"--socketdir={new.socket}",
        f"--old-port={PORT}",
        f"--new-port={PORT}",
        f"--jobs={jobs}",
        "--link",
    ]
    for words, code in ((["--check"], "upgrade_refused"), ([], "upgrade_failed")):
        output = folders.work / f"pg_upgrade{'_check' if words else ''}.log"
        output.unlink(missing_ok=True)
        result = programs.run(owner.command([*command, *words], folders.work), environment, log, output=output)
        if result:
            lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
            raise MigrationError(
                f"pg_upgrade to PostgreSQL {major} {'refuses the copy' if words else 'failed'}: {reason_of(lines)} See {output}. Correct "
                "the source, and begin again: ansible-playbook cht.couch2pg.migrate -i inventory.yml -e couch2pg_restart_from=restore; or "
                "use couch2pg_method: stream.",
                code,
                messages=lines[-LOG_LINES:],
            )


def analyze(
    server: PrivateServer, major: int, owner: Owner, folders: Folders, jobs: int, log: Callable[[str], None]
) -> None:
    """Give the planner the statistics that pg_upgrade did not keep. Raises MigrationError ``connection`` and the like."""
    connection = server.connection("postgres")
    words = [str(server.bin_dir / "vacuumdb"), "--all", "--analyze-only", "--quiet", f"--jobs={jobs}"]
    words += ["--missing-stats-only"] if major >= KEEPS_STATISTICS_SINCE else []
    words += [f"--host={server.socket}", f"--port={PORT}", f"--username={connection.user}", "--no-password"]
    said = backup.Said(log)
    if not programs.run(owner.command(words, folders.work), dict(programs.environment(), HOME=str(folders.work)), said):
        return
    # vacuumdb ends at the first table that can't be analysed, such as one with a foreign partition whose server doesn't answer.
    log(f"vacuumdb ended: {said.reason()} Each table is analysed by itself.")
    with Session(connection) as session:
        names = session.rows(
            "SELECT datname AS name FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate"
        )
    for row in names:
        analyze_tables(server.connection(row["name"]), jobs, log)


def as_before(old: Path, new: Path, owner: Owner) -> None:
    """Undo an interrupted attempt: it has only made links, and renamed one file of the old cluster."""
    remove_tree(new)
    owner.folder(new)
    kept = old / _CONTROL.with_name("pg_control.old")
    if kept.exists():
        kept.rename(old / _CONTROL)


def reason_of(lines: list[str]) -> str:
    """What pg_upgrade says after its list of checks: the failed check, and its explanation."""
    shown = [line.strip() for line in lines if line.strip() and not line.rstrip().endswith("ok")]
    failed = next(
        (number for number, line in enumerate(shown) if line.endswith("fatal") or "Failure" in line), len(shown) - 4
    )
    # The line "Failure" gives no reason. The lines before it do.
    first = failed - 2 if 0 <= failed < len(shown) and shown[failed].startswith("Failure") else failed
    return " ".join(shown[max(0, first) :][:8]) or "it gave no reason."
