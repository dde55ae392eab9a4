# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight of couch2pg itself: would it run on the target as it runs on the source? Everything is only read.

Both sides are asked in couch2pg's own name, from the host where it runs: with its settings, as its role, over its address.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Mapping, Sequence

from . import login_probe, node_trust, resync_guard
from .connection import ConnectionSettings, Session
from .couch2pg_settings import PostgresPlace, Settings
from .couchdb import CouchDB
from .couchdb_url import seq_number
from .errors import MigrationError
from .findings import Findings
from .programs import ask

# What couch2pg takes from CouchDB at once when COUCH2PG_CHANGES_LIMIT doesn't say otherwise.
CHANGES_LIMIT = 10000
# From this Node.js on, a PostgreSQL driver older than this one ends the process with exit code 0, and without a word.
SILENT_NODE, SILENT_UNTIL = 14, (8, 0, 3)


def connection(place: PostgresPlace) -> ConnectionSettings:
    """The connection that couch2pg will make: its role, over the network, with or without TLS as its URL says."""
    return ConnectionSettings(
        place.database,
        place.host,
        place.port,
        place.user,
        place.password,
        ssl_mode="require" if place.encrypted else "disable",
    )


def couchdb(settings: Settings) -> CouchDB:
    """CouchDB with couch2pg's own trust: NODE_EXTRA_CA_CERTS, and NODE_TLS_REJECT_UNAUTHORIZED=0 where somebody set that."""
    variables = settings.variables
    verify = variables.get("NODE_TLS_REJECT_UNAUTHORIZED", "") != "0"
    return CouchDB(settings.couchdb, variables.get("NODE_EXTRA_CA_CERTS", "") if verify else "", verify)


def examine_source(settings: Settings) -> tuple[Findings, dict[str, Any]]:
    """Findings of the host where couch2pg runs now; facts: ``progress`` (its places) and ``followed``."""
    findings = Findings()
    facts: dict[str, Any] = {}
    findings.attempt("couch2pg settings", lambda: _settings(findings, settings))
    findings.attempt("couch2pg sync", lambda: _sync(findings, settings, facts))
    return findings, facts


def examine_target(
    settings: Settings,
    progress: Mapping[str, str],
    node: Sequence[str] = (),
    app_dir: str = "",
    rename: bool = False,
    started: bool = False,
) -> Findings:
    """Findings of the host where couch2pg will run, with the ``settings`` that it will have.

    progress: the source's places, as ``examine_source`` found them. node: the command of couch2pg's Node.js.
    rename: whether places may be renamed. started: just before its start, when the database stands under its real name.
    """
    findings = Findings()
    findings.attempt("couch2pg settings", lambda: _settings(findings, settings))
    findings.attempt("couchdb", lambda: _couchdb(findings, settings))
    if node:
        findings.attempt("couchdb certificate", lambda: _trust(findings, settings, node))
        findings.attempt("node.js", lambda: _node(findings, node, app_dir))
    place = settings.postgres
    findings.attempt("couch2pg login", lambda: _login(findings, place, app_dir))
    if started:
        findings.attempt("couch2pg rights", lambda: _rights(findings, settings, rename))
    else:
        findings.attempt("couch2pg place", lambda: _place(findings, settings, progress, rename))
    return findings


def _settings(findings: Findings, settings: Settings) -> None:
    place = settings.postgres
    for problem in settings.problems():
        findings.warning("couch2pg settings", problem)
    names = ", ".join(entry.database for entry in settings.couchdb.followed(settings.variables))
    findings.ok(
        "couch2pg settings",
        f"from {settings.couchdb.server} ({names}) to {place.database!r} at {place.host}:{place.port} as {place.user!r}",
    )


def _couchdb(findings: Findings, settings: Settings) -> None:
    server = couchdb(settings)
    followed = settings.couchdb.followed(settings.variables)
    for entry in followed:
        try:
            server.update_seq(entry.database)
        except MigrationError as error:
            if error.code != "couchdb_no_database":
                raise
            findings.failure(
                "couchdb", f"{error.message} To leave it out on purpose, set {entry.switch}=false.", code=error.code
            )
    findings.ok("couchdb", f"{settings.couchdb.server} answers from here, with couch2pg's credentials")


def _trust(findings: Findings, settings: Settings, node: Sequence[str]) -> None:
    node_trust.check(node, settings.couchdb, settings.variables)
    if settings.couchdb.scheme == "https":
        findings.ok("couchdb certificate", f"couch2pg's Node.js trusts {settings.couchdb.server}")


def _node(findings: Findings, node: Sequence[str], app_dir: str) -> None:
    try:
        said = ask([*node, "--version"], inherit=True).output.strip()
        major = int(said.lstrip("v").partition(".")[0])
    except (OSError, ValueError) as error:
        raise MigrationError(
            f"{' '.join(node)} doesn't tell its version: install the Node.js that couch2pg runs on (8, 10 or 12).",
            "node_missing",
        ) from error
    driver = login_probe.driver_version(app_dir) if app_dir else None
    if major >= SILENT_NODE and (driver is None or driver < SILENT_UNTIL):
        findings.failure(
            "node.js",
            f"couch2pg would run on Node.js {said}, where it ends at once with exit code 0, having done nothing. Install "
            "Node.js 8, 10 or 12 for it.",
            version=said,
        )
        return
    findings.ok("node.js", f"{said} at {node[-1]}")


def _login(findings: Findings, place: PostgresPlace, app_dir: str) -> None:
    """What the server asks for, judged against couch2pg's driver; then a login with couch2pg's own password."""
    asked = login_probe.probe(place.host, place.port, place.user, place.database, place.encrypted)
    driver = login_probe.driver_version(app_dir) if app_dir else None
    problem = login_probe.verdict(asked, place.user, driver)
    if problem:
        findings.failure("couch2pg login", problem, method=asked.method)
        return
    try:
        Session(connection(place)).close()
    except MigrationError as error:
        # The server looks for the database after the login. It is not there before the migration, and a role that may
        # not connect to it will get its right with the database's grants.
        if error.code == "database_missing" or "permission denied for database" in error.details.get("reason", ""):
            findings.ok("couch2pg login", f"{place.user!r} can log in at {place.host}:{place.port} ({asked.method})")
            return
        raise _no_login(place, error) from error
    findings.ok("couch2pg login", f"{place.user!r} can log in at {place.host}:{place.port} ({asked.method})")


def _no_login(place: PostgresPlace, error: MigrationError) -> MigrationError:
    if error.code != "authentication":
        return error
    return MigrationError(
        f"couch2pg can't log in to PostgreSQL at {place.host}:{place.port} as {place.user!r}: {error.details['reason']}. Give the "
        f"role its login and the password of couch2pg's settings there (ALTER ROLE ... LOGIN PASSWORD ...; CREATE ROLE if it "
        "is missing; SET password_encryption = 'md5' before, for couch2pg's old driver).",
        "couch2pg_login",
        role=place.user,
    )


def _place(findings: Findings, settings: Settings, progress: Mapping[str, str], rename: bool) -> None:
    """Would it go on from where the source's couch2pg is?"""
    found = resync_guard.match(progress, settings.couchdb.followed(settings.variables))
    changes = resync_guard.renames(found) if rename else []
    foreseen = {change["after"] for change in changes}
    resync_guard.check([entry for entry in found if entry.followed.key not in foreseen])
    if changes:
        words = ", ".join(f"{change['before']} to {change['after']}" for change in changes)
        findings.warning("couch2pg place", f"These keys of couchdb_progress will be renamed: {words}", renames=changes)
        return
    findings.ok("couch2pg place", f"it will go on from where it is in {len(found)} databases")


def _rights(findings: Findings, settings: Settings, rename: bool) -> None:
    """What couch2pg needs in the database itself; the place is the database's own now."""
    place = settings.postgres
    with Session(connection(place)) as session:
        findings.attempt("couch2pg place", partial(_place, findings, settings, resync_guard.stored(session), rename))
        if not session.value("SELECT pg_catalog.has_schema_privilege('public', 'CREATE')"):
            raise MigrationError(
                f"{place.user!r} may not create anything in the schema public of {place.database!r}, which couch2pg needs at its start. "
                f"GRANT USAGE, CREATE ON SCHEMA public TO {place.user} there.",
                "couch2pg_rights",
            )
        others = session.rows(
            "SELECT n.nspname || '.' || c.relname AS name, pg_catalog.pg_get_userbyid(c.relowner) AS owner "
            "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'm' AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') ORDER BY 1"
        )
    if others:
        names = ", ".join(f"{row['name']} (of {row['owner']})" for row in others[:3])
        raise MigrationError(
            f"{place.user!r} doesn't own {names}, and so can't refresh it; refresh_matviews() would fail as a whole. "
            f"ALTER MATERIALIZED VIEW ... OWNER TO {place.user} there.",
            "couch2pg_rights",
            matviews=others,
        )
    findings.ok("couch2pg rights", f"{place.user!r} may create in public, and owns every materialized view")


def _sync(findings: Findings, settings: Settings, facts: dict[str, Any]) -> None:
    """How far the source's couch2pg is behind CouchDB: what it lacks, the target will lack until it has caught up."""
    followed = settings.couchdb.followed(settings.variables)
    with Session(connection(settings.postgres)) as session:
        progress = resync_guard.stored(session)
    facts["progress"] = progress
    server = couchdb(settings)
    behind = {}
    for entry in followed:
        stored = seq_number(progress[entry.key]) if entry.key in progress else 0
        behind[entry.database] = max(0, server.update_seq(entry.database) - stored)
    words = ", ".join(f"{name} {count}" for name, count in behind.items())
    if any(count > _changes_limit(settings) for count in behind.values()):
        findings.warning(
            "couch2pg sync",
            f"couch2pg on the source is behind CouchDB by so many changes: {words}. See its log, and let it catch up first: the "
            "target begins where the source is.",
            behind=behind,
        )
    else:
        findings.ok("couch2pg sync", f"changes that couch2pg on the source has yet to fetch: {words}", behind=behind)


def _changes_limit(settings: Settings) -> int:
    given = settings.variables.get("COUCH2PG_CHANGES_LIMIT", "").strip()
    return int(given) if given.isdigit() and int(given) else CHANGES_LIMIT
