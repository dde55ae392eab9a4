# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the copied data directory in the place of the target's own, and check that its server answers; or undo that.

Both directories are only renamed. The plan is recorded before the first step (``exchange.json`` in the state folder), and each step can
be repeated. So the next run finishes what a killed run has begun (``resume``).
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Mapping, NoReturn, Sequence, TypedDict, cast

from ..common.errors import MigrationError
from ..host import services
from ..host.files import fsync_path, read_json, write_json
from ..jobs import job
from ..postgres.connection import ConnectionSettings
from ..postgres.database import find_database_by_oid, is_empty
from ..postgres.identifiers import with_suffix
from ..postgres.session import Session, server_identity
from ..promote import promotion
from ..record.promoted import MARK, PROMOTED, Promotion, has_mark, mark_of, stored_promotion
from ..record.rolled_back import REVERSED, Reversal
from . import placement, private_server
from .folders import SOURCE_FILES, Folders

EXCHANGE = "exchange.json"
PROMOTION, ROLLBACK = "promotion", "rollback"
STOP_SECONDS = 900.0
_CHECK_ADDRESS = "Check that couch2pg_login_host, couch2pg_login_port and couch2pg_login_unix_socket lead to that server, then run again."
ANSWER_SECONDS = 120.0
# A larger folder in the data directory is not configuration.
FOLDER_BYTES = 16 * 1024 * 1024
# What PostgreSQL keeps in the top of a data directory; pg_hba.conf and pg_ident.conf are configuration.
_OWN = (
    *(
        "PG_VERSION",
        "base",
        "global",
        "current_logfiles",
        "postmaster.pid",
        "postmaster.opts",
        "backup_label",
        "backup_label.old",
    ),
    *(
        "tablespace_map",
        "tablespace_map.old",
        "backup_manifest",
        "recovery.signal",
        "standby.signal",
        "recovery.conf",
        "recovery.done",
    ),
)
_CONFIGURATION = ("pg_hba.conf", "pg_ident.conf")


class _Exchanged(TypedDict):
    what: str
    data: str
    put_in: str
    aside: str
    stored: Promotion | Reversal
    stop: Sequence[str]
    start: Sequence[str]


class Intent(_Exchanged, total=False):
    """The content of EXCHANGE: the data directory, which one is put in its place, and where the one that is there goes.

    what: PROMOTION or ROLLBACK; stored: what is stored at the end; stop, start: commands. log_directory: only of a promotion.
    """

    log_directory: str


def promote(
    settings: ConnectionSettings,
    state: Path,
    migration_id: str,
    commands: Mapping[str, Sequence[str] | None],
    replace_existing: bool,
    check_mode: bool,
    clock: Callable[[], float] = time.time,
) -> Promotion:
    """Put this migration's verified copy in the place of the server of ``settings``; returns the stored promotion.

    In check mode, changes nothing. Raises what ``placement.find`` raises, and MigrationError ``not_verified``,
    ``changed_since_verified``, ``target_not_empty``, ``other_databases``, ``database_in_use``, ``not_root``, ``service`` or
    ``exchange_failed`` (the server that was there before runs again).
    """
    oid = promotion.verified_oid(state)
    with Session(settings.maintenance) as session:
        here = placement.find(session, commands)
        replaced_identity = server_identity(session)
        check_contents(session, settings, replace_existing)
        promotion.check_nobody_connected(session, [settings.database])
    incoming = here.incoming(migration_id)
    temporary = temporary_server(settings, state, incoming)
    promotion.check_verified(temporary, state, oid)
    with Session(temporary) as session:
        identity = server_identity(session)
    services.check_root([here.stop, here.start])
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(clock()))
    replaced = here.beside(f"replaced_{stamp}")
    stored: Promotion = {
        "identity": identity,
        "oid": oid,
        "name": settings.database,
        "kept_as": None,
        "data_directory": str(here.data),
        "incoming": str(incoming),
        "replaced": str(replaced),
        "replaced_identity": replaced_identity,
        "mark": secrets.token_hex(16),
        "service": {"kind": here.kind, "unit": here.unit, "stop": list(here.stop), "start": list(here.start)},
    }
    if check_mode:
        return stored
    _stop_unchanged(temporary, incoming, state, oid)
    intent: Intent = {
        "what": PROMOTION,
        "data": str(here.data),
        "put_in": str(incoming),
        "aside": str(replaced),
        "log_directory": here.log_directory,
        "stored": stored,
        "stop": list(here.stop),
        "start": list(here.start),
    }
    _exchange(settings, state, intent)
    return stored


def temporary_server(settings: ConnectionSettings, state: Path, incoming: Path) -> ConnectionSettings:
    """The connection to the private server on the copy. Raises MigrationError ``incoming_missing`` or ``not_verified``."""
    if not (incoming / "PG_VERSION").is_file():
        raise MigrationError(
            f"There is no copy of the source's server in {incoming}. Run cht.couch2pg.migrate again, which makes the copy again.",
            "incoming_missing",
        )
    restored = job.read_state(state / "jobs" / "restore")
    if restored.status != "done" or not _runs(incoming):
        raise MigrationError(
            f"No server runs on the copy {incoming}, so nothing shows that the copy is still as it was verified. Run the same command "
            "again, which starts that server.",
            "not_verified",
        )
    login = restored.result["value"]["login"]
    return ConnectionSettings(
        settings.database,
        port=login["login_port"],
        unix_socket=login["login_unix_socket"],
        user=login["login_user"],
    )


def _stop_unchanged(temporary: ConnectionSettings, data: Path, state: Path, oid: int) -> None:
    """Stop the private server on ``data`` while its database is still as it was verified, so that only a verified copy is promoted.

    Raises what ``promotion.begin_unchanged`` raises, and MigrationError ``service``.
    """
    database = temporary.database
    with Session(temporary.to("template1" if database == "postgres" else "postgres")) as session:
        # During this transaction nobody can connect to the database. The end of the server rolls it back.
        promotion.begin_unchanged(session, temporary, state, oid, [(database, with_suffix(database, "_stopping"))])
        stop_server(data)


def check_contents(session: Session, settings: ConnectionSettings, replace_existing: bool) -> None:
    """Raise MigrationError when the server has something that would disappear from it.

    ``other_databases`` for databases of its own, ``target_not_empty`` for a database with the real name that is not to be replaced.
    """
    standard = ["postgres", "template0", "template1", settings.database]
    others = [
        row["name"]
        for row in session.rows("SELECT datname AS name FROM pg_catalog.pg_database ORDER BY 1")
        if row["name"] not in standard
        or (row["name"] == "postgres" != settings.database and not _is_empty(settings, "postgres"))
    ]
    if others:
        raise MigrationError(
            f"The target's server has databases of its own ({', '.join(others)}), and the method physical replaces the whole server. "
            "Set couch2pg_method to stream or to archive, or give the migration a server without other databases.",
            "other_databases",
            databases=others,
        )
    exists = session.rows("SELECT FROM pg_catalog.pg_database WHERE datname = %s", [settings.database])
    if exists and not replace_existing and not _is_empty(settings, settings.database):
        raise MigrationError(
            f"The target's database {settings.database!r} is not empty. Nothing was changed. Find out what it is. To keep it with its "
            "whole server in a data directory of another name, set couch2pg_replace_existing to true.",
            "target_not_empty",
        )


def _is_empty(settings: ConnectionSettings, database: str) -> bool:
    with Session(settings.to(database)) as session:
        return is_empty(session)


def back(
    settings: ConnectionSettings, state: Path, check_mode: bool, clock: Callable[[], float] = time.time
) -> Reversal:
    """Put the data directory that was replaced back in its place; returns the stored rollback. In check mode, changes nothing.

    The promoted one is kept as ``<data directory>_rolled_back_<time>``. Raises MigrationError ``database_in_use``, ``not_root``,
    ``stale_evidence``, ``service`` or ``exchange_failed`` (the promoted server runs again).
    """
    done = stored_promotion(state)
    if done is None:
        raise AssertionError(f"{state} has no promotion to reverse")
    data, replaced = Path(done["data_directory"]), Path(done["replaced"])
    if not (replaced / "PG_VERSION").is_file():
        raise MigrationError(
            f"The data directory that the promotion replaced is not at {replaced} any more, so there is nothing to go back to. Nothing "
            "was changed.",
            "stale_evidence",
        )
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(clock()))
    aside = data.with_name(f"{data.name}_rolled_back_{stamp}")
    stored: Reversal = {
        "name": done["name"],
        "oid": done["oid"],
        "identity": done["identity"],
        "mark": done["mark"],
        "replaced_identity": done["replaced_identity"],
        "restored": str(replaced),
        "kept_as": str(aside),
    }
    if check_mode:
        # The role rollback first calls this in check mode, as the user of the play, while couch2pg still runs. Only the call after that
        # is made as root, with couch2pg stopped.
        return stored
    services.check_root([done["service"]["stop"], done["service"]["start"]])
    with Session(settings.maintenance) as session:
        promotion.check_nobody_connected(session, [done["name"]])
    intent: Intent = {
        "what": ROLLBACK,
        "data": str(data),
        "put_in": str(replaced),
        "aside": str(aside),
        "stored": stored,
        "stop": done["service"]["stop"],
        "start": done["service"]["start"],
    }
    _exchange(settings, state, intent)
    return stored


def unfinished(state: Path) -> Intent | None:
    """The exchange that was begun and has not ended, or None."""
    found = read_json(state / EXCHANGE)
    return cast("Intent", found) if isinstance(found, dict) else None


def resume(settings: ConnectionSettings, state: Path) -> Promotion | Reversal | None:
    """Finish an exchange that was interrupted; returns what it stored, or None when there is none.

    If nothing was renamed yet, the exchange is dropped, and the server is started again. Raises MigrationError.
    """
    intent = unfinished(state)
    if intent is None:
        return None
    if read_json(_outcome(state, intent)) == intent["stored"]:
        # The server was proven to be the right one. Whether it answers now must not decide which directory is in use.
        (state / EXCHANGE).unlink()
        return intent["stored"]
    services.check_root([intent["stop"], intent["start"]])
    if Path(intent["put_in"]).exists() and Path(intent["data"]).exists():
        if not _runs(Path(intent["data"])):
            services.call(intent["start"])
        (state / EXCHANGE).unlink()
        return None
    _exchange(settings, state, intent)
    return intent["stored"]


def _exchange(settings: ConnectionSettings, state: Path, intent: Intent) -> None:
    """Run every step of an exchange. Steps that an earlier run has done are not repeated."""
    data, put_in, aside = Path(intent["data"]), Path(intent["put_in"]), Path(intent["aside"])
    # Recorded first. Its paths tell a later run which directory leaves and which one comes, whatever else they have in common.
    write_json(state / EXCHANGE, intent)
    try:
        if put_in.exists():
            stop_server(put_in)
            _stop_service(intent, data)
            if intent["what"] == PROMOTION:
                if data.exists():
                    carry_over(data, put_in, intent["log_directory"])
                _write_mark(put_in, intent["stored"]["mark"])
            if data.exists():
                data.rename(aside)
            put_in.rename(data)
            fsync_path(data.parent)
        if not _runs(data):
            services.call(intent["start"])
        _prove(settings, intent)
    except (MigrationError, OSError) as error:
        _undo(settings, state, intent, error)
    write_json(_outcome(state, intent), intent["stored"])
    (state / EXCHANGE).unlink()


def _outcome(state: Path, intent: Intent) -> Path:
    """Where the end of an exchange is recorded."""
    return state / (PROMOTED if intent["what"] == PROMOTION else REVERSED)


def _undo(settings: ConnectionSettings, state: Path, intent: Intent, reason: Exception) -> NoReturn:
    """Give the directories their names back and start the service; raises MigrationError ``exchange_failed``."""
    data, put_in, aside = Path(intent["data"]), Path(intent["put_in"]), Path(intent["aside"])
    first = reason.message if isinstance(reason, MigrationError) else str(reason)
    try:
        if aside.exists():
            if data.exists():
                with suppress(MigrationError):
                    services.call(intent["stop"])
                stop_server(data)
                data.rename(put_in)
            aside.rename(data)
            fsync_path(data.parent)
        if not _runs(data):
            services.call(intent["start"])
        _answers(settings)
    except (MigrationError, OSError) as second:
        again = second.message if isinstance(second, MigrationError) else str(second)
        raise MigrationError(
            f"The server with the other data directory did not work: {first} Going back did not work either: {again} The data "
            f"directory from before is {data if not aside.exists() else aside}, and it belongs at {data}. Start the server: "
            f"{placement.words(intent['start'])}",
            "exchange_failed",
        ) from second
    (state / EXCHANGE).unlink()
    raise MigrationError(
        f"The data directories did not change their places: {first} The server runs as before.", "exchange_failed"
    ) from reason


def _stop_service(intent: Intent, data: Path) -> None:
    if _runs(data):
        services.call(intent["stop"])
    stopped = _wait(lambda: not _runs(data), STOP_SECONDS)
    if not stopped:
        raise MigrationError(
            f"{placement.words(intent['stop'])} has not stopped the server in {data} within {STOP_SECONDS:.0f} s. Find the reason in its "
            "log, then run again.",
            "service",
            command=intent["stop"],
        )


def stop_server(data: Path) -> None:
    """Stop the server in ``data`` with a signal, which its owner may send, and wait until it has written everything.

    Raises MigrationError ``service``.
    """
    process = private_server.postmaster(data)
    if process is None:
        return
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGINT)
    if not _wait(lambda: not _runs(data), STOP_SECONDS):
        raise MigrationError(
            f"The server in {data} (process {process}) has not stopped within {STOP_SECONDS:.0f} s. Find the reason in its log, then run "
            "again.",
            "service",
        )


def _runs(data: Path) -> bool:
    return private_server.postmaster(data) is not None


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def carry_over(old: Path, new: Path, log_directory: str) -> list[str]:
    """Give the copy the target's own configuration files, as far as they are in the data directory; returns their names.

    The source's are kept in a folder of the copy. A server whose configuration is elsewhere (Debian) has only
    postgresql.auto.conf there.
    """
    aside, incomplete = new / SOURCE_FILES, new / f"{SOURCE_FILES}.part"
    # If this folder exists, an interrupted run has moved all of the source's files into it. Files in their place are the target's.
    if not aside.exists():
        incomplete.mkdir(mode=0o700, exist_ok=True)
        _give(incomplete, old)
        for path in _configuration(new, log_directory):
            path.rename(incomplete / path.name)
        incomplete.rename(aside)
    settings = Folders(new).work / private_server.SETTINGS_OF_SOURCE
    if settings.exists():
        shutil.copy2(settings, aside / "postgresql.auto.conf")
    names = []
    for path in _configuration(old, log_directory):
        goal = new / path.name
        if path.is_symlink():
            if not os.path.lexists(goal):
                goal.symlink_to(os.readlink(path))
        elif path.is_dir():
            shutil.rmtree(goal, ignore_errors=True)
            shutil.copytree(path, goal, symlinks=True)
            for inner in goal.rglob("*"):
                _give(inner, path / inner.relative_to(goal))
        else:
            shutil.copy2(path, goal)
        _give(goal, path)
        names.append(path.name)
    return names


def _configuration(data: Path, log_directory: str) -> list[Path]:
    """The files and small folders in the top of a data directory that are not PostgreSQL's own."""
    logs = Path(log_directory).parts[0] if log_directory else ""
    found = []
    for path in sorted(data.iterdir()):
        own = path.name in _OWN or (path.name.startswith("pg_") and path.name not in _CONFIGURATION)
        if (
            own
            or path.name in (SOURCE_FILES, f"{SOURCE_FILES}.part", MARK)
            or (path.name == logs and not path.is_symlink())
        ):
            continue
        if path.is_dir() and not path.is_symlink() and _bytes(path) > FOLDER_BYTES:
            continue
        found.append(path)
    return found


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def _give(path: Path, like: Path) -> None:
    """Give a file the owner of another one."""
    owner = like.lstat()
    if (path.lstat().st_uid, path.lstat().st_gid) != (owner.st_uid, owner.st_gid):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _write_mark(data: Path, mark: str) -> None:
    """Write the file by which this data directory's server is recognised, even if there is another copy of the same source."""
    write_json(data / MARK, {"mark": mark})
    _give(data / MARK, data)


def _answers(settings: ConnectionSettings) -> None:
    """Wait until a login succeeds. Raises the error of the last attempt."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            Session(settings.maintenance).close()
        except MigrationError as error:
            if error.code == "authentication" or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _prove(settings: ConnectionSettings, intent: Intent) -> None:
    """Raise MigrationError unless the server that was put in answers at the usual address."""
    stored = intent["stored"]
    _answers(settings)
    with Session(settings.maintenance) as session:
        identity = server_identity(session)
        if intent["what"] == ROLLBACK:
            if identity != stored["replaced_identity"] or mark_of(session) == stored["mark"]:
                raise MigrationError(
                    f"The server that answers at {settings.place} is not the one from before the promotion, whose data directory is "
                    f"{intent['data']}. {_CHECK_ADDRESS}",
                    "stale_evidence",
                )
            return
        found = find_database_by_oid(session, stored["oid"])
        name = None if found is None else found["name"]
        if identity != stored["identity"] or not has_mark(session, stored) or name != stored["name"]:
            raise MigrationError(
                f"The server that answers at {settings.place} is not the verified one, whose data directory is {intent['data']} (its "
                f"identifier is {identity}, not {stored['identity']}). {_CHECK_ADDRESS}",
                "stale_evidence",
            )
