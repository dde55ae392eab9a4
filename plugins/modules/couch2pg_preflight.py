#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether couch2pg would run on the target as it runs on the source."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_preflight
short_description: Check whether couch2pg would run on the target as it runs on the source
version_added: 0.1.0
description:
  - Runs on the host where couch2pg runs, or will run. Connects to CouchDB and PostgreSQL with couch2pg's own settings and role.
  - Returns all findings by name, each V(ok), V(warning) or V(failure). Writes nothing, neither on the host nor to CouchDB.
  - A finding doesn't fail the module, except with O(started). Look at RV(ready).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.deployment
  - cht.couch2pg.postgres
  - cht.couch2pg.reach
options:
  side:
    description: V(source) when couch2pg runs on this host now, V(target) when it will run here.
    type: str
    required: true
    choices: [source, target]
  with_secrets:
    description: On the source, also return couch2pg's settings with their credentials in RV(settings_json). The task needs C(no_log).
    type: bool
    default: false
  settings:
    description:
      - On the target, couch2pg's settings on the source, as RV(settings_json) of that side.
      - Without them, the settings of the deployment on this host are checked.
    type: str
  settings_file:
    description: In place of O(settings), a file on this host with the settings that couch2pg will have.
    type: path
  couchdb_url:
    description: The C(COUCHDB_URL), when CouchDB has another name on this host. Without credentials it gets those of the settings.
    type: str
  progress:
    description: couch2pg's checkpoints on the source, C(facts.progress) of that side.
    type: dict
    default: {}
  source_identity:
    description:
      - The deployment on the source, C(facts.identity) of that side. The same deployment of the same host is refused on the target.
      - With O(promoted), it is a warning.
    type: dict
    default: {}
  rename:
    description: Whether M(cht.couch2pg.couch2pg_checkpoint) may rename checkpoints before couch2pg is started.
    type: bool
    default: false
  give_login:
    description: Whether M(cht.couch2pg.role_login) will give couch2pg's role its login before couch2pg is started.
    type: bool
    default: false
  knows_scram:
    description:
      - Whether the source's couch2pg knows SCRAM, C(facts.knows_scram) of that side.
      - Used when this host doesn't show couch2pg's driver, because it is in an image or not yet installed.
    type: bool
    default: false
  started:
    description: Whether couch2pg is started next. Then the module also checks the database itself, and fails when a finding is a failure.
    type: bool
    default: false
  promoted:
    description: Whether the migrated database has its real name already. Then its own checkpoints are checked, instead of O(progress).
    type: bool
    default: false
  created_roles:
    description: Roles that the target lacks, and that the restore creates without login, C(facts.created_roles) of
      M(cht.couch2pg.preflight) there.
    type: list
    elements: str
    default: []
  migration_seconds:
    description:
      - The shortest and the longest estimate of the migration, C(facts.seconds) of M(cht.couch2pg.preflight) on the target.
      - The module compares them with the time that couch2pg would need to fetch every document again into an empty database.
    type: list
    elements: int
    default: []
  clean_install:
    description: On the target, whether to measure that time for O(migration_seconds); false for a migration that has been promoted.
    type: bool
    default: true
  install:
    description: Whether couch2pg will be installed on the target. Then a missing couch2pg is a warning there, and no failure.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Check couch2pg where it runs now
  cht.couch2pg.couch2pg_preflight:
    side: source
  register: source

- name: Check couch2pg where it will run, just before its start
  cht.couch2pg.couch2pg_preflight:
    side: target
    settings_file: ~/couch2pg-migration/cht/couch2pg_target.json
    started: true
"""

RETURN = r"""
found:
  description: Whether there is a couch2pg on this host.
  returned: success
  type: bool
  sample: true
ready:
  description: Whether no finding is a failure.
  returned: success
  type: bool
  sample: true
findings:
  description: Every finding in the order of the checks.
  returned: success
  type: list
  elements: dict
  sample: [{name: couchdb, status: ok, message: "https://couch.example.org answers from here, with couch2pg's credentials", details: {}}]
settings_json:
  description: couch2pg's settings on the source with their credentials, for the option O(settings) of this and other modules.
  returned: with O(with_secrets), when the source's settings can be read
  type: str
  sample: '{"format": 1, ...}'
facts:
  description: Facts of the source for the check of the target; empty on the target.
  returned: success
  type: dict
  sample:
    progress: {couch.example.org/medic: 1508-g1AAAA}
    knows_scram: false
    identity: {host: "0cbc6611-f554-4bd0-809a-388dc95a615b pid:[4026531836] 2049:2", deployment: the unit couch2pg.service}
"""

from dataclasses import dataclass, field, replace
from typing import Mapping, TypedDict

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import require_psycopg2
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    DEPLOYMENT_OPTIONS,
    POSTGRES_OPTION,
    REACH_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.findings import FAILURE, Findings
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.access import Reach
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import discovery
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.identity import Identity
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.kinds import (
    NONE,
    Deployment,
    Found,
    missed,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.settings import Settings
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import expand
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import couch2pg as preflight_couch2pg

OPTIONS: dict[str, Option] = {
    "side": {"type": "str", "required": True, "choices": ["source", "target"]},
    # It contains passwords.
    "settings": {"type": "str", "no_log": True},
    "with_secrets": {"type": "bool", "default": False, "no_log": False},
    "settings_file": {"type": "path"},
    "postgres": POSTGRES_OPTION,
    # It may contain a password.
    "couchdb_url": {"type": "str", "no_log": True},
    "progress": {"type": "dict", "default": {}},
    "source_identity": {"type": "dict", "default": {}},
    "rename": {"type": "bool", "default": False},
    "give_login": {"type": "bool", "default": False},
    "knows_scram": {"type": "bool", "default": False},
    "started": {"type": "bool", "default": False},
    "promoted": {"type": "bool", "default": False},
    "clean_install": {"type": "bool", "default": True},
    "created_roles": {"type": "list", "elements": "str", "default": []},
    "migration_seconds": {"type": "list", "elements": "int", "default": []},
    "install": {"type": "bool", "default": False},
}


class Options(TypedDict):
    """The options that the checks depend on. settings: of the source, with its passwords; progress: the checkpoints, by their key."""

    ca_cert: str
    couchdb_server: str
    login_host: str
    login_port: int | None
    side: str
    settings: str | None
    settings_file: str | None
    postgres: dict[str, object]
    couchdb_url: str | None
    progress: dict[str, str]
    source_identity: Identity
    rename: bool
    give_login: bool
    knows_scram: bool
    started: bool
    promoted: bool
    clean_install: bool
    created_roles: list[str]
    migration_seconds: list[int]
    install: bool


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, REACH_OPTIONS, OPTIONS, mutually_exclusive=[("settings", "settings_file")])
    require_psycopg2(module)
    options = module.params

    def work() -> Mapping[str, object]:
        examined = Examined(Findings())
        deployment = None
        try:
            deployment = named = discovery.find(options["deployment"])
            if options["install"] and options["side"] == "target" and not discovery.is_there(deployment):
                deployment = replace(deployment, kind=NONE)
            examined = _examine(deployment, options)
            if options["side"] == "target":
                preflight_couch2pg.check_log(examined.findings, named)
        except MigrationError as error:
            examined.findings.failure("couch2pg", error.message, **error.details, code=error.code)
        findings = examined.findings
        if options["started"] and findings.failed:
            raise MigrationError(
                f"couch2pg is not started. {' '.join(finding.message for finding in findings.found if finding.status == FAILURE)}",
                "couch2pg_not_ready",
                findings=findings.as_list(),
            )
        settings = examined.settings if options["with_secrets"] else None
        return {
            "changed": False,
            "found": deployment is None or deployment.kind != NONE,
            "ready": not findings.failed,
            "findings": findings.as_list(),
            "facts": examined.facts,
            **({"settings_json": settings.as_json()} if settings else {}),
        }

    run(module, work)


@dataclass(frozen=True)
class Examined:
    """Findings of one side; of the source also facts, and the settings when the deployment has any."""

    findings: Findings
    facts: preflight_couch2pg.SourceFacts = field(default_factory=preflight_couch2pg.SourceFacts)
    settings: Settings | None = None


def _examine(deployment: Deployment, options: Options) -> Examined:
    if deployment.kind == NONE and options["install"] and options["side"] == "target":
        return Examined(_to_be_installed(options))
    if deployment.kind == NONE:
        return Examined(_nothing_here(options["side"], missed(deployment)))
    if options["side"] == "source":
        found = discovery.read(deployment)
        findings, facts = preflight_couch2pg.examine_source(deployment.as_found(found), found, Reach.of(options))
        return Examined(findings, facts, found.settings)
    found = discovery.read_or_nothing(deployment)
    findings = preflight_couch2pg.examine_target(
        deployment.as_found(found),
        found,
        _settings(options, found),
        options["progress"],
        options["rename"],
        options["give_login"],
        options["knows_scram"],
        options["started"],
        options["promoted"],
        options["created_roles"],
        options["migration_seconds"],
        Reach.of(options),
        options["clean_install"],
    )
    if options["source_identity"]:
        preflight_couch2pg.check_identity(
            findings, deployment.as_found(found), options["source_identity"], options["promoted"]
        )
    return Examined(findings)


def _nothing_here(side: str, missed_why: str) -> Findings:
    findings = Findings()
    where = "set couch2pg_app (kind systemd, compose or env_file)"
    if side == "source":
        findings.warning(
            "couch2pg",
            f"There is no couch2pg on this host: only the database is migrated. If couch2pg is here, {where}.{missed_why}",
        )
    else:
        findings.failure(
            "couch2pg",
            f"There is no couch2pg on this host, to which it is moved. Set couch2pg_install: true to install it as on the source. If it is "
            f"installed already, {where}. To migrate only the database, set couch2pg_handover: false.{missed_why}",
        )
    return findings


def _to_be_installed(options: Options) -> Findings:
    """The checks that need no files of couch2pg: CouchDB, the login, and the checkpoints."""
    # Without the source's settings nothing can be checked.
    settings = couch2pg_settings.parse_json(options["settings"]) if options["settings"] else None
    findings = Findings()
    if settings is not None:
        nothing = Found(Settings({}, settings.style), False)
        findings = preflight_couch2pg.examine_target(
            Deployment(NONE),
            nothing,
            _settings(options, nothing),
            options["progress"],
            options["rename"],
            options["give_login"],
            options["knows_scram"],
            promoted=options["promoted"],
            created_roles=options["created_roles"],
            migration_seconds=options["migration_seconds"],
            reach=Reach.of(options),
            compare=options["clean_install"],
        )
    findings.warning(
        "couch2pg",
        "There is no couch2pg on this host: couch2pg_install will install it as on the source. These checks assume the source's "
        "PostgreSQL driver. Node.js, and whether it trusts CouchDB's certificate, can be checked only after the installation.",
    )
    return findings


def _settings(options: Options, found: Found) -> Settings:
    """The settings that couch2pg will have on this host."""
    if options["settings_file"]:
        return couch2pg_settings.load(expand(options["settings_file"]))
    if not options["settings"]:
        return found.settings
    captured = couch2pg_settings.parse_json(options["settings"])
    return couch2pg_settings.for_target(captured, found.settings, options["postgres"], options["couchdb_url"])


if __name__ == "__main__":
    main()
