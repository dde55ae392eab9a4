# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight of couch2pg: checks whether it would run on the target as it runs on the source. Nothing is written.

The checks run on couch2pg's host, and use couch2pg's settings, role and addresses.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from typing import Mapping, Sequence, TypedDict

from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.findings import Findings
from ..couch2pg import checkpoint, couchdb_sync, node_trust
from ..couch2pg.access import Reach, connection, followed
from ..couch2pg.deployment.identity import Identity, identify, is_same
from ..couch2pg.deployment.kinds import ENV_FILE, NONE, Deployment, Found
from ..couch2pg.deployment.problems import node_problem, node_version, problems
from ..couch2pg.settings import PostgresPlace, Settings
from ..postgres import login_probe
from ..postgres.connection_errors import INSUFFICIENT_PRIVILEGE
from ..postgres.identifiers import quote
from ..postgres.session import Session
from . import clean_install

# How many changes and how many documents couch2pg reads from CouchDB at once without COUCH2PG_CHANGES_LIMIT and COUCH2PG_DOC_LIMIT.
CHANGES_LIMIT = 10000
DOC_LIMIT = 100
DIRECTLY = Reach()


class SourceFacts(TypedDict, total=False):
    """Facts of the source that the target's check needs. A fact that could not be read is missing.

    progress: the stored sequence by the key of each checkpoint. knows_scram: whether couch2pg's driver knows SCRAM.
    identity: of the deployment.
    """

    progress: dict[str, str]
    knows_scram: bool
    identity: Identity


def examine_source(deployment: Deployment, found: Found, reach: Reach = DIRECTLY) -> tuple[Findings, SourceFacts]:
    """Findings and facts of the host where couch2pg runs now."""
    findings = Findings()
    facts = SourceFacts(identity=identify(deployment))
    for problem in problems(found, deployment.app_dir):
        findings.warning("couch2pg", problem)
    if found.running:
        findings.ok("couch2pg", f"runs here ({deployment.kind})")
    else:
        findings.warning(
            "couch2pg",
            f"is installed here ({deployment.kind}) but doesn't run: the source gets no changes from CouchDB. Read its log.",
        )
    findings.attempt("couch2pg settings", lambda: _settings(findings, found.settings))
    findings.attempt("couch2pg sync", lambda: _sync(findings, found.settings, reach, facts))
    # Without an answer from PostgreSQL, the driver can't be probed either.
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
    promoted: bool = False,
    created_roles: Sequence[str] = (),
    migration_seconds: Sequence[float] = (),
    reach: Reach = DIRECTLY,
    compare: bool = True,
) -> Findings:
    """Findings of the host where couch2pg will run. ``found`` is its deployment there, ``settings`` what it will have.

    progress: the source's checkpoints, from ``examine_source``. rename: whether checkpoints may be renamed.
    give_login: whether the role will get its login before the start.
    knows_scram: the fact of ``examine_source``. Used when this host can't tell the driver: it is in an image, or not yet installed.
    started: whether couch2pg is started next, so that the database exists under its real name.
    promoted: whether the database has its real name already, so that its own checkpoints count.
    created_roles: roles that the target lacks, which the restore creates without login.
    migration_seconds: the shortest and the longest estimate of the migration, if it is known.
    reach: the addresses that work on this host.
    compare: whether to measure how long a clean install would take.
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
    findings.attempt("node.js", lambda: _node(findings, deployment, found))
    findings.attempt(
        "couch2pg login", lambda: _login(findings, reach.postgres(settings), driver, give_login, created_roles)
    )
    if started:
        findings.attempt("couch2pg rights", lambda: _rights(findings, settings, reach, rename))
    else:
        known = _own_checkpoints(settings, reach, progress) if promoted else progress
        findings.attempt("couch2pg checkpoints", lambda: _checkpoints(findings, settings, known, rename))
    if compare and not (started or promoted or findings.failed):
        findings.attempt(clean_install.NAME, lambda: _clean_install(findings, settings, reach, migration_seconds))
    return findings


def check_identity(findings: Findings, deployment: Deployment, source: Identity, promoted: bool) -> None:
    """Refuse a deployment that is the source's, too, as on one machine under two names of the inventory.

    promoted: whether the database has its real name already. Then the deployment is not stopped for a restore any more.
    """
    if not is_same(identify(deployment), source):
        return
    both = f"couch2pg of the source and of the target are the same deployment, {source['deployment']} on one host"
    if promoted:
        findings.warning(
            "couch2pg",
            f"{both}. couch2pg_cleanup: source_couch2pg would stop it for good. Before that, set couch2pg_app of the source's host to the "
            "couch2pg that ran before the migration; if there is none, leave that step out.",
            code="one_deployment",
        )
        return
    findings.failure(
        "couch2pg",
        f"{both}, so that the run would stop it before the restore. For two deployments on that host, give each of its names in the "
        "inventory its own couch2pg_app. If one couch2pg stays, set couch2pg_handover: false, and give it the address of the target "
        "yourself after the promotion.",
        code="one_deployment",
    )


def check_log(findings: Findings, deployment: Deployment) -> None:
    """Refuse a deployment whose log is unknown: the handover, which comes after the promotion, could not watch couch2pg."""
    if deployment.kind != NONE and not deployment.where_its_log_is():
        findings.failure(
            "couch2pg log",
            "couch2pg_app has no log, so that nothing would show whether couch2pg is healthy on the target. Add where its log is, such as "
            "log: {kind: file, path: /var/log/couch2pg.log}.",
            code="log_unknown",
        )


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
                "couchdb",
                f"{error.message} If couch2pg shall not copy this database, set {entry.switch}=false in its settings.",
                code=error.code,
            )
    findings.ok("couchdb", f"{settings.couchdb.server} answers from here, with couch2pg's credentials")


def _clean_install(findings: Findings, settings: Settings, reach: Reach, migration_seconds: Sequence[float]) -> None:
    databases = [entry.database for entry in followed(settings)]
    found = clean_install.measure(reach.couchdb(settings), databases, _limit(settings, "COUCH2PG_DOC_LIMIT", DOC_LIMIT))
    findings.ok(
        clean_install.NAME,
        found.describe(migration_seconds),
        documents=found.documents,
        seconds=round(found.estimate),
    )


def _trust(findings: Findings, settings: Settings, node: str) -> None:
    node_trust.check([node], settings.couchdb, settings.variables)
    if settings.couchdb.scheme == "https":
        findings.ok("couchdb certificate", f"couch2pg's Node.js trusts {settings.couchdb.server}")


def _node(findings: Findings, deployment: Deployment, found: Found) -> None:
    if deployment.kind == ENV_FILE and not found.node:
        _guessed_node(findings, deployment, found)
        return
    problem = node_problem(found, deployment.app_dir)
    version = ".".join(map(str, node_version(found)))
    if problem:
        findings.failure("node.js", problem, version=version)
    elif version:
        findings.ok("node.js", f"{version} runs couch2pg here")


def _guessed_node(findings: Findings, deployment: Deployment, found: Found) -> None:
    """Check the Node.js on the PATH, which is only a guess: the operator's own commands start couch2pg."""
    guessed = replace(found, node=shutil.which("node") or "")
    problem = node_problem(guessed, deployment.app_dir)
    name_it = "If couch2pg runs on another Node.js, name that program as node in couch2pg_app."
    if problem:
        findings.warning("node.js", f"With the Node.js on this host's PATH, {problem} {name_it}")
    elif not node_version(guessed):
        findings.warning(
            "node.js",
            "Which Node.js runs couch2pg is unknown, and with Node.js 14 or later a stock couch2pg ends at once without a message. "
            "Name the program as node in couch2pg_app.",
        )


def _login(
    findings: Findings,
    place: PostgresPlace,
    driver: tuple[int, ...] | None,
    give_login: bool,
    created_roles: Sequence[str],
) -> None:
    """Compare the server's authentication method with couch2pg's driver, then try a login with couch2pg's password."""
    if place.user in created_roles:
        # The server asks for the password of a role that doesn't exist, too, so that its answer says nothing.
        if not give_login:
            raise MigrationError(
                f"The target has no role {place.user!r}, and the restore would create it without login. Set couch2pg_give_login: "
                "true, so that it gets its login with the password in couch2pg's settings. Or create it there before, with that "
                f"password: {_by_hand('CREATE', place.user, driver)}",
                "couch2pg_login",
                role=place.user,
            )
        _will_be_given(findings, place)
        return
    asked = login_probe.probe(place.host, place.port, place.user, place.database, place.encrypted)
    problem = login_probe.login_problem(asked, connection(place), driver)
    if problem and asked.method == "scram" and give_login:
        _will_be_given(findings, place)
        return
    if problem:
        findings.failure("couch2pg login", problem, method=asked.method)
        return
    try:
        Session(connection(place)).close()
    except MigrationError as error:
        # The server checks the database only after the password. Before the migration the database doesn't exist; a missing
        # right to connect comes with the database's grants.
        if error.code == "database_missing" or error.details.get("sqlstate") == INSUFFICIENT_PRIVILEGE:
            findings.ok("couch2pg login", f"{place.user!r} can log in at {place.host}:{place.port} ({asked.method})")
            return
        if error.code == "authentication" and give_login:
            _will_be_given(findings, place)
            return
        raise _no_login(place, error, driver) from error
    findings.ok("couch2pg login", f"{place.user!r} can log in at {place.host}:{place.port} ({asked.method})")


def _will_be_given(findings: Findings, place: PostgresPlace) -> None:
    findings.warning(
        "couch2pg login",
        f"{place.user!r} can't log in at {place.host}:{place.port} yet. Before couch2pg is started, the role gets its login and the "
        "password in couch2pg's settings (couch2pg_give_login).",
    )


def _by_hand(verb: str, user: str, driver: tuple[int, ...] | None) -> str:
    """The statements that give a role its login. An old driver, or an unknown one, needs the password as md5."""
    old = driver is None or driver < login_probe.SCRAM_SINCE
    first = "SET password_encryption = 'md5'; " if old else ""
    return f"{first}{verb} ROLE {quote(user)} LOGIN PASSWORD 'PASSWORD';"


def _no_login(place: PostgresPlace, error: MigrationError, driver: tuple[int, ...] | None) -> MigrationError:
    if error.code != "authentication":
        return error
    return MigrationError(
        f"couch2pg can't log in to PostgreSQL at {place.host}:{place.port} as {place.user!r}: {error.details['reason']}. Set "
        "couch2pg_give_login: true to give the role its login with the password in couch2pg's settings. Or do it there yourself, with that "
        f"password (and CREATE in place of ALTER, if there is no such role): {_by_hand('ALTER', place.user, driver)}",
        "couch2pg_login",
        role=place.user,
    )


def _checkpoints(findings: Findings, settings: Settings, progress: Mapping[str, str], rename: bool) -> None:
    """Check that couch2pg will continue from the source's checkpoints."""
    found = checkpoint.match(progress, followed(settings))
    changes = checkpoint.renames(found) if rename else []
    predicted = {change["after"] for change in changes}
    checkpoint.check([entry for entry in found if entry.followed.key not in predicted])
    if changes:
        words = ", ".join(f"{change['before']} to {change['after']}" for change in changes)
        findings.warning(
            "couch2pg checkpoints", f"These keys of couchdb_progress will be renamed: {words}", renames=changes
        )
        return
    findings.ok(
        "couch2pg checkpoints", f"couch2pg will continue from its checkpoints in {counted(len(found), 'database')}"
    )


def _own_checkpoints(settings: Settings, reach: Reach, progress: Mapping[str, str]) -> Mapping[str, str]:
    """The checkpoints in the migrated database; those of the source (``progress``) when couch2pg can't read it yet."""
    try:
        with Session(connection(reach.postgres(settings))) as session:
            return checkpoint.stored(session)
    except MigrationError:
        return progress


def _rights(findings: Findings, settings: Settings, reach: Reach, rename: bool) -> None:
    """Check the migrated database: its own checkpoints, and the rights that couch2pg needs."""
    place = reach.postgres(settings)
    with Session(connection(place)) as session:
        findings.attempt(
            "couch2pg checkpoints", partial(_checkpoints, findings, settings, checkpoint.stored(session), rename)
        )
        if not session.value("SELECT pg_catalog.has_schema_privilege('public', 'CREATE')"):
            raise MigrationError(
                f"{place.user!r} may not create tables in the schema public of {place.database!r}; couch2pg does that when it starts. "
                f"In that database: GRANT USAGE, CREATE ON SCHEMA public TO {quote(place.user)};",
                "couch2pg_rights",
            )
        others = session.rows(
            "SELECT n.nspname || '.' || c.relname AS name, pg_catalog.pg_get_userbyid(c.relowner) AS owner, pg_catalog.format("
            "'ALTER MATERIALIZED VIEW %I.%I OWNER TO %I;', n.nspname, c.relname, current_user) AS statement "
            "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'm' AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') ORDER BY 1"
        )
    if others:
        names = ", ".join(f"{row['name']} (of {row['owner']})" for row in others[:3])
        raise MigrationError(
            f"{place.user!r} doesn't own {names}, so that it can't refresh them, and refresh_matviews() fails. "
            f"In that database: {' '.join(row['statement'] for row in others)}",
            "couch2pg_rights",
            matviews=others,
        )
    findings.ok("couch2pg rights", f"{place.user!r} may create tables in public and owns every materialized view")


def _sync(findings: Findings, settings: Settings, reach: Reach, facts: SourceFacts) -> None:
    """How many changes the source's couch2pg is behind CouchDB. The target lacks the same changes until couch2pg catches up."""
    with Session(connection(reach.postgres(settings))) as session:
        facts["progress"] = checkpoint.stored(session)
    client, databases = reach.couchdb(settings), followed(settings)
    marks = {key: state.update_seq for key, state in couchdb_sync.take_marks(client, databases).items()}
    found = couchdb_sync.settle(client, couchdb_sync.compare(checkpoint.match(facts["progress"], databases), marks))
    behind = {entry.checkpoint.followed.database: entry.as_dict()["behind"] for entry in found}
    words = ", ".join(f"{name} {count}" for name, count in behind.items())
    if any(count > _limit(settings, "COUCH2PG_CHANGES_LIMIT", CHANGES_LIMIT) for count in behind.values()):
        findings.warning(
            "couch2pg sync",
            f"couch2pg on the source is many changes behind CouchDB: {words}. Read its log, and let it catch up first: the target starts "
            "with what the source has.",
            behind=behind,
        )
    else:
        findings.ok("couch2pg sync", f"changes that couch2pg on the source has yet to fetch: {words}", behind=behind)


def _knows_scram(found: Found, reach: Reach, app_dir: str) -> bool:
    """Whether couch2pg's driver knows SCRAM. A driver in an image does when couch2pg runs and its server asks for SCRAM."""
    driver = login_probe.driver_version(app_dir) if app_dir else None
    if driver is not None or not found.running:
        return login_probe.knows_scram(driver)
    place = reach.postgres(found.settings)
    return login_probe.probe(place.host, place.port, place.user, place.database, place.encrypted).method == "scram"


def _limit(settings: Settings, name: str, usual: int) -> int:
    given = settings.variables.get(name, "").strip()
    return int(given) if given.isdigit() and int(given) else usual
