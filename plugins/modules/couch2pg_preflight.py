#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether couch2pg would run on the target as it runs on the source."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_preflight
short_description: Check whether couch2pg would run on the target as it runs on the source
version_added: 0.1.0
description:
  - Runs on the host where couch2pg runs, or will run, with couch2pg's own settings, as its role and over its address.
  - Returns all findings by name, each V(ok), V(warning) or V(failure). It reads only, also from CouchDB.
  - It does not fail because of a finding; look at RV(ready).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.deployment
  - cht.couch2pg.postgres
  - cht.couch2pg.reach
options:
  side:
    description: Whether couch2pg runs here now, or will.
    type: str
    required: true
    choices: [source, target]
  settings:
    description:
      - On the target, couch2pg's settings on the source, as M(cht.couch2pg.couch2pg_capture) returns them with O(ignore:with_secrets).
      - Without any, the target is taken as it is deployed.
    type: str
  settings_file:
    description: In place of O(settings), a file on this host with the settings that couch2pg will have.
    type: path
  couchdb_url:
    description: The C(COUCHDB_URL) where CouchDB has another name from here; without credentials it gets those of the settings.
    type: str
  progress:
    description: The source's places in CouchDB, C(facts.progress) of the source's side.
    type: dict
    default: {}
  rename:
    description: Whether places in couchdb_progress may get the keys that couch2pg will use.
    type: bool
    default: false
  give_login:
    description: Whether couch2pg's role will get its login, by M(cht.couch2pg.couch2pg_role), before couch2pg is started.
    type: bool
    default: false
  knows_scram:
    description:
      - Whether the source's couch2pg knows SCRAM, C(facts.knows_scram) of the source's side.
      - It counts where this host doesn't show the driver, which is in an image or yet to be installed.
    type: bool
    default: false
  started:
    description: Look into the database, too, where couch2pg is about to be started.
    type: bool
    default: false
  install:
    description: On the target, a couch2pg that is not here is no failure, since M(cht.couch2pg.couch2pg_install) will bring it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Check couch2pg where it runs
  cht.couch2pg.couch2pg_preflight:
    side: source
  register: source

- name: Check it where it will run, just before its start
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
  sample: [{name: couchdb, status: ok, message: answers from here, details: {}}]
facts:
  description: What the target's side needs to know of the source's; empty on the target.
  returned: success
  type: dict
  sample: {progress: {couch.example.org/medic: 1508-g1AAAA}, knows_scram: false}
"""

from dataclasses import replace
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, require_psycopg2, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    DEPLOYMENT_OPTIONS,
    POSTGRES_OPTION,
    REACH_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.findings import Findings
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.access import Reach
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import discovery
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.kinds import NONE, Deployment, Found
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.settings import Settings
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import expand
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import couch2pg as preflight_couch2pg

OPTIONS: dict[str, Any] = {
    "side": {"type": "str", "required": True, "choices": ["source", "target"]},
    # It bears passwords.
    "settings": {"type": "str", "no_log": True},
    "settings_file": {"type": "path"},
    "postgres": POSTGRES_OPTION,
    # It may bear a password.
    "couchdb_url": {"type": "str", "no_log": True},
    "progress": {"type": "dict", "default": {}},
    "rename": {"type": "bool", "default": False},
    "give_login": {"type": "bool", "default": False},
    "knows_scram": {"type": "bool", "default": False},
    "started": {"type": "bool", "default": False},
    "install": {"type": "bool", "default": False},
}


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, REACH_OPTIONS, OPTIONS, mutually_exclusive=[("settings", "settings_file")])
    require_psycopg2(module)
    options = module.params

    def work() -> dict[str, Any]:
        findings, deployment = Findings(), None
        facts: dict[str, Any] = {}
        try:
            deployment = discovery.find(options["deployment"])
            if options["install"] and options["side"] == "target" and not discovery.is_there(deployment):
                deployment = replace(deployment, kind=NONE)
            findings, facts = _examine(deployment, options)
        except MigrationError as error:
            findings.failure("couch2pg", error.message, **error.details, code=error.code)
        return {
            "changed": False,
            "found": deployment is None or deployment.kind != NONE,
            "ready": not findings.failed,
            "findings": findings.as_list(),
            "facts": facts,
        }

    run(module, work)


def _examine(deployment: Deployment, options: dict[str, Any]) -> tuple[Findings, dict[str, Any]]:
    if deployment.kind == NONE and options["install"] and options["side"] == "target":
        return _to_be_installed(options), {}
    if deployment.kind == NONE:
        return _nothing_here(options["side"]), {}
    if options["side"] == "source":
        found = discovery.read(deployment)
        return preflight_couch2pg.examine_source(deployment.as_found(found), found, Reach.of(options))
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
        Reach.of(options),
    )
    return findings, {}


def _nothing_here(side: str) -> Findings:
    findings = Findings()
    where = "Say where it is in couch2pg_app (kind systemd, compose or env_file)"
    if side == "source":
        findings.warning(
            "couch2pg", f"There is no couch2pg on this host: only the database moves. {where}, if that is not so."
        )
    else:
        findings.failure(
            "couch2pg",
            f"There is no couch2pg on this host, where it shall run from now on. Install it as on the source, or set couch2pg_install "
            f"to true to have that done. {where}; or set couch2pg_handover to false to move only the database.",
        )
    return findings


def _to_be_installed(options: dict[str, Any]) -> Findings:
    """What doesn't hang on its files is seen all the same: CouchDB, the login, and its place."""
    # Without settings of the source there is nothing more to see.
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
            reach=Reach.of(options),
        )
    findings.warning(
        "couch2pg",
        "There is no couch2pg on this host: it will be installed as it is on the source (couch2pg_install). Its PostgreSQL driver "
        "is taken for the source's; its Node.js, and whether that trusts CouchDB, can be seen only then.",
    )
    return findings


def _settings(options: dict[str, Any], found: Found) -> Settings:
    """Those that couch2pg will have here."""
    if options["settings_file"]:
        return couch2pg_settings.load(expand(options["settings_file"]))
    if not options["settings"]:
        return found.settings
    captured = couch2pg_settings.parse_json(options["settings"])
    given = {name: value for name, value in options["postgres"].items() if value is not None}
    moved = captured.moved_to(replace(captured.postgres, **given), found.settings.style)
    return moved.with_couchdb(options["couchdb_url"]) if options["couchdb_url"] else moved


if __name__ == "__main__":
    main()
