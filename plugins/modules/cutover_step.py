#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of a cutover: one program is pointed at the target, or back at the source."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cutover_step
short_description: Point a program at the target, or back at the source
version_added: 0.1.0
description:
  - Does, or reverses, one step of a cutover. It is of one kind - Superset, Klipfolio, a file, commands, or HTTP requests.
  - O(superset) and O(klipfolio) find every connection that leads to the source and change all of them. When one fails, those that were
    changed before are put back. They need O(source), O(target) and O(passwords).
  - O(file), O(command) and O(http) are for every other program.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
options:
  name:
    description: Name of the step.
    type: str
    required: true
  side:
    description:
      - The side that the program shall use.
      - With V(source), O(superset) and O(klipfolio) put back the changes in O(remembered). The other kinds do nothing when
        O(remembered) has no change of this step.
    type: str
    default: target
    choices: [target, source]
  migration_id:
    description: Name of the migration. It is a part of the name of a file's copy.
    type: str
    required: true
  dashboards_on:
    description:
      - Where the dashboards lead, as RV(cht.couch2pg.record#module:way_back.side) says.
      - With V(between), the changes in O(remembered) are from an interrupted run that did not test all of them. They are made again.
    type: str
    default: source
    choices: [source, between, target]
  remembered:
    description: The changes of all steps, as RV(packed) or RV(cht.couch2pg.record#module:way_back.packed).
    type: list
    elements: str
    default: []
  superset:
    description:
      - Apache Superset. Its database connections that lead to the source are changed.
      - Tests logins on both sides through Superset, then changes the connections. Then runs the query of a chart of each, or counts a
        dataset when no chart has a saved query.
      - Superset shows no password, so the passwords of the new side must be given. With O(side=source), a missing password keeps the one
        in Superset.
      - A database that was entered field by field shows its address as one URI in Superset afterwards.
    type: dict
    suboptions:
      url:
        description: Address of Superset.
        type: str
        required: true
      user:
        description: A user of Superset who may read and change databases, and read charts.
        type: str
        required: true
      password:
        description: The user's password.
        type: str
        required: true
      provider:
        description: How Superset authenticates the user.
        type: str
        default: db
        choices: [db, ldap]
  klipfolio:
    description:
      - Klipfolio. The properties of its data sources that lead to the source are changed, and each is refreshed.
      - Changes only properties that a data source has. Its password is written, and never read.
      - Klipfolio can't test a connection before it is changed.
    type: dict
    suboptions:
      api_key:
        description: An API key of a user with the permissions C(dashboard.library) and C(datasource.edit).
        type: str
        required: true
      url:
        description: Address of the API.
        type: str
        default: https://app.klipfolio.com/api/1.0
      properties:
        description: Names of host, port, database, user and password in the properties of the data sources.
        type: dict
        default: {}
        suboptions:
          host:
            description: The server.
            type: str
            default: host
          port:
            description: Its port.
            type: str
            default: port
          database:
            description: The database.
            type: str
            default: database
          user:
            description: The role.
            type: str
            default: user
          password:
            description: Its password.
            type: str
            default: password
      refresh_seconds:
        description: Time limit of a refresh, in seconds.
        type: float
        default: 300.0
  file:
    description:
      - A file that names the database.
      - A copy of the old file stays beside it, as C(<path>.before-<migration_id>), until it is put back.
    type: dict
    suboptions:
      path:
        description: The file. It must exist; its mode and owner stay.
        type: path
        required: true
      content:
        description: Its content for the target.
        type: str
        required: true
      then:
        description: A command to run after each change, such as one that reloads the program.
        type: list
        elements: str
  command:
    description: Commands, each as a list of words, which run without a shell. Running one twice must be harmless.
    type: dict
    suboptions:
      to:
        description: Points the program at the target.
        type: list
        elements: str
        required: true
      back:
        description: Points the program back at the source.
        type: list
        elements: str
        required: true
      check:
        description: Ends with 0 when the program uses the target, with another code when not. It must change nothing.
        type: list
        elements: str
  http:
    description: HTTP requests. Sending one twice must be harmless.
    type: dict
    suboptions:
      to:
        description: Points the program at the target.
        type: dict
        required: true
        suboptions: &request
          url:
            description: Address.
            type: str
            required: true
          method:
            description: Method.
            type: str
            default: POST
          headers:
            description: Headers, which may contain credentials.
            type: dict
          body:
            description: Body, as JSON text unless the headers say otherwise.
            type: str
      back:
        description: Points the program back at the source.
        type: dict
        required: true
        suboptions: *request
      check:
        description: A GET request whose answer shows which side the program uses.
        type: dict
        suboptions:
          url:
            description: Address.
            type: str
            required: true
          headers:
            description: Headers, which may contain credentials.
            type: dict
          contains:
            description: A text that the answer contains when the program uses the target.
            type: str
            required: true
      ca_cert:
        description: File on the step's host with the trusted certificates in PEM format; the default is the system's.
        type: path
  source:
    description: The source's database, as dashboards know it; needed for O(superset) and O(klipfolio).
    type: dict
    suboptions:
      names:
        description: Every name and address of its server that dashboards use, as C(host) or C(host:port).
        type: list
        elements: str
        required: true
      port:
        description: Port of its server, for names without one.
        type: int
        default: 5432
      database:
        description: Name of the database.
        type: str
        required: true
  target:
    description: The target's database, as dashboards will know it; needed for O(superset) and O(klipfolio).
    type: dict
    suboptions:
      host:
        description: Name or address of its server.
        type: str
        required: true
      port:
        description: Port of its server.
        type: int
        default: 5432
      database:
        description: Name of the database.
        type: str
        required: true
  passwords:
    description:
      - Password on the target of each role that a dashboard logs in with, by the role's name on the target.
      - These and O(source_passwords) are masked in diffs, and in the output of commands and servers.
    type: dict
    default: {}
  source_passwords:
    description: Passwords on the source that differ from those on the target. The way back needs them.
    type: dict
    default: {}
  role_map:
    description: Roles that have another name on the target, as old and new name.
    type: dict
    default: {}
  untested:
    description: Roles on the target that have no login yet in check mode. The module tests no login with them.
    type: list
    elements: str
    default: []
  ca_cert:
    description: File on the host with the trusted certificates for HTTPS to Superset and Klipfolio; empty means those of the system.
    type: path
    default: ""
notes:
  - No result contains a password. In check mode everything is read and tested, and nothing is changed.
"""

EXAMPLES = r"""
- name: Point Superset at the new server
  cht.couch2pg.cutover_step:
    name: Superset
    migration_id: cht-2026
    superset: {url: https://superset.example.org, user: admin, password: "{{ vault_superset_password }}"}
    source: {names: [old.example.org, 10.0.0.5], database: cht}
    target: {host: new.example.org, database: cht}
    passwords: {superset: "{{ vault_dashboard_password }}"}
  delegate_to: localhost

- name: Point Klipfolio at the new server
  cht.couch2pg.cutover_step:
    name: Klipfolio
    migration_id: cht-2026
    klipfolio: {api_key: "{{ vault_klipfolio_key }}"}
    source: {names: [old.example.org], database: cht}
    target: {host: new.example.org, database: cht}
    passwords: {klipfolio: "{{ vault_dashboard_password }}"}
  delegate_to: localhost

- name: Point Grafana at the new server
  cht.couch2pg.cutover_step:
    name: grafana
    migration_id: cht-2026
    file:
      path: /etc/grafana/provisioning/datasources/cht.yml
      content: "{{ lookup('ansible.builtin.template', 'grafana.yml.j2') }}"
      then: [systemctl, restart, grafana-server]
"""

RETURN = r"""
moved:
  description: Names of the connections that were, or would be, changed; of a file, a command or a request, the name of the step.
  returned: success
  type: list
  elements: str
  sample: [CHT]
ready:
  description: Names of those that led to the target already.
  returned: success
  type: list
  elements: str
  sample: []
packed:
  description: What was changed, for the way back in M(cht.couch2pg.record); it holds no password.
  returned: success
  type: str
  sample: W10=
"""

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import kinds
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.klipfolio import NAMES, URL
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.way_back import SIDES

_WORDS: Option = {"type": "list", "elements": "str"}
_NEEDED_WORDS: Option = {**_WORDS, "required": True}
_REQUEST: Option = {
    "type": "dict",
    "required": True,
    "options": {
        "url": {"type": "str", "required": True},
        "method": {"type": "str", "default": "POST"},
        "headers": {"type": "dict", "no_log": True},
        "body": {"type": "str", "no_log": True},
    },
}
OPTIONS: dict[str, Option] = {
    "name": {"type": "str", "required": True},
    "side": {"type": "str", "default": "target", "choices": ["target", "source"]},
    "migration_id": {"type": "str", "required": True},
    "dashboards_on": {"type": "str", "default": "source", "choices": list(SIDES)},
    "remembered": {"type": "list", "elements": "str", "default": []},
    "superset": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "provider": {"type": "str", "default": "db", "choices": ["db", "ldap"]},
        },
    },
    "klipfolio": {
        "type": "dict",
        "options": {
            "api_key": {"type": "str", "required": True, "no_log": True},
            "url": {"type": "str", "default": URL},
            "properties": {
                "type": "dict",
                "default": {},
                # The password's is a name, too.
                "options": {key: {"type": "str", "default": name, "no_log": False} for key, name in NAMES.items()},
            },
            "refresh_seconds": {"type": "float", "default": 300.0},
        },
    },
    "file": {
        "type": "dict",
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True, "no_log": True},
            "then": _WORDS,
        },
    },
    "command": {"type": "dict", "options": {"to": _NEEDED_WORDS, "back": _NEEDED_WORDS, "check": _WORDS}},
    "http": {
        "type": "dict",
        "options": {
            "to": _REQUEST,
            "back": _REQUEST,
            "check": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "headers": {"type": "dict", "no_log": True},
                    "contains": {"type": "str", "required": True},
                },
            },
            "ca_cert": {"type": "path"},
        },
    },
    "source": {
        "type": "dict",
        "options": {
            "names": {"type": "list", "elements": "str", "required": True},
            "port": {"type": "int", "default": 5432},
            "database": {"type": "str", "required": True},
        },
    },
    "target": {
        "type": "dict",
        "options": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 5432},
            "database": {"type": "str", "required": True},
        },
    },
    "passwords": {"type": "dict", "default": {}, "no_log": True},
    "source_passwords": {"type": "dict", "default": {}, "no_log": True},
    "role_map": {"type": "dict", "default": {}},
    "untested": {"type": "list", "elements": "str", "default": []},
    "ca_cert": {"type": "path", "default": ""},
}


def main() -> None:
    """Entry point."""
    module = make_module(
        OPTIONS,
        mutually_exclusive=[kinds.KINDS],
        required_one_of=[kinds.KINDS],
        required_by={kind: ["source", "target"] for kind in kinds.TOOLS},
    )
    run(module, lambda: dict(kinds.bring(module.params, not module.check_mode)))


if __name__ == "__main__":
    main()
