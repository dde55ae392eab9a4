# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A migration's database phases by their modules alone, each in a second or two, without a playbook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .clusters import Cluster
from .modules import login, run_module


@dataclass
class Phases:
    """From a database on ``source`` to the one of the same name on ``target``; ``user`` logs in on both."""

    source: Cluster
    target: Cluster
    database: str
    bin_dir: Path
    folder: Path
    user: str = "postgres"

    @property
    def incoming(self) -> str:
        """The name of the database before its promotion."""
        return f"{self.database}_incoming"

    @property
    def archive(self) -> Path:
        """Where the dump puts the archive; restore and verify read it there."""
        return self.folder / "staging" / "test"

    def dump(self, **options: Any) -> dict[str, Any]:
        """Dump the source."""
        return self._run("pg_dump", self.source, self.database, staging_dir=str(self.folder / "staging"), **options)

    def restore(self, **options: Any) -> dict[str, Any]:
        """Restore the archive into the incoming database."""
        where = {"archive": str(self.archive), "incoming": self.incoming}
        return self._run("pg_restore", self.target, self.database, **where, **options)

    def refresh(self, **options: Any) -> dict[str, Any]:
        """Refresh the materialized views of the incoming database."""
        return self._run("matview_refresh", self.target, self.incoming, **options)

    def verify(self, **options: Any) -> dict[str, Any]:
        """Compare the incoming database with the evidence of the archive."""
        return self._run("verify", self.target, self.incoming, archive=str(self.archive), **options)

    def promote(self, **options: Any) -> dict[str, Any]:
        """Give the incoming database its real name."""
        return self._run("promote", self.target, self.database, incoming=self.incoming, **options)

    def all(self) -> None:
        """Every phase in its order; each must succeed."""
        for phase in (self.dump, self.restore, self.refresh, self.verify, self.promote):
            result = phase()
            assert not result.get("failed"), result

    def _run(self, module: str, cluster: Cluster, database: str, **options: Any) -> dict[str, Any]:
        password = cluster.password_of(self.user)
        given = {**login(cluster, database, self.user, password), "migration_id": "test"}
        given["state_dir"] = str(self.folder / "state" / ("source" if cluster is self.source else "target"))
        if module in ("pg_dump", "pg_restore", "verify"):
            given["bin_dir"] = str(self.bin_dir)
        return run_module(module, {**given, **options})
