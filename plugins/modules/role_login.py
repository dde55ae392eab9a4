#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check, or give, a role's login and its rights to read."""

from __future__ import annotations

DOCUMENTATION = r"""
module: role_login
short_description: Check that a role can log in and read what it should, or give it its login
version_added: 0.1.0
description:
  - Tries a login over the network from this host, with the role's own password. When the login fails, the module gives the role its
    login and password, or fails without O(give).
  - Lists what the role may read with O(list_readable), and fails when the role may not read everything in O(expected).
  - Hashes the password on this host. No statement that the server could log contains it.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
options:
  role:
    description: The role.
    type: str
  password:
    description: Its password on this server.
    type: str
  settings:
    description:
      - In place of O(role) and O(password), couch2pg's settings as RV(cht.couch2pg.couch2pg_info#module:settings_json) has them.
      - The role is couch2pg's, and it is created when it is missing.
    type: str
  host:
    description: Address under which this host reaches the server over the network.
    type: str
    default: localhost
  port:
    description: Port of that address.
    type: int
    default: 5432
  give:
    description: Whether to give the role its login and password when it lacks them. Without it, the module only checks.
    type: bool
    default: false
  password_hash:
    description: How the server stores a password that the module gives. The driver that couch2pg brings knows V(md5) only.
    type: str
    default: scram-sha-256
    choices: [md5, scram-sha-256]
  migration_id:
    description:
      - Name of the migration. If its restore created the role, the module records that the migration gave it its login, so that
        M(cht.couch2pg.database_drop) drops the role of a rehearsal.
    type: str
  state_dir:
    description: Folder on the managed host for the state of migrations. Required with O(migration_id).
    type: path
  list_readable:
    description: Whether to list what the role may read in the database, which must exist.
    type: bool
    default: false
  expected:
    description: What the role must be able to read, as RV(readable) of the other server.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Give couch2pg's role its login on the new server
  cht.couch2pg.role_login:
    database: cht
    settings: "{{ captured.settings_json }}"
    give: true
    password_hash: md5
  no_log: true

- name: Check that Superset's role can read on the new server what it reads on the old one
  cht.couch2pg.role_login:
    database: cht
    role: superset
    password: "{{ vault_dashboard_password }}"
    list_readable: true
    expected: "{{ old.readable }}"
"""

RETURN = r"""
role:
  description: The role.
  returned: success
  type: str
  sample: couch2pg
given:
  description: What the role got, or would get in check mode; empty when it could log in already.
  returned: success
  type: list
  elements: str
  sample: [LOGIN, PASSWORD]
readable:
  description: Tables and views that the role may read; empty without O(list_readable).
  returned: success
  type: list
  elements: str
  sample: [public.couchdb]
"""

from typing import Mapping, TypedDict

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import access, settings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import readable, role_login
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.container_server import LOCAL_HOSTS
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.restore import roles as restore_roles

OPTIONS: dict[str, Option] = {
    "role": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    # They contain passwords.
    "settings": {"type": "str", "no_log": True},
    "host": {"type": "str", "default": "localhost"},
    "port": {"type": "int", "default": 5432},
    "give": {"type": "bool", "default": False},
    "password_hash": {
        "type": "str",
        "default": role_login.SCRAM,
        "choices": list(role_login.HASHES),
        "no_log": False,
    },
    "migration_id": {"type": "str"},
    "state_dir": {"type": "path"},
    "list_readable": {"type": "bool", "default": False},
    "expected": {"type": "list", "elements": "str", "default": []},
}


class Options(TypedDict):
    """The options that the login depends on. Either settings or role and password are given."""

    database: str
    ssl_mode: str
    role: str | None
    password: str | None
    settings: str | None
    host: str
    port: int
    give: bool


def main() -> None:
    """Entry point."""
    module = make_module(
        CONNECTION_OPTIONS,
        OPTIONS,
        required_one_of=[("role", "settings")],
        mutually_exclusive=[("role", "settings")],
        required_together=[("role", "password"), ("migration_id", "state_dir")],
    )
    connection = connection_settings(module)
    options = module.params

    def work() -> Mapping[str, object]:
        login = _login(options, connection)
        found: list[str] = []
        # The database of couch2pg's role may not exist yet.
        with Session(connection if options["list_readable"] else connection.maintenance) as session:
            lacking = role_login.missing(session, login, options["password_hash"])
            _check_allowed(options, login, lacking)
            if lacking and not module.check_mode:
                if options["migration_id"]:
                    restore_roles.remember_login(session, migration_state(module), login.user)
                role_login.give(session, login, options["password_hash"], lacking)
            if options["list_readable"]:
                found = readable.readable(session, login.user)
                readable.check_readable_as_before(login.user, options["expected"], found, connection.place)
        after = f"{login.user}: can log in\n"
        before = f"{login.user}: lacks {', '.join(lacking)}\n" if lacking else after
        return {
            "changed": bool(lacking),
            "role": login.user,
            "given": lacking,
            "readable": found,
            "diff": {"before": before, "after": after},
        }

    run(module, work)


def _login(options: Options, connection: ConnectionSettings) -> ConnectionSettings:
    """The login to try: the role's, at the address that the options name, or that of the server's container."""
    if options["settings"]:
        place = settings.parse_json(options["settings"]).postgres
        user, password, encrypted = place.user, place.password, place.encrypted
    else:
        user, password = options["role"] or "", options["password"] or ""
        # With these modes the server requires TLS, so the login uses it, too.
        encrypted = options["ssl_mode"] in ("require", "verify-ca", "verify-full")
    host, port = options["host"], options["port"]
    if connection.container and host in LOCAL_HOSTS:
        host, port = connection.host, connection.port
    return access.login(host, port, options["database"], user, password, encrypted)


def _check_allowed(options: Options, login: ConnectionSettings, lacking: list[str]) -> None:
    where = f"at {login.host}:{login.port}"
    if "CREATE" in lacking and not options["settings"]:
        raise MigrationError(
            f"There is no role {login.user!r} {where}. Correct couch2pg_dashboard_passwords or couch2pg_role_map.",
            "role_login",
        )
    if lacking and not options["give"]:
        raise MigrationError(
            f"{login.user!r} can't log in {where} with its password. Correct couch2pg_dashboard_passwords "
            "(for the source, couch2pg_dashboard_source_passwords), or set couch2pg_cutover_give_login: true to give the role on "
            "the target this password.",
            "role_login",
            lacking=lacking,
        )


if __name__ == "__main__":
    main()
