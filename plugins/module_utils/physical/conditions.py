# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both servers must have in common for a copy of the files of one to run on the other, as findings of preflight."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Mapping, TypedDict, cast

from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.findings import Findings
from ..common.progress_line import amount
from ..host.file_systems import locate
from ..postgres import collations, preload_libraries
from ..postgres.connection import ConnectionSettings
from ..postgres.identifiers import quote
from ..postgres.session import Session, server_identity
from . import compression, placement, switch, upgrade_obstacles
from .conditions_of_source import DEFAULT_SENDERS, check_rights, check_source, words
from .other_method import OR_STREAM, STREAM
from .upgrade_obstacles import UpgradeFacts

# WAL senders that the copy needs: for the base backup, for the WAL during it, and for the WAL after it.
SENDERS = 3
# Room for the WAL that is written during the copy and by the private server, and for what pg_upgrade adds.
MARGIN = 1.1
SHOWN = 5
# Codes of failures that only prevent the promotion, not a rehearsal: of the service, of other databases, of roles.
_OF_PROMOTION = ("no_service", "other_databases", "roles", "library_not_loaded", "md5_passwords")
# Variables that a copy of the whole server can't follow, because it copies everything as it is.
_NOT_IN_A_COPY = ("leave_out", "role_map", "function_search_path")

_CONTROL = "SELECT to_jsonb(c) AS control FROM pg_catalog.pg_control_init() AS c"
# Properties that the copy brings along, so that they may differ on the target.
_COPIED = ("data_page_checksum_version", "bytes_per_wal_segment", "default_char_signedness")
_WORDS = {
    "max_data_alignment": "the alignment of values",
    "database_block_size": "the size of a page (block_size)",
    "blocks_per_segment": "the size of a file of a table (segment_size)",
    "wal_block_size": "the size of a page of WAL (wal_block_size)",
    "max_identifier_length": "the length of names",
    "max_index_columns": "the number of columns of an index",
    "float8_pass_by_value": "how 8-byte numbers are passed",
    "float4_pass_by_value": "how 4-byte numbers are passed",
    "date_time_integers": "how times are stored",
}
_SIZES = """
SELECT (SELECT pg_catalog.sum(pg_catalog.pg_database_size(oid)) FROM pg_catalog.pg_database)::pg_catalog.int8 AS bytes,
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_wal_size')) AS wal
"""
_SENDERS = """
SELECT pg_catalog.current_setting('max_wal_senders')::int AS most,
       (SELECT count(*) FROM pg_catalog.pg_stat_replication)::int AS used, pg_catalog.current_setting('wal_level') AS level
"""
_RIGHTS = "SELECT rolsuper OR rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user"
_ROLES = """
SELECT rolname AS name, rolsuper AS superuser, rolcanlogin AS login FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY 1
"""
_MD5_ROLES = "SELECT rolname AS name FROM pg_catalog.pg_authid WHERE rolcanlogin AND rolpassword LIKE 'md5%' ORDER BY 1"
_HBA = """
SELECT line_number AS line, database, user_name AS roles, auth_method AS method FROM pg_catalog.pg_hba_file_rules
WHERE error IS NULL AND type LIKE 'host%' AND auth_method <> 'reject' ORDER BY 1
"""
_LOCALES = """
SELECT DISTINCT locale FROM pg_catalog.pg_database, LATERAL (VALUES (datcollate::text), (datctype::text)) AS each (locale)
WHERE datallowconn AND locale NOT IN ('C', 'POSIX') ORDER BY 1
"""
_TABLESPACES = "SELECT spcname AS name FROM pg_catalog.pg_tablespace WHERE oid NOT IN (1663, 1664) ORDER BY 1"


class RoleOfSource(TypedDict):
    """A role of the source's server."""

    name: str
    superuser: bool
    login: bool


class PhysicalFacts(TypedDict):
    """Facts of the source that ``examine_target`` compares.

    machine: the kind of processor; control: the row of pg_control_init; bytes, wal: sizes of all databases, and max_wal_size.
    compressions: of ``compression.of_server``; locales: of all databases. md5_roles: roles whose password is stored as MD5.
    """

    machine: str
    control: dict[str, object]
    identity: str
    major: int
    upgrade: UpgradeFacts
    compressions: list[str]
    locales: list[str]
    bytes: int
    wal: int
    roles: list[RoleOfSource]
    md5_roles: list[str]


def facts_of(session: Session) -> PhysicalFacts:
    """The facts of the source that ``examine_target`` compares."""
    sizes = session.row(_SIZES)
    return {
        "machine": _machine(session),
        "control": session.row(_CONTROL)["control"],
        "identity": server_identity(session),
        "major": session.version // 10000,
        "upgrade": upgrade_obstacles.find(session),
        "compressions": compression.of_server(session),
        "locales": [row["locale"] for row in session.rows(_LOCALES)],
        "bytes": sizes["bytes"],
        "wal": sizes["wal"],
        "roles": cast("list[RoleOfSource]", session.rows(_ROLES)),
        "md5_roles": _md5_roles(session),
    }


def examine_source(session: Session, findings: Findings) -> PhysicalFacts:
    """Findings on the source, and the facts for the target."""
    findings.attempt("files of the server", lambda: _check_files(session, findings))
    findings.ask("rights of the copy", lambda: check_rights(session), str)
    findings.ask("replication", lambda: _check_replication(session), str)
    findings.attempt("prepared transactions", lambda: _check_prepared(session))
    return facts_of(session)


def examine_target(
    session: Session,
    settings: ConnectionSettings,
    findings: Findings,
    options: Mapping[str, Any],
    source: Mapping[str, Any],
) -> None:
    """Findings on the target. source: the facts of the source, with those of ``facts_of`` as ``physical``.

    In a rehearsal, what only the promotion needs is a warning.
    """
    findings.attempt("variables of other methods", lambda: _check_variables(options))
    here = findings.ask(
        "data directory",
        lambda: placement.find(session, options["commands"]),
        lambda found: f"{found.data}, stopped by {placement.words(found.stop)}",
    )
    if here is None and options["rehearsal"]:
        with suppress(MigrationError):
            here = placement.find(session, placement.NOBODY)
    findings.ask(
        "other databases",
        # Another finding reports a database with the real name.
        lambda: switch.check_contents(session, settings, replace_existing=True),
        lambda _none: "the target's server has no other database",
    )
    # Without them, preflight on the source has failed, and has reported why.
    if "physical" in source:
        _compare(session, findings, options, source, here)
    if options["rehearsal"]:
        findings.soften(_OF_PROMOTION, "The rehearsal continues without that; the migration will not.")


def _compare(
    session: Session,
    findings: Findings,
    options: Mapping[str, Any],
    source: Mapping[str, Any],
    here: placement.Placement | None,
) -> None:
    """Findings of the comparison with the source. here: the placement of the target's server, None when it is unknown."""
    theirs: PhysicalFacts = source["physical"]
    findings.ask("architecture", lambda: _check_same_build(session, theirs), str)
    findings.attempt(
        "collation", lambda: _check_collations(session, findings, source, options["collations"] == "rebuild")
    )
    findings.ask("locales", lambda: _check_locales(session, theirs), str)
    findings.ask("extensions", lambda: _check_extensions(session, source), str)
    choice = options["backup_compression"]
    if choice != compression.NONE:
        findings.ask("compression of the copy", lambda: compression.check(choice, theirs["compressions"]), str)
    here_major = session.version // 10000
    findings.ask(
        "pg_upgrade", lambda: upgrade_obstacles.check(session, theirs["upgrade"], theirs["major"], here_major), str
    )
    findings.attempt("roles", lambda: _check_roles(session, findings, theirs))
    findings.attempt("passwords", lambda: _check_passwords(session, here, theirs))
    if here is not None:
        findings.attempt("archive of WAL", lambda: _check_archive(session, findings, here))
        findings.attempt("files elsewhere", lambda: _check_elsewhere(session, findings, here))
        findings.attempt("libraries", lambda: check_libraries(session, findings, source))
        findings.ask("disk", lambda: _check_disk(here, theirs, options["migration_id"]), str)


def _check_variables(options: Mapping[str, Any]) -> None:
    given = [f"couch2pg_{name}" for name in _NOT_IN_A_COPY if any((options[name] or {}).values())]
    if options["tablespaces"] != "keep":
        given.append("couch2pg_tablespaces")
    if given:
        raise MigrationError(
            f"The method physical copies the whole server as it is, so it can't do what {', '.join(given)} asks for. Remove that from the "
            "inventory. Or keep it, and set couch2pg_method to stream.",
            "not_in_a_copy",
            variables=given,
        )


def _machine(session: Session) -> str:
    """The kind of processor that the server was built for, such as ``x86_64``."""
    version = str(session.value("SELECT pg_catalog.version()"))
    found = re.search(r" on ([^-, ]+)-", version)
    return found.group(1) if found else version


def _check_files(session: Session, findings: Findings) -> None:
    unread = check_source(session)
    fine = "a primary with the database postgres, WAL for a copy and no tablespaces"
    if unread:
        findings.warning("files of the server", f"The source is {fine}. {words(unread)}", unread=unread)
    else:
        findings.ok("files of the server", f"{fine}; no database has unlogged tables")


def _check_replication(session: Session) -> str:
    user = session.settings.user
    if not session.value(_RIGHTS):
        raise MigrationError(
            f"{user!r} may not copy the source's server. On the source, as a superuser: ALTER ROLE {quote(user)} REPLICATION; {OR_STREAM}",
            "rights",
        )
    senders = session.row(_SENDERS)
    free = senders["most"] - senders["used"]
    if free < SENDERS:
        # With wal_level minimal, a server with max_wal_senders above 0 doesn't start.
        level = "ALTER SYSTEM SET wal_level = replica; " if senders["level"] == "minimal" else ""
        raise MigrationError(
            f"The source has {max(0, free)} of {senders['most']} WAL senders free, and the copy needs {SENDERS}. On the source, as a "
            f"superuser: {level}ALTER SYSTEM SET max_wal_senders = {max(DEFAULT_SENDERS, senders['used'] + SENDERS)}; Then restart its "
            f"server. {OR_STREAM}",
            "wal_senders",
        )
    return f"{user!r} may copy the server, {free} WAL senders are free"


def _check_prepared(session: Session) -> None:
    """Refuse prepared transactions: they would be in the copy, too, where nothing ends them."""
    found = [str(row["gid"]) for row in session.rows("SELECT gid FROM pg_catalog.pg_prepared_xacts ORDER BY prepared")]
    if found:
        raise MigrationError(
            f"The source has {counted(len(found), 'prepared transaction')} ({', '.join(found[:SHOWN])}), which the copy would keep, too. "
            "On the "
            f"source: COMMIT PREPARED '{found[0]}' or ROLLBACK PREPARED '{found[0]}', in its database.",
            "prepared_transactions",
        )


def _check_same_build(session: Session, theirs: PhysicalFacts) -> str:
    here, there = _machine(session), theirs["machine"]
    if here != there:
        raise MigrationError(
            f"The source's server was built for {there}, the target's for {here}: the target can't use files of the source. {STREAM}",
            "architecture",
        )
    control = session.row(_CONTROL)["control"]
    different = [
        f"{_WORDS.get(name, name)}, {value} on the source and {control[name]} here"
        for name, value in sorted(theirs["control"].items())
        if name not in _COPIED and name in control and control[name] != value
    ]
    if different:
        raise MigrationError(
            f"The two servers were built differently ({'; '.join(different)}), so the target can't use files of the source. {STREAM}",
            "architecture",
            different=different,
        )
    return f"{here}, pages of {control['database_block_size']} bytes, as on the source"


def _check_collations(session: Session, findings: Findings, source: Mapping[str, Any], rebuild: bool) -> None:
    """Indexes on text are copied as they are; with ``rebuild``, those that may be in another order here are rebuilt."""
    sorting: Mapping[str, Any] = source.get("sorting", {"collations": []})
    different = []
    for row in sorting["collations"]:
        here = collations.version_here(session, row["provider"], row["locale"])
        library = "ICU" if row["provider"] == "i" else "glibc"
        if here is None or row["version"] is None or row["version"] != here:
            there = row["version"] or "of an unknown version"
            different.append(
                f"{row['locale']} ({library} {there} on the source, {here or 'of an unknown version'} here)"
            )
    if not different:
        findings.ok("collation", "text sorts the same, so indexes can be copied as they are")
        return
    may = f"Text may sort differently on the target with {'; '.join(different)}"
    partitions = sorting.get("text_partitions", [])
    if partitions:
        raise MigrationError(
            f"{may}: rows of {', '.join(partitions[:SHOWN])} may belong to other partitions there. {STREAM}",
            "collation",
            collations=different,
            partitions=partitions,
        )
    if not rebuild:
        raise MigrationError(
            f"{may}, and couch2pg_physical_collations is refuse. Set it to rebuild: every index that depends on it is rebuilt. {OR_STREAM}",
            "collation",
            collations=different,
        )
    findings.warning(
        "collation",
        f"{may}: every index of the copy that depends on it is rebuilt, which takes its time. Check reports that depend on the order.",
        collations=different,
    )


def _check_locales(session: Session, theirs: PhysicalFacts) -> str:
    """Every database of the copy is opened on this host, including postgres, so the host needs the locales of all of them."""
    locales = theirs["locales"]
    for locale in locales:
        collations.check_libc(session, locale)
    return f"this host has the locales of every database: {', '.join(locales) or 'C'}"


def _check_extensions(session: Session, source: Mapping[str, Any]) -> str:
    wanted: Mapping[str, str] = source.get("extensions", {})
    here = {
        row["name"]
        for row in session.rows(
            "SELECT name FROM pg_catalog.pg_available_extensions WHERE name = ANY(%s)", [sorted(wanted)]
        )
    }
    missing = sorted(set(wanted) - here)
    if missing:
        raise MigrationError(
            f"The target's server lacks the extensions {', '.join(missing)} of the source, whose libraries the copy needs. Install their "
            f"packages on the target. {OR_STREAM}",
            "extension_missing",
            extensions=missing,
        )
    return f"the target has {', '.join(sorted(wanted)) or 'all that is needed'}"


def check_libraries(session: Session, findings: Findings, source: Mapping[str, Any]) -> None:
    """Libraries that the source's server loads at its start: the copy may not work without them."""
    known = source.get("preload_libraries")
    if known is None:
        # The source's login may not read them, or its check ended before. A finding of the source says so.
        return
    wanted = [name for name in known if name]
    loaded = preload_libraries.at_start(session)
    if not wanted:
        findings.ok("libraries", "the source's server loads none at its start")
        return
    if loaded is None:
        findings.warning("libraries", preload_libraries.unknown(session, wanted), libraries=wanted)
        return
    folder = Path(str(session.value("SELECT setting FROM pg_catalog.pg_config WHERE name = 'PKGLIBDIR'")))
    missing = [name for name in wanted if not (folder / f"{Path(name).name}.so").exists()]
    if missing:
        raise MigrationError(
            f"The source's server loads {', '.join(missing)} at its start, and the target has no such library in {folder}. Install the "
            f"packages on the target. {OR_STREAM}",
            "library_missing",
            libraries=missing,
        )
    unloaded = [name for name in wanted if name not in loaded]
    if unloaded:
        raise MigrationError(
            f"The source's server loads {', '.join(unloaded)} at its start. The target keeps its own configuration, which doesn't. On "
            f"the target, as a superuser: {preload_libraries.add_at_start(loaded, unloaded)} Then restart the target's server.",
            "library_not_loaded",
            libraries=unloaded,
        )
    findings.ok("libraries", f"loaded at the start as on the source: {', '.join(wanted)}")


def _check_roles(session: Session, findings: Findings, theirs: PhysicalFacts) -> None:
    """The copy has the source's roles and passwords, and none of the target's."""
    user = session.settings.user
    known = {role["name"]: role for role in theirs["roles"]}
    if user not in known or not (known[user]["superuser"] and known[user]["login"]):
        raise MigrationError(
            f"The role {user!r} that logs in on the target is no superuser with a login on the source, and the copy has the source's "
            f"roles. Set couch2pg_login_user of the target to a superuser that both have. {OR_STREAM}",
            "roles",
        )
    lost = [role["name"] for role in session.rows(_ROLES) if role["name"] not in known]
    if lost:
        findings.warning(
            "roles",
            f"The roles {', '.join(lost[:SHOWN])} of the target are not on the source, so they are gone after the promotion. Create them "
            "again then, if they are needed.",
            roles=lost,
        )
        return
    findings.ok("roles", "the copy has every role of the target's server, with the source's passwords")


def _md5_roles(session: Session) -> list[str]:
    """Roles whose password is stored as MD5; none if this role can't read pg_authid."""
    if not session.value("SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')"):
        return []
    return [row["name"] for row in session.rows(_MD5_ROLES)]


def _check_passwords(session: Session, here: placement.Placement | None, theirs: PhysicalFacts) -> None:
    """The target's pg_hba.conf stays in force, and where it asks for SCRAM it refuses passwords that are stored as MD5."""
    settings = session.settings
    superusers = {role["name"] for role in theirs["roles"] if role["superuser"]}
    # Superusers are expected to log in on the host itself, except this session's role when it connects through the network.
    asked = [
        name for name in theirs["md5_roles"] if name not in superusers or (name == settings.user and settings.host)
    ]
    if not asked or not session.value("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"):
        return
    rules = session.rows(_HBA)
    refused: list[str] = []
    lines: set[int] = set()
    for name in asked:
        matching = [rule for rule in rules if _is_for(rule, name, settings.database)]
        if matching and {rule["method"] for rule in matching} == {"scram-sha-256"}:
            refused.append(name)
            lines.update(int(rule["line"]) for rule in matching)
    if refused:
        file = str(here.hba_file) if here is not None else str(session.value("SHOW hba_file"))
        change = ";".join(f"{line}s/scram-sha-256/md5/" for line in sorted(lines))
        raise MigrationError(
            f"The passwords of the roles {', '.join(refused[:SHOWN])} are stored as MD5 on the source, and the target's pg_hba.conf, "
            "which stays in force, asks for scram-sha-256, so that they could not log in after the promotion. Its method md5 lets in "
            f"both. On the target: {placement.words(['sed', '-i', change, file])} and then, as a superuser: SELECT pg_reload_conf(). Or "
            "set new passwords on the source, with password_encryption = 'scram-sha-256', which couch2pg's old driver doesn't know.",
            "md5_passwords",
            roles=refused,
        )


def _is_for(rule: Mapping[str, Any], role: str, database: str) -> bool:
    databases = {"all", database, *(["sameuser"] if role == database else [])}
    return bool({"all", role} & set(rule["roles"]) and databases & set(rule["database"]))


def _check_archive(session: Session, findings: Findings, here: placement.Placement) -> None:
    """The target's configuration stays in force, so what it archives after the promotion is another server's WAL."""
    if session.value("SELECT pg_catalog.current_setting('archive_mode')") == "off":
        findings.ok("archive of WAL", "the target's server archives no WAL")
        return
    findings.warning(
        "archive of WAL",
        f"The target's server archives its WAL as {here.config_file} says. The promoted server is another one: its WAL files can have the "
        "same names as those in the archive, and must not be mixed with them. Before the promotion, change archive_command to an empty "
        "folder (or create a new stanza). After the promotion, make a base backup.",
    )


def _check_elsewhere(session: Session, findings: Findings, here: placement.Placement) -> None:
    """Warn of the target server's files outside its data directory: they stay as they are, and the copy doesn't use them."""
    wal = here.data / "pg_wal"
    spaces = [f"the tablespace {row['name']}" for row in session.rows(_TABLESPACES)]
    found = [*([f"its WAL ({wal.resolve()})"] if wal.is_symlink() else []), *spaces]
    if not found:
        findings.ok("files elsewhere", "the target's server has no file outside its data directory")
        return
    findings.warning(
        "files elsewhere",
        f"The target's server has {', '.join(found)} outside {here.data}. The copy has everything in its data directory, also its WAL, and "
        "needs the space on that file system. What is outside stays for the way back. The cleanup of replaced_server doesn't remove it: "
        "remove it after that.",
    )


def _check_disk(here: placement.Placement, theirs: PhysicalFacts, migration_id: str) -> str:
    place = locate(here.data)
    needed = int(theirs["bytes"] * MARGIN) + 2 * theirs["wal"]
    if place.free < needed and not here.incoming(migration_id).exists():
        raise MigrationError(
            f"The file system {place.mount_point} of {here.data} is {amount(needed - place.free, 'bytes')} short: the copy of the whole "
            f"server needs {amount(needed, 'bytes')} beside what is there, {amount(place.free, 'bytes')} are free. Free space there, "
            "or enlarge it.",
            "disk_full",
            needed=needed,
            free=place.free,
        )
    return f"{amount(needed, 'bytes')} needed for the copy beside {here.data}, {amount(place.free, 'bytes')} free"
