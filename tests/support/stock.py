# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL in a container of a throw-away host, as medic's stock Compose project has it."""

from __future__ import annotations

import json
from typing import Any

from .hosts import Host
from .images import REPOSITORY
from .module_host import run_there

PASSWORD = "r00t @:/%$'\\ secret"
PROJECT = """services:
  postgres:
    image: {image}
    environment:
      POSTGRES_DB: cht
      POSTGRES_USER: postgres_root
      POSTGRES_PASSWORD: {password}
      COUCH2PG_USER: cht_couch2pg
      COUCH2PG_USER_PASSWORD: cht_couch2pg_password
      DB_OWNER_GROUP: cht_analytics
    volumes: [cht-postgres-data:/var/lib/postgresql/data]
    ports: [{ports}]
volumes:
  cht-postgres-data: {{name: {project}-data}}
"""


class Stock:
    """One project with its PostgreSQL on the host; without ``ports``, it is in the project's network only."""

    def __init__(self, host: Host, name: str, suite: str, ports: str = "") -> None:
        self.host = host
        self.name = f"{name}-postgres-1"
        # JSON is YAML, too; a dollar would be a variable.
        password = json.dumps(PASSWORD).replace("$", "$$")
        image = f"{REPOSITORY}-postgres:{suite}"
        host.put(
            f"/opt/{name}/docker-compose.yml", PROJECT.format(image=image, project=name, ports=ports, password=password)
        )
        host.run("docker", "compose", "--project-directory", f"/opt/{name}", "up", "--detach")
        self.wait()

    def wait(self) -> None:
        """Until the server answers at the container's address."""
        format_ = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        self.address = self.host.run("docker", "inspect", "--format", format_, self.name).strip()
        self.host.run("sh", "-c", f"until pg_isready --quiet --host {self.address}; do sleep 0.2; done")

    def sql(self, statements: str, database: str = "cht") -> str:
        words = ("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1")
        to = (f"--host={self.address}", "--username=postgres_root", f"--dbname={database}")
        return self.host.run("env", f"PGPASSWORD={PASSWORD}", *words, *to, stdin=statements.encode()).strip()

    def module(self, name: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """The result of a module, which shows no password."""
        given = {"database": "cht", "login_container": self.name, **options}
        result = run_there(self.host, name, given, check=check)
        assert PASSWORD not in json.dumps(result, ensure_ascii=False)
        return result

    def work(self, name: str, **options: Any) -> dict[str, Any]:
        """The result of a module that does work for the migration."""
        result = self.module(name, migration_id="m1", state_dir="/root/state", **options)
        assert not result.get("failed"), result
        return result
