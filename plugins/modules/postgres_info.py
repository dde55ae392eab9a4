#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out where PostgreSQL runs on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_info
short_description: Find out where PostgreSQL runs on a host
version_added: 0.1.0
description:
  - Returns whether PostgreSQL runs on the managed host itself, or in a container there, and in which one.
  - It is a container when exactly one running container answers as PostgreSQL and no server has a socket on the host. Of several
    containers, it is the one that has O(database).
  - The other modules take the name of the container as C(login_container).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
options:
  database:
    description: Name of the database, by which one of several servers is chosen.
    type: str
    required: true
  login_port:
    description: Port of a server on the host; it is part of its socket's name.
    type: int
    default: 5432
  kind:
    description: V(container) if the server is known to run in a container. Then servers on the host itself are ignored.
    type: str
    default: auto
    choices: [auto, container]
  container:
    description: Name of the container, or C(PROJECT/SERVICE) of Compose, when it is known. It must run.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Find PostgreSQL
  cht.couch2pg.postgres_info:
    database: cht
  become: true
  register: server

- name: Count the rows
  cht.couch2pg.table_info:
    database: cht
    login_container: "{{ server.container }}"
  become: true
"""

RETURN = r"""
kind:
  description: V(host), V(container), or V(undecided) when this user may not ask Docker.
  returned: success
  type: str
  sample: container
reason:
  description: Why.
  returned: success
  type: str
  sample: the container cht-postgres-1 is the PostgreSQL server of this host
container:
  description: Name of the container; empty when it is none.
  returned: success
  type: str
  sample: cht-postgres-1
image:
  description: Name of its image.
  returned: success
  type: str
  sample: medicmobile/cht-postgres:release-postgres13-rc.1
user:
  description: The superuser that the container was made with; empty for a server on the host.
  returned: success
  type: str
  sample: postgres_root
engine_user:
  description: The user whose rootless engine runs the container. The other modules must become this user. Empty for root's engine.
  returned: success
  type: str
  sample: ""
recreate_command:
  description: The command with which Compose recreates the container from its compose file; empty where Compose didn't make it.
  returned: success
  type: str
  sample: cd /opt/cht-postgres && docker compose --project-name=cht-postgres up --detach --no-deps postgres
published:
  description: Host and port by which this host reaches the server where the container publishes it, and whether other hosts may reach
    that port, too. Empty when the container publishes nothing.
  returned: success
  type: dict
  sample: {host: 127.0.0.1, port: 5432, outside: true}
"""

from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import container_server
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.database import find_database
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import PSYCOPG2_IMPORT_ERROR, Session

OPTIONS: dict[str, Option] = {
    "database": {"type": "str", "required": True},
    "login_port": {"type": "int", "default": 5432},
    "kind": {"type": "str", "default": "auto", "choices": ["auto", "container"]},
    "container": {"type": "str", "default": ""},
}


def main() -> None:
    """Entry point."""
    module = make_module(OPTIONS)
    database = module.params["database"]

    def has_database(container: str) -> bool:
        """Whether the container's server has the database. A server that can't be asked may have it."""
        defaults = {name: option.get("default") for name, option in CONNECTION_OPTIONS.items()}
        if PSYCOPG2_IMPORT_ERROR is not None:
            return True
        try:
            options = container_server.effective({**defaults, "database": database, "login_container": container})
            with Session(ConnectionSettings.from_options(options).maintenance) as session:
                return find_database(session, database) is not None
        except MigrationError:
            return True

    def work() -> Mapping[str, object]:
        known = {name: module.params[name] for name in ("kind", "container")}
        found = container_server.find(database, module.params["login_port"], has_database, **known)
        return dict(vars(found), changed=False)

    run(module, work)


if __name__ == "__main__":
    main()
