# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Apache Superset, with its metadata in a folder of the test's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.http_api import HttpApi

from .places import SupportError
from .ports import free_port
from .superset_config import ADMIN_PASSWORD

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".cache" / "superset"
START_SECONDS = 180


class Superset:
    """``with Superset(folder) as superset``: up in half a minute. ``api`` is logged in as its administrator."""

    password = ADMIN_PASSWORD

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "superset.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Superset:
        subprocess.run([ROOT / "tests" / "tools" / "superset"], check=True)
        database = self.folder / "superset.db"
        shutil.copy(HOME / "superset.db", database)
        config = Path(__file__).with_name("superset_config.py")
        paths = {"SUPERSET_CONFIG_PATH": config, "SUPERSET_HOME": self.folder, "SUPERSET_DATABASE": database}
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PG"))}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [HOME / "venv" / "bin" / "superset", "run", "--host", "127.0.0.1", "--port", str(self.port)],
                env={**clean, **{name: str(path) for name, path in paths.items()}},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait()
            self._log_in()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_ended: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def add_database(self, name: str, uri: str, table: str, chart: bool) -> int:
        """A database with a dataset, and a chart whose query was saved; returns its id."""
        number = self._made("database", {"database_name": name, "sqlalchemy_uri": uri})
        dataset = self._made("dataset", {"database": number, "schema": "public", "table_name": table})
        if chart:
            query = {"columns": [], "metrics": ["count"], "row_limit": 10}
            source = {"id": dataset, "type": "table"}
            context = {"datasource": source, "queries": [query], "result_format": "json", "result_type": "full"}
            self._made(
                "chart",
                {
                    "slice_name": f"chart of {name}",
                    "datasource_id": dataset,
                    "datasource_type": "table",
                    "viz_type": "big_number_total",
                    "params": json.dumps({"viz_type": "big_number_total"}),
                    "query_context": json.dumps({**context, "form_data": {}, "force": False}),
                },
            )
        return number

    def uri(self, number: int) -> str:
        """The address of a database as Superset shows it."""
        return str(self.api.ask("GET", f"/api/v1/database/{number}/connection")["result"]["sqlalchemy_uri"])

    def works(self, number: int) -> bool:
        """Whether it can log in with the password that it has."""
        try:
            self.api.ask("GET", f"/api/v1/database/{number}/schemas/?q=(force:!t)")
        except MigrationError:
            return False
        return True

    def _made(self, kind: str, body: dict[str, Any]) -> int:
        return int(self.api.ask("POST", f"/api/v1/{kind}/", body)["id"])

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    said = self.log.read_text(encoding="utf-8")[-2000:]
                    raise SupportError(f"Superset did not start: {said}") from None
                time.sleep(0.5)

    def _log_in(self) -> None:
        self.api = HttpApi("Superset", self.url, {"Referer": self.url}, [])
        credentials = {"username": "admin", "password": ADMIN_PASSWORD, "provider": "db", "refresh": False}
        token = self.api.ask("POST", "/api/v1/security/login", credentials)["access_token"]
        self.api.headers["Authorization"] = f"Bearer {token}"
        self.api.headers["X-CSRFToken"] = self.api.ask("GET", "/api/v1/security/csrf_token/")["result"]
