# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A migration driven phase by phase through its modules, each with its entry in the record; a run of Ansible takes much longer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.context import JobContext
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.limits import Limits
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.progress import Progress
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.throttle import Throttle
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.stream import job as stream_job

from .clusters import Cluster
from .modules import login, run_module

MODULES = {
    "dump": "pg_dump",
    "transfer": "archive_manifest",
    "restore": "pg_restore",
    "refresh": "matview_refresh",
    "verify": "verify",
    "promote": "promote",
}


@dataclass
class Phases:
    """Source, target, and one folder for the state and the archives of both. ``options`` go to every module that has them."""

    source: Cluster
    target: Cluster
    bin_dir: Path
    folder: Path
    database: str
    name: str = "test"
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def incoming(self) -> str:
        """The database that is restored into."""
        return f"{self.database}_incoming"

    @property
    def state(self) -> Path:
        """Where both hosts keep the state of this migration."""
        return self.folder / "state" / self.name

    @property
    def archive(self) -> Path:
        """Where the archive stands when it is finished."""
        return self.folder / "staging" / self.name

    @property
    def record(self) -> dict[str, Any]:
        """The record as it is now."""
        document: dict[str, Any] = json.loads((self.state / "record.json").read_text(encoding="utf-8"))
        return document

    def run(self, *phases: str, **options: Any) -> dict[str, Any]:
        """Run phases that must succeed; the result of the last one."""
        result: dict[str, Any] = {}
        for phase in phases:
            result = self.attempt(phase, **options)
            if result.get("failed"):
                raise AssertionError(f"{phase}: {result}")
        return result

    def fail(self, phase: str, **options: Any) -> str:
        """Run a phase that must fail; its sentence."""
        result = self.attempt(phase, **options)
        if not result.get("failed"):
            raise AssertionError(f"{phase} succeeded: {result}")
        return str(result["msg"])

    def attempt(self, phase: str, **options: Any) -> dict[str, Any]:
        """Run a phase and add its outcome to the record, as its role does; its result, failed or not."""
        given = {**self.options_of(phase), **self.options.get(phase, {})}
        if phase in ("restore", "promote"):
            given.update(options)
        result = run_module(MODULES[phase], given)
        migration = {"migration_id": self.name, "state_dir": str(self.folder / "state")}
        entry = {"phase": phase, "host": "source" if phase == "dump" else "target", "database": self.database}
        written = run_module("record", {**migration, **entry, "result": result})
        if written.get("failed"):
            raise AssertionError(written)
        return result

    def stream(self, **options: Any) -> dict[str, Any]:
        """The job of the module pg_stream in this process; its result."""
        source, target = (
            ConnectionSettings(self.database, cluster.host, cluster.port, password=cluster.password)
            for cluster in (self.source, self.target)
        )
        given = {
            **self.options_of("restore"),
            "role_map": {},
            "missing_roles": "create",
            "tablespaces": "keep",
            "extension_versions": {},
            "function_search_path": {},
            "leave_out": {},
            "digest_method": "auto",
            "snapshot": None,
            "tunnel": None,
            "jobs": 2,
            "replace_existing": False,
            "maintenance_work_mem": "64MB",
            **options,
        }
        known = stream_job.examine(target, source, given)
        spec = stream_job.job_spec(target, source, given, known, Limits())
        folder = self.state / "jobs" / "stream"
        (folder / "work").mkdir(parents=True)
        with Progress(folder / "progress.json") as progress, Throttle(folder, target) as throttle:
            return stream_job.run(JobContext(folder, spec.parameters, progress, throttle, spec.secrets))

    def restart(self, phase: str) -> dict[str, Any]:
        """Throw away what a phase has made; the result of the module, failed or not."""
        options = self.options_of(phase)
        place = {name: options[name] for name in ("migration_id", "state_dir")}
        if phase == "restore":
            given = {**place, **login(self.target, self.database), "incoming": self.incoming}
            return run_module("database_drop", {**given, "which": "incoming"})
        return run_module("archive_cleanup", {**place, "phase": phase, "archive": str(self.archive)})

    def options_of(self, phase: str) -> dict[str, Any]:
        """The options of a phase's module."""
        place = {"migration_id": self.name, "state_dir": str(self.folder / "state")}
        if phase == "transfer":
            return {**place, "archive": str(self.archive)}
        databases = {"dump": self.database, "refresh": self.incoming, "verify": self.incoming}
        place.update(login(self.source if phase == "dump" else self.target, databases.get(phase, self.database)))
        more: dict[str, dict[str, Any]] = {
            "dump": {"staging_dir": str(self.folder / "staging"), "bin_dir": str(self.bin_dir)},
            "restore": {"archive": str(self.archive), "incoming": self.incoming, "bin_dir": str(self.bin_dir)},
            "verify": {"archive": str(self.archive), "bin_dir": str(self.bin_dir)},
            "promote": {"incoming": self.incoming},
        }
        return {**place, **more.get(phase, {})}
