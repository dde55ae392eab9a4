# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phases of a migration without ansible-playbook: each runs its module, with the options that its role would pass.

The options come from the role's own defaults and tasks, so they follow every change there. A whole migration takes a
fifth of the time of migrate.yml. Preflight, the report and couch2pg itself are left out.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Iterator

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document

from .migration import ROOT, Migration
from .modules import login, run_module

ORDER = ("dump", "transfer", "restore", "refresh", "verify", "promote")
# A source and a target on one host: the archive is there already, and is checked.
TASK_FILES = {"transfer": "local", "promote": "promote"}
NAMESPACE = "cht.couch2pg."


def reach(migration: Migration, last: str = "promote", **options: Any) -> dict[str, dict[str, Any]]:
    """Every phase until ``last``, which must all succeed; returns their results.

    As with a playbook, a phase that is done already only says so (``changed`` is false).
    """
    results = {}
    for phase in ORDER[: ORDER.index(last) + 1]:
        results[phase] = run_phase(migration, phase, **options)
        if results[phase].get("failed"):
            raise AssertionError(f"{phase}: {results[phase]}")
    if last == ORDER[-1]:
        # Earlier, a job that was killed may have left its password in a file, which its next run removes.
        migration.check_secrets("")
    return results


def run_phase(migration: Migration, phase: str, **options: Any) -> dict[str, Any]:
    """The result of the phase's module, which may have failed; it is added to the record, as the role does."""
    cluster = migration.source if phase == "dump" else migration.target
    module, of_role = role_options(migration, phase)
    if "database" in of_role:
        of_role = {**login(cluster, of_role["database"]), **of_role}
    result = run_module(module, {**of_role, **options})
    if result.get("job", {}).get("status") != "running":
        entry = document.make_entry("source" if phase == "dump" else "target", result)
        migration.state.mkdir(parents=True, mode=0o700, exist_ok=True)
        path = document.record_path(str(migration.folder / "state"), migration.name)
        document.add(path, migration.name, migration.database, phase, entry, True)
    return result


def start(migration: Migration, phase: str) -> None:
    """Start the job of a phase, and leave it running; those before it are done first."""
    before = ORDER.index(phase)
    if before:
        reach(migration, ORDER[before - 1])
    result = run_phase(migration, phase, job_wait=0.0)
    if result.get("failed"):
        raise AssertionError(result)


def end(migration: Migration, kind: str) -> str:
    """Wait for the end of a job; returns its error, or nothing."""
    place = {"migration_id": migration.name, "state_dir": str(migration.folder / "state")}
    error = run_module("job", {**place, "kinds": [kind], "wait": 120.0})["jobs"][kind]["error"]
    return str(error["message"]) if error else ""


def role_options(migration: Migration, role: str) -> tuple[str, dict[str, Any]]:
    """The role's module, and the options that it gets from the role with the variables of this migration."""
    defaults, module, arguments = _role(role)
    side = "source" if role == "dump" else "target"
    variables = {**defaults, **migration.all_variables(), **migration.host_variables.get(side, {})}
    templar = Templar(DataLoader(), variables=variables)
    given = {
        name: _plain(templar.template(value))
        for name, value in arguments.items()
        if not (_is_login(name) or _is_of_run(name))
    }
    return module, given


def _is_login(name: str) -> bool:
    return name.startswith(("login_", "ssl_")) or name in ("ca_cert", "connect_params", "maintenance_database")


def _is_of_run(name: str) -> bool:
    """What a role fills with names of the inventory; here the record is written by ``run_phase``."""
    return name == "record"


@lru_cache(maxsize=None)
def _role(role: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Defaults and variables of its own; the name of the module whose result the role records; its arguments as they are written."""
    folder = ROOT / "roles" / role
    own = folder / "vars" / "main.yml"
    defaults = {**_load(folder / "defaults" / "main.yml"), **(_load(own) if own.exists() else {})}
    for task in _tasks(_load(folder / "tasks" / f"{TASK_FILES.get(role, 'main')}.yml")):
        module = next((name for name in task if name.startswith(NAMESPACE)), "")
        if module and task.get("register") in (f"{role}_result", f"__{role}_result"):
            return defaults, module[len(NAMESPACE) :], task[module]
    raise AssertionError(f"no task of the role {role} registers its result")


def _load(path: Path) -> Any:
    return DataLoader().load_from_file(str(path), trusted_as_template=True)


def _tasks(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        yield from _tasks(task.get("block") or [])


def _plain(value: Any) -> Any:
    """Without Ansible's own types."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, str) else value
