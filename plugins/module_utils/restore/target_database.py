# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database to restore into: check that its name is available, and create it with the source's properties."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, Mapping, NamedTuple

from ..common import restart
from ..common.errors import MigrationError
from ..common.evidence_document import DatabaseProperties, PropertiesAtPromotion
from ..host.files import read_json, write_json
from ..postgres import preload_libraries
from ..postgres.connection import ConnectionSettings
from ..postgres.database import create_statement, end_sessions, find_database, freeing_name, is_empty
from ..postgres.database_properties import split
from ..postgres.database_removal import drop_database
from ..postgres.identifiers import check_length, literal, quote
from ..postgres.privileges import GRANTABLE, grantee, privilege
from ..postgres.session import Session
from ..postgres.session_settings import set_clause
from ..record import document as record_document
from ..record.promoted import PROMOTED

INTENT = "incoming.json"
# The value of these settings names an object of the database, which doesn't exist yet. ALTER DATABASE accepts it with a notice.
_OF_DATABASE = ("default_text_search_config", "default_table_access_method", "default_tablespace", "temp_tablespaces")


class Created(NamedTuple):
    """A new database. properties: those that it has; at_promotion: those that it gets later; left_out: settings that were refused."""

    oid: int
    properties: DatabaseProperties
    at_promotion: PropertiesAtPromotion
    left_out: list[str]


def check_real_database(settings: ConnectionSettings, name: str, replace_existing: bool) -> bool:
    """Whether there is a database with the real name.

    Raises MigrationError ``target_not_empty`` when it is not empty and must not be replaced.
    """
    with Session(settings.maintenance) as session:
        found = find_database(session, name)
    if found is None:
        return False
    with Session(settings.to(name)) as session:
        empty = is_empty(session)
    if not empty and not replace_existing:
        raise MigrationError(
            f"The target already has a database {name!r} that is not empty. Nothing was changed. "
            "Check that this is the right server. To keep that database under another name, set couch2pg_replace_existing to true.",
            "target_not_empty",
            database=name,
        )
    return True


def start_incoming(session: Session, state: Path, identity: str, name: str) -> None:
    """Make the name ``name`` available: drop the database of an earlier attempt of this migration.

    Raises MigrationError ``incoming_exists`` for any other database.
    """
    check_length(name)
    if check_own(session, state, identity, name):
        drop(session, name)
    write_json(state / INTENT, {"identity": identity, "name": name})


def check_own(session: Session, state: Path, identity: str, name: str) -> bool:
    """Whether there is a database ``name``; raises MigrationError ``incoming_exists`` when this migration didn't make it."""
    if find_database(session, name) is None:
        return False
    if read_json(state / INTENT) != {"identity": identity, "name": name}:
        raise taken(state, identity, name)
    return True


def taken(state: Path, identity: str, name: str) -> MigrationError:
    """The error ``incoming_exists`` for a database ``name`` that the migration of ``state`` didn't make.

    Where another migration made it, the error names that and has its ``migration_id`` in the details. identity: of the server.
    """
    others = [
        path
        for path in state.parent.glob(f"*/{INTENT}")
        if path.parent != state
        and read_json(path) == {"identity": identity, "name": name}
        and not (path.parent / PROMOTED).exists()
        and _kept(path.parent) is not False
    ]
    if others:
        owner = max(others, key=lambda path: path.stat().st_mtime).parent
        if _kept(owner):
            return MigrationError(
                f"The target's database {name!r} is the copy of the rehearsal {owner.name!r}, which was kept at its end "
                f"(couch2pg_rehearsal_keep). {freeing_name(name)}",
                "incoming_exists",
                database=name,
                migration_id=owner.name,
            )
        return MigrationError(
            f"The target's database {name!r} belongs to the migration {owner.name!r}, which has not ended (its state folder: {owner}). "
            f"Continue it ({restart.resume(owner.name)}), or give it up ({restart.give_up(owner.name)}) and drop the database on the "
            f"target's server (DROP DATABASE {quote(name)};). Then run again.",
            "incoming_exists",
            database=name,
            migration_id=owner.name,
        )
    return MigrationError(
        f"The target already has a database {name!r}, and this migration didn't make it. {freeing_name(name)}",
        "incoming_exists",
        database=name,
    )


def _kept(state: Path) -> bool | None:
    """Whether the rehearsal of ``state`` kept its copy at its end; None where it is unfinished, or is no rehearsal."""
    try:
        record = record_document.load(state / record_document.NAME)
    except MigrationError:
        return None
    ended = {} if record is None else record["phases"].get("rehearse", {})
    return bool(ended["result"].get("kept")) if ended.get("status") == "done" else None


def drop(session: Session, name: str) -> None:
    """Drop a database of this migration, after ending the sessions that a killed restore left in it."""
    end_sessions(session, name)
    drop_database(session, name)


def create(session: Session, name: str, model: DatabaseProperties) -> Created:
    """Create the database ``name`` with those properties of ``model`` that don't disturb a restore."""
    properties, at_promotion = split(model)
    session.execute(create_statement(session, name, model["owner"], model))
    left_out = _apply(session, name, properties["settings"] or [], properties["role_settings"] or {})
    # Try the settings of the promotion now, so that it doesn't fail because this server refuses one.
    refused = _apply(session, name, at_promotion["settings"], at_promotion["role_settings"], keep=False)
    at_promotion["settings"] = [text for text in at_promotion["settings"] if text not in refused]
    at_promotion["role_settings"] = {
        role: [text for text in settings if text not in refused]
        for role, settings in at_promotion["role_settings"].items()
    }
    if model["comment"]:
        session.execute(f"COMMENT ON DATABASE {quote(name)} IS {literal(model['comment'])}")
    for statement in _grant_statements(name, model):
        session.execute(statement)
    oid = int(session.value("SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = %s", [name]))
    return Created(oid, properties, at_promotion, left_out + refused)


def _apply(
    session: Session,
    name: str,
    settings: Iterable[str],
    role_settings: Mapping[str, Iterable[str]],
    keep: bool = True,
) -> list[str]:
    """Apply settings to the database ``name``; returns those that this server refuses. Preflight has reported them.

    keep: False only tries them.
    """
    of_whom = [(f"ALTER DATABASE {quote(name)}", settings)]
    of_whom += [
        (f"ALTER ROLE {quote(role)} IN DATABASE {quote(name)}", texts) for role, texts in sorted(role_settings.items())
    ]
    return [
        setting
        for start, texts in of_whom
        for setting in texts
        if preload_libraries.refusal(session.settings, setting)
        or not _accepted(session, f"{start} {set_clause(setting)}", keep)
    ]


def _accepted(session: Session, statement: str, keep: bool) -> bool:
    session.execute("BEGIN")
    try:
        session.execute(statement)
    except MigrationError as error:
        if error.code != "sql":
            raise
        session.execute("ROLLBACK")
        return False
    session.execute("COMMIT" if keep else "ROLLBACK")
    return True


def refused_settings(session: Session, settings: Iterable[str]) -> dict[str, str]:
    """The settings among ``settings`` (``name=value``) that this server refuses, with its message. Changes nothing."""
    refused = {}
    session.execute("BEGIN TRANSACTION READ ONLY")
    try:
        for setting in settings:
            name, value = setting.split("=", 1)
            if name in _OF_DATABASE:
                continue
            unloadable = preload_libraries.refusal(session.settings, setting)
            if unloadable:
                refused[setting] = unloadable
            session.execute("SAVEPOINT tried")
            try:
                session.execute("SELECT pg_catalog.set_config(%s, %s, true)", [name, value])
            except MigrationError as error:
                # Some settings can be set for a database, but not in a running session.
                if error.details.get("sqlstate") != "55P02":
                    refused[setting] = error.message.split(": ", 1)[-1]
                session.execute("ROLLBACK TO SAVEPOINT tried")
    finally:
        session.execute("ROLLBACK")
    return refused


def _grant_statements(name: str, model: DatabaseProperties) -> list[str]:
    """SQL that changes the default grants of a new database into those of ``model``."""
    statements = [f"REVOKE ALL ON DATABASE {quote(name)} FROM PUBLIC"]
    for text in model["grants"]:
        role = grantee(text)
        if role == model["owner"]:
            continue
        option = GRANTABLE if text.endswith(GRANTABLE) else ""
        to = "PUBLIC" if role == "PUBLIC" else quote(role)
        statements.append(f"GRANT {privilege(text)} ON DATABASE {quote(name)} TO {to}{option}")
    return statements
