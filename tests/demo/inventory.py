# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator would write: the inventory of the demo, and a password file to look at both databases."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import yaml

from . import field
from .folder import PRIVATE
from .servers import DATABASE, Servers, client_programs

INVENTORY = PRIVATE / "inventory.yml"
PASSFILE = PRIVATE / "pgpass"
MIGRATION = "demo"


def write_inventory(servers: Servers, path: Path) -> None:
    """Write the inventory into ``path``, and the password file (both 0600); passwords are in them and nowhere else."""
    staging = str(PRIVATE / "staging")
    hosts: dict[str, dict[str, Any]] = {
        side: {
            "couch2pg_login_host": cluster.host,
            "couch2pg_login_port": cluster.port,
            "couch2pg_login_user": cluster.superuser,
            "couch2pg_login_password": cluster.password,
            "couch2pg_bin_dir": str(client_programs(cluster).bin_dir),
            "couch2pg_state_dir": str(PRIVATE / "state" / side),
            # The same folder on both: one machine needs no transfer.
            "couch2pg_staging_dir": staging,
            **({"couch2pg_app": field.deployment(side)} if field.has_node() else {}),
        }
        for side, cluster in servers.items()
    }
    groups = {f"couch2pg_{side}": {"hosts": {side: variables}} for side, variables in hosts.items()}
    if field.has_node():
        target = servers.target
        hosts["target"]["couch2pg_app_postgres"] = {"host": target.host, "port": target.port}
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        # Nothing is left in anybody's home.
        "ansible_remote_tmp": str(PRIVATE / "tmp"),
        "couch2pg_become": False,
        "couch2pg_database": DATABASE,
        "couch2pg_migration_id": MIGRATION,
        "couch2pg_records_dir": str(PRIVATE / "records"),
    }
    inventory = yaml.safe_dump({"all": {"vars": common, "children": groups}}, sort_keys=False)
    _write(path, f"# Made by tests/demo/run at each run.\n---\n{inventory}")
    _write(PASSFILE, "".join(cluster.passfile.read_text(encoding="utf-8") for _side, cluster in servers.items()))


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
