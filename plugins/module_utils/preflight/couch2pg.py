# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight of couch2pg itself: would it run on the target as it runs on the source? Everything is only read.

Both sides are asked in couch2pg's own name, from the host where it runs: with its settings, as its role, over its address.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Mapping

from ..common.errors import MigrationError
from ..common.findings import Findings
from ..couch2pg import checkpoint, couchdb_sync, node_trust
from ..couch2pg.access import Reach, connection, followed
from ..couch2pg.deployment.kinds import Deployment, Found
from ..couch2pg.deployment.problems import node_problem, node_version, problems
from ..couch2pg.settings import PostgresPlace, Settings
from ..postgres import login_probe
from ..postgres.connection import Session

# What couch2pg takes from CouchDB at once when COUCH2PG_CHANGES_LIMIT doesn't say otherwise.
CHANGES_LIMIT = 10000
DIRECTLY = Reach()


def examine_source(deployment: Deployment, found: Found, reach: Reach = DIRECTLY) -> tuple[Findings, dict[str, Any]]:
    """Findings of the host where couch2pg runs now; facts: ``progress``, its places, and ``knows_scram``."""
    findings = Findings()
    facts: dict[str, Any] = {}
    for problem in problems(found, deployment.app_dir):
        findings.warning("couch2pg", problem)
    if found.running:
        findings.ok("couch2pg", f"runs here ({deployment.kind})")
    else:
        findings.warning(
            "couch2pg", f"is here ({deployment.kind}), and doesn't run: nothing new reaches the source. See its log."
        )
    findings.attempt("couch2pg settings", lambda: _settings(findings, found.settings))
    findings.attempt("couch2pg sync", lambda: _sync(findings, found.settings, reach, facts))
    # Without an answer from PostgreSQL there is nothing more to be seen.
    if "progress" in facts:
        facts["knows_scram"] = _knows_scram(found, reach, deployment.app_dir)
    return findings, facts


def examine_target(
    deployment: Deployment,
    found: Found,
    settings: Settings,
    progress: Mapping[str, str],
    rename: bool = False,
    give_login: bool = False,
    knows_scram: bool = False,
    started: bool = False,
    reach: Reach = DIRECTLY,
) -> Findings:
    """Findings of the host where couch2pg will run, ``found`` as it is there, with the ``settings`` that it will have.

    progress: the source's places, as ``examine_source`` found them. rename: whether places may be renamed.
    give_login: whether the role will get its login before the start.
    knows_scram: what ``examine_source`` found, for a driver that can't be seen here: in an image, or not yet installed.
    started: just before its start, when the database stands under its real name.
    reach: where this host finds what couch2pg knows by other names.
    """
    findings = Findings()
    app_dir = deployment.app_dir
    driver = login_probe.driver_version(app_dir) if app_dir else None
    if driver is None and knows_scram:
        driver = login_probe.SCRAM_SINCE
    findings.attempt("couch2pg settings", lambda: _settings(findings, settings))
    findings.attempt("couchdb", lambda: _couchdb(findings, settings, reach))
    if found.node:
        findings.attempt("couchdb certificate", lambda: _trust(findings, settings, found.node))
    findings.attempt("node.js", lambda: _node(findings, found, app_dir))
    findings.attempt("couch2pg login", lambda: _login(findings, reach.postgres(settings), driver, give_login))
    if started:
        findings.attempt("couch2pg rights", lambda: _rights(findings, settings, reach, rename))
    else:
        findings.attempt("couch2pg place", lambda: _place(findings, settings, progress, rename))
    return findings


def _settings(findings: Findings, settings: Settings) -> None:
    place = settings.postgres
    for problem in settings.problems():
        findings.warning("couch2pg settings", problem)
    names = ", ".join(entry.database for entry in followed(settings))
    findings.ok(
        "couch2pg settings",
        f"from {settings.couchdb.server} ({names}) to {place.database!r} at {place.host}:{place.port} as {place.user!r}",
    )


def _couchdb(findings: Findings, settings: Settings, reach: Reach) -> None:
    server = reach.couchdb(settings)
    databases = followed(settings)
    for entry in databases:
        try:
            server.update_seq(entry.database)
        except MigrationError as error:
            if error.code != "couchdb_no_database":
                raise
            findings.failure(
                "couchdb", f"{error.message} To leave it out on purpose, set {entry.switch}=false.", code=error.code
            )
    findings.ok("couchdb", f"{settings.couchdb.server} answers from here, with couch2pg's credentials")


def _trust(findings: Findings, settings: Settings, node: str) -> None:
    node_trust.check([node], settings.couchdb, settings.variables)
    if settings.couchdb.scheme == "https":
        findings.ok("couchdb certificate", f"couch2pg's Node.js trusts {settings.couchdb.server}")


def _node(findings: Findings, found: Found, app_dir: str) -> None:
    problem = node_problem(found, app_dir)
    version = ".".join(map(str, node_version(found)))
    if problem:
        findings.failure("node.js", problem, version=version)
    elif version:
        findings.ok("node.js", f"{version} runs couch2pg here")


def _login(findings: Findings, place: PostgresPlace, driver: tuple[int, ...] | None, give_login: bool) -> None:
    """What the server asks for, judged against couch2pg's driver; then a login with couch2pg's own password."""
    asked = login_probe.probe(place.host, place.port, place.user, place.database, place.encrypted)
    problem = login_probe.login_problem(asked, place.user, driver)
    if problem and asked.method == "scram" and give_login:
        _will_be_given(findings, place)
        return
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
        if error.code == "authentication" and give_login:
            _will_be_given(findings, place)
            return
        raise _no_login(place, error) from error
    findings.ok("couch2pg login", f"{place.user!r} can log in at {place.host}:{place.port} ({asked.method})")


def _will_be_given(findings: Findings, place: PostgresPlace) -> None:
    findings.warning(
        "couch2pg login",
        f"{place.user!r} can't log in at {place.host}:{place.port} yet; before couch2pg is started it gets its login, with the "
        "password of couch2pg's settings.",
    )


def _no_login(place: PostgresPlace, error: MigrationError) -> MigrationError:
    if error.code != "authentication":
        return error
    return MigrationError(
        f"couch2pg can't log in to PostgreSQL at {place.host}:{place.port} as {place.user!r}: {error.details['reason']}. Give the "
        f"role its login and the password of couch2pg's settings there (ALTER ROLE ... LOGIN PASSWORD ...; CREATE ROLE if it "
        "is missing; SET password_encryption = 'md5' before, for couch2pg's old driver). Or let this be done: couch2pg_give_login.",
        "couch2pg_login",
        role=place.user,
    )


def _place(findings: Findings, settings: Settings, progress: Mapping[str, str], rename: bool) -> None:
    """Would it go on from where the source's couch2pg is?"""
    found = checkpoint.match(progress, followed(settings))
    changes = checkpoint.renames(found) if rename else []
    foreseen = {change["after"] for change in changes}
    checkpoint.check([entry for entry in found if entry.followed.key not in foreseen])
    if changes:
        words = ", ".join(f"{change['before']} to {change['after']}" for change in changes)
        findings.warning("couch2pg place", f"These keys of couchdb_progress will be renamed: {words}", renames=changes)
        return
    findings.ok("couch2pg place", f"it will go on from where it is in {len(found)} databases")


def _rights(findings: Findings, settings: Settings, reach: Reach, rename: bool) -> None:
    """What couch2pg needs in the database itself; the place is the database's own now."""
    place = reach.postgres(settings)
    with Session(connection(place)) as session:
        findings.attempt("couch2pg place", partial(_place, findings, settings, checkpoint.stored(session), rename))
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


def _sync(findings: Findings, settings: Settings, reach: Reach, facts: dict[str, Any]) -> None:
    """How far the source's couch2pg is behind CouchDB: what it lacks, the target will lack until it has caught up."""
    with Session(connection(reach.postgres(settings))) as session:
        facts["progress"] = checkpoint.stored(session)
    client, databases = reach.couchdb(settings), followed(settings)
    marks = {key: state.update_seq for key, state in couchdb_sync.take_marks(client, databases).items()}
    found = couchdb_sync.settle(client, couchdb_sync.compare(checkpoint.match(facts["progress"], databases), marks))
    behind = {entry.place.followed.database: entry.as_dict()["behind"] for entry in found}
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


def _knows_scram(found: Found, reach: Reach, app_dir: str) -> bool:
    """Whether the driver does. One that can't be seen, in an image, does when it runs and is asked for it."""
    driver = login_probe.driver_version(app_dir) if app_dir else None
    if driver is not None or not found.running:
        return login_probe.knows_scram(driver)
    place = reach.postgres(found.settings)
    return login_probe.probe(place.host, place.port, place.user, place.database, place.encrypted).method == "scram"


def _changes_limit(settings: Settings) -> int:
    given = settings.variables.get("COUCH2PG_CHANGES_LIMIT", "").strip()
    return int(given) if given.isdigit() and int(given) else CHANGES_LIMIT
