#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How couch2pg is deployed on a host, its settings, and whether it is up to date."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_info
short_description: Read how couch2pg is deployed on a host, its settings, and whether it is up to date
version_added: 0.1.0
description:
  - Reads the environment that couch2pg gets from a systemd unit with its drop-ins and environment files, from Docker Compose as
    Compose resolves it, or from a file that a shell reads. Variables that couch2pg doesn't know are included.
  - With O(sync), compares couch2pg's checkpoints with CouchDB. couch2pg is up to date when everything that CouchDB had when the
    module started has arrived in PostgreSQL.
  - Writes nothing. Without O(with_secrets), the result contains no credentials.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.deployment
  - cht.couch2pg.reach
options:
  with_secrets:
    description: Also return the settings with their credentials, for other modules. The task needs C(no_log).
    type: bool
    default: false
  sync:
    description: Also ask CouchDB and PostgreSQL, as couch2pg's role, whether couch2pg is up to date. Needs psycopg2 on the host.
    type: bool
    default: false
  most_behind:
    description:
      - With O(sync), how many changes may be missing. couch2pg sleeps between two runs, and a busy CouchDB changes during that time.
    type: int
    default: 0
  timeout:
    description: With O(sync), how many seconds a running couch2pg that is behind has to catch up.
    type: float
    default: 60
  identity:
    description: With O(sync), the system identifier of the server that couch2pg must write to; empty for any server.
    type: str
    default: ""
  oid:
    description: With O(sync), the oid of the database that couch2pg must write to; 0 for any database.
    type: int
    default: 0
  server:
    description:
      - With O(oid), the running server that couch2pg must write to, C(permission.target.running) of M(cht.couch2pg.migration_info).
      - After the method physical, source and target have the same system identifier and the same oid.
    type: str
    default: ""
  not_server:
    description: With O(oid), the running server that couch2pg must not write to.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Read the settings of the unit couch2pg, or of the container of couch2pg
  cht.couch2pg.couch2pg_info:

- name: Read them from a Compose project
  cht.couch2pg.couch2pg_info:
    deployment:
      kind: compose
      project_dir: /opt/couch2pg
      env_files: [couch2pg.env]

- name: Check whether couch2pg is up to date
  cht.couch2pg.couch2pg_info:
    sync: true
    most_behind: 100
  register: couch2pg

- name: Stop when it is not
  ansible.builtin.assert:
    that: not couch2pg.not_current
    fail_msg: "{{ couch2pg.not_current | join('; ') }}"
"""

RETURN = r"""
found:
  description: Whether this host has a couch2pg. Without one, only this, RV(deployment), RV(reason) and RV(not_current) are returned.
  returned: success
  type: bool
  sample: true
reason:
  description: What was searched for without success, and what could not be searched.
  returned: when not found
  type: str
  sample: "There is no couch2pg on this host: ..."
deployment:
  description: The deployment as found, for the same option of other modules. Its C(log) is as module
    M(cht.couch2pg.couch2pg_log_info) takes it; empty when the place of the log isn't known.
  returned: success
  type: dict
  sample: {kind: systemd, unit: couch2pg, app_dir: /opt/couch2pg, log: {kind: journald, unit: couch2pg}}
settings:
  description: The variables, with credentials masked.
  returned: when found
  type: dict
  sample: {COUCHDB_URL: "https://medic:********@couch.example.org/medic", COUCH2PG_SLEEP_MINS: "60"}
settings_json:
  description: The settings with their credentials, for the option C(settings) of other modules.
  returned: with O(with_secrets)
  type: str
  sample: '{"format": 1, ...}'
style:
  description: How the settings name PostgreSQL, V(url) or V(entrypoint).
  returned: when found
  type: str
  sample: url
postgres:
  description: The PostgreSQL database in the settings; null when they don't name one, which is also one of the RV(problems).
  returned: when found
  type: dict
  sample: {host: db.example.org, port: 5432, database: cht, user: couch2pg, encrypted: false}
couchdb:
  description: The CouchDB in the settings, without credentials; empty when they don't name one.
  returned: when found
  type: str
  sample: https://couch.example.org/medic
running:
  description: Whether couch2pg runs.
  returned: when found
  type: bool
  sample: true
starts_itself:
  description: Whether couch2pg starts when the host boots, as far as the deployment shows that.
  returned: when found
  type: bool
  sample: true
node:
  description: The Node.js program of couch2pg; empty when the deployment doesn't show it.
  returned: when found
  type: str
  sample: /usr/bin/node
image:
  description: The image of its container; empty without one.
  returned: when found
  type: str
  sample: ""
problems:
  description: What is unusual about the deployment, each with what to do.
  returned: when found
  type: list
  elements: str
  sample: []
behind:
  description: How many changes CouchDB has that PostgreSQL lacks.
  returned: with O(sync)
  type: int
  sample: 0
sync:
  description: Each followed database, with the number of its newest change and the number of couch2pg's checkpoint.
  returned: with O(sync)
  type: list
  elements: dict
  sample: [{database: medic, key: couch.example.org/medic, mark: 1508, stored: 1508, behind: 0, current: true}]
unpopulated:
  description: Materialized views that are not populated.
  returned: with O(sync)
  type: list
  elements: str
  sample: []
database:
  description: The database that couch2pg writes to.
  returned: with O(sync)
  type: dict
  sample: {identity: "7712218066094472355", running: "20261128140233123456", oid: 16390, name: cht}
not_current:
  description: Why couch2pg is not up to date, each as a clause that says what to do; empty when it is.
  returned: with O(sync)
  type: list
  elements: str
  sample: []
"""

from typing import Mapping, TypedDict

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import require_psycopg2
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import DEPLOYMENT_OPTIONS, REACH_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.access import Reach
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import boot, discovery
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.kinds import NONE, Deployment, missing
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.problems import problems
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.service import is_running
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.settings import Settings
from ansible_collections.cht.couch2pg.plugins.module_utils.handover import sync as couch2pg_sync

OPTIONS: dict[str, Option] = {
    "with_secrets": {"type": "bool", "default": False, "no_log": False},
    "sync": {"type": "bool", "default": False},
    "most_behind": {"type": "int", "default": 0},
    "timeout": {"type": "float", "default": 60},
    "identity": {"type": "str", "default": ""},
    "oid": {"type": "int", "default": 0},
    "server": {"type": "str", "default": ""},
    "not_server": {"type": "str", "default": ""},
}


class Options(TypedDict):
    """The options that ``sync`` depends on. identity to not_server: of the database and the server to which couch2pg should write."""

    ca_cert: str
    couchdb_server: str
    login_host: str
    login_port: int | None
    most_behind: int
    timeout: float
    identity: str
    oid: int
    server: str
    not_server: str


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, REACH_OPTIONS, OPTIONS)
    options = module.params
    if options["sync"]:
        require_psycopg2(module)

    def work() -> Mapping[str, object]:
        deployment = discovery.find(options["deployment"])
        result: dict[str, object] = {
            "changed": False,
            "found": deployment.kind != NONE,
            "deployment": deployment.as_dict(),
        }
        if deployment.kind == NONE:
            reason = missing(deployment).message
            return {**result, "reason": reason, "not_current": [_clause(reason)] if options["sync"] else []}
        found = discovery.read(deployment)
        deployment = deployment.as_found(found)
        result.update(
            deployment=deployment.as_dict(),
            **found.settings.as_dict(),
            running=found.running,
            starts_itself=boot.starts_itself(deployment),
            node=found.node,
            image=found.image,
            problems=problems(found, deployment.app_dir),
        )
        if options["with_secrets"]:
            result["settings_json"] = found.settings.as_json()
        if options["sync"]:
            result.update(_sync(deployment, found.settings, options))
        return result

    run(module, work)


def _clause(sentences: str) -> str:
    """Sentences as a part of a list that ends with a full stop."""
    return sentences[0].lower() + sentences[1:].rstrip(".")


def _sync(deployment: Deployment, settings: Settings, options: Options) -> Mapping[str, object]:
    """Whether couch2pg is up to date, and writes to the expected database."""
    reach = Reach.of(options)
    # A couch2pg that doesn't run can't catch up.
    patience = options["timeout"] if is_running(deployment) else 0
    found = couch2pg_sync.look(settings, reach, options["most_behind"], patience)
    running = is_running(deployment)
    reasons = [] if running else ["it doesn't run. Read its log for the reason, then start it"]
    wanted = (options["identity"], options["oid"], options["server"], options["not_server"])
    if options["oid"] and not couch2pg_sync.same_database(found["database"], *wanted):
        place = reach.postgres(settings)
        reasons.append(
            f"it writes to another database than this migration's: {found['database']['name']!r} (oid {found['database']['oid']}) at "
            f"{place.host}:{place.port}. Correct the PostgreSQL address in its settings"
        )
    return {**found, "running": running, "not_current": reasons + found["not_current"]}


if __name__ == "__main__":
    main()
