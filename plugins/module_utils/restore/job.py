# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase restore: the job that restores the archive into ``<database>_incoming``; any message not known as harmless fails it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Mapping

from ..archive import layout
from ..archive.check import check_archive, distrust
from ..archive.identity import load_own, manifest_sha256, pg_dump_major
from ..archive.messages import UNREADABLE
from ..common import restart
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..evidence import document as evidence_document
from ..host import programs
from ..host.files import expand, read_json
from ..jobs import job
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..postgres import function_paths
from ..postgres.analyze import analyze_tables
from ..postgres.connection import ConnectionSettings
from ..postgres.database import end_sessions, find_database, find_database_by_oid
from ..postgres.database_properties import plan_properties
from ..postgres.identifiers import check_length
from ..postgres.session import Session, check_no_pooler, server_identity
from ..record.dumped import dumped_archive
from ..record.results import Choices, RestoreResult
from . import roles as restore_roles
from . import steps as restore_steps
from . import target_database
from .parameters import Fingerprint, Known, Options, Parameters, choices
from .sections import Sections
from .steps import RestoreSteps

# Keys of the fingerprint that may change when the restored database is gone.
CHANGEABLE = ("role_map", "missing_roles", "tablespaces", "extension_versions", "manifest_sha256")


def examine(settings: ConnectionSettings, options: Options) -> Known:
    """Check everything that can be checked before the restore starts; raises MigrationError."""
    program = programs.find("pg_restore", options["bin_dir"])
    check_length(options["incoming"], "Set couch2pg_incoming to a shorter name.")
    function_paths.check(options["function_search_path"])
    with Session(settings.maintenance) as session:
        check_no_pooler(session)
        identity = server_identity(session)
    root = expand(options["archive"])
    if not (root / layout.MANIFEST).exists():
        return {"identity": identity, "manifest_sha256": None}
    state = expand(options["state_dir"]) / options["migration_id"]
    listing = load_own(root, options["migration_id"], dumped_archive(state))
    programs.check_pg_restore(program, pg_dump_major(root, listing))
    return {"identity": identity, "manifest_sha256": manifest_sha256(root)}


def job_spec(settings: ConnectionSettings, options: Options, known: Known) -> JobSpec:
    """The job for a restore. options: the module's; known: the result of ``examine``."""
    identifying = fingerprint(options, known)
    parameters = job_parameters(settings, options, identifying)
    secrets = {"login_password": settings.password or ""}
    return JobSpec("restore", run, parameters, identifying, secrets, changeable=CHANGEABLE)


def fingerprint(options: Options, known: Known) -> Fingerprint:
    """What identifies a restore with the module's ``options``."""
    return {
        "server_identity": known["identity"],
        "database": options["database"],
        "incoming": options["incoming"],
        "manifest_sha256": known["manifest_sha256"] or "",
        "role_map": options["role_map"],
        "missing_roles": options["missing_roles"],
        "tablespaces": options["tablespaces"],
        "extension_versions": options["extension_versions"],
    }


def job_parameters(settings: ConnectionSettings, options: Options, identifying: Fingerprint) -> Parameters:
    """The parameters of a restore with the module's ``options``."""
    return {
        **identifying,
        "migration_id": options["migration_id"],
        "state_dir": str(expand(options["state_dir"])),
        "archive": str(expand(options["archive"])),
        "connection": settings.public(),
        "bin_dir": options["bin_dir"],
        "jobs": max(1, options["jobs"]),
        "function_search_path": options["function_search_path"],
        "replace_existing": options["replace_existing"],
        "maintenance_work_mem": options["maintenance_work_mem"],
    }


def still_valid(
    settings: ConnectionSettings, paths: Mapping[str, str], archive: str | None, state: Path, result: Mapping[str, Any]
) -> bool:
    """Whether the restored database still exists, under any name, and was restored from this archive.

    archive: SHA-256 of the manifest of the archive to restore. If it is another archive, the database is restored again, unless it is
    promoted. paths: search_path by function. If they differ, the result is False; after the verification, they can't be changed any
    more, and MigrationError ``different_work`` is raised.
    """
    with Session(settings.maintenance) as session:
        found = find_database_by_oid(session, result["oid"])
    if found is None:
        return False
    if found["name"] == result["incoming"] and archive not in (None, result["manifest_sha256"]):
        return False
    applied = result.get("function_search_path", {})
    differs = {function: path for function, path in paths.items() if applied.get(function) != path}
    if not differs or found["name"] != result["incoming"]:
        return True
    verified = job.read_state(state / "jobs" / "verify")
    if verified.status == "done" and verified.result["value"]["oid"] == result["oid"]:
        raise MigrationError(
            f"{result['incoming']!r} is verified already, without the couch2pg_function_search_path of {', '.join(sorted(differs))}. "
            f"Leave it as it was, or restore and verify again: {restart.command('restore')}",
            "different_work",
            differs=differs,
        )
    return False


def refuse(settings: ConnectionSettings, options: Options) -> None:
    """Raise, for check mode, the MigrationError that a restore with the module's ``options`` raises before it creates anything."""
    target_database.check_real_database(settings, options["database"], options["replace_existing"])
    with Session(settings.maintenance) as session:
        state = expand(options["state_dir"]) / options["migration_id"]
        target_database.check_own(session, state, server_identity(session), options["incoming"])


def run(context: JobContext) -> RestoreResult:
    """Restore the archive; the entry function of the job ``restore``. The database with the real name is not changed.

    Sections, tables, indexes and digests that an earlier attempt has completed are not repeated.
    """
    parameters = context.given(Parameters)
    root = Path(parameters["archive"])
    state = Path(parameters["state_dir"]) / parameters["migration_id"]
    check_archive(root, state, parameters["manifest_sha256"], parameters["jobs"], context.progress)
    evidence = read_json(root / layout.EVIDENCE)
    evidence_document.check_format(evidence, root)
    try:
        return restore(context, root, evidence)
    except MigrationError as error:
        if any(message["kind"] == UNREADABLE for message in error.details.get("messages", ())):
            distrust(state)
        raise


def restore(
    context: JobContext, root: Path, evidence: Evidence, load_rows: Callable[[], None] | None = None
) -> RestoreResult:
    """Restore the archive in the folder ``root``; ``load_rows`` loads the rows that the archive does not contain.

    The job's parameters are those of ``job_spec``.
    """
    parameters = context.given(Parameters)
    settings = context.connection()
    started = time.monotonic()
    state = Path(parameters["state_dir"]) / parameters["migration_id"]
    target_database.check_real_database(settings, parameters["database"], parameters["replace_existing"])
    steps = RestoreSteps(state, parameters["server_identity"], parameters["manifest_sha256"])
    resumed = _database(settings, parameters, steps, evidence)
    incoming = settings.to(parameters["incoming"])
    sections = Sections(context, incoming, root, evidence, steps, load_rows)
    sections.run()
    moved = restore_roles.finish(incoming, state, steps, parameters["server_identity"])
    context.progress.step("analyze", len(evidence["tables"]), "tables")
    analyzing = time.monotonic()
    analyze_tables(incoming, parameters["jobs"], context.log, context.progress.advance)
    sections.seconds["analyze"] = time.monotonic() - analyzing
    restore_steps.make_durable(incoming)
    done, oid = steps.done, steps.oid
    created = done["properties"]
    if oid is None:
        raise AssertionError("the database of these steps was not created")
    return {
        "incoming": parameters["incoming"],
        "oid": oid,
        "server_identity": parameters["server_identity"],
        "manifest_sha256": parameters["manifest_sha256"],
        "database": parameters["database"],
        "created_roles": done["roles"],
        "moved_roles": moved,
        "choices": done["choices"],
        "function_settings": done.get("functions") or {},
        "function_search_path": done.get("paths") or {},
        "settings_left_out": done.get("settings") or [],
        "resumed_after": resumed,
        "harmless_messages": sections.harmless,
        "tables": done["digests"],
        "digested_at": done["digested_at"],
        "rows": sum(table["rows"] for table in done["digests"]),
        "seconds": round(time.monotonic() - started, 1),
        "section_seconds": {name: round(value, 1) for name, value in sections.seconds.items()},
        "properties": created["properties"],
        "properties_differ": created["properties_differ"],
        "at_promotion": created["at_promotion"],
    }


def is_kept(session: Session, name: str, steps: RestoreSteps) -> bool:
    """Whether the database ``name`` is the one of these steps. Then a restore resumes in it; otherwise it starts from the beginning."""
    found = find_database(session, name)
    return found is not None and found["oid"] == steps.oid and bool(steps.done.get("pre-data"))


def bytes_of_matviews(evidence: Evidence) -> dict[str, int | None]:
    """Bytes of each materialized view on the source, None without data: for the steps of a restore."""
    return {row["matview"]: row["bytes"] if row["populated"] else None for row in evidence["matviews"]}


def _database(
    settings: ConnectionSettings,
    parameters: Parameters,
    steps: RestoreSteps,
    evidence: Evidence,
) -> list[str]:
    """Create the database to restore into, or keep that of an earlier attempt; returns the sections that are done in it."""
    name = parameters["incoming"]
    with Session(settings.maintenance) as session:
        chosen, done = choices(parameters), steps.done
        if is_kept(session, name, steps):
            _check_choices(name, done.get("choices") or chosen, chosen)
            end_sessions(session, name)
            sections = {name: done.get(name) for name in ("pre-data", "data", "post-data")}
            return [name for name, complete in sections.items() if complete]
        state = Path(parameters["state_dir"]) / parameters["migration_id"]
        target_database.start_incoming(session, state, parameters["server_identity"], name)
        planned = restore_roles.make(session, state, parameters, evidence)
        wanted = plan_properties(settings, parameters["database"], evidence["database"], planned.moves)
        created = target_database.create(session, name, wanted.properties)
        steps.start(created.oid)
        steps.mark(
            {
                "properties": {
                    "properties": created.properties,
                    "properties_differ": wanted.differs,
                    "at_promotion": created.at_promotion,
                },
                "roles": restore_roles.created(session, state, parameters["server_identity"]),
                "moves": planned.moves,
                "settings": created.left_out,
                "choices": chosen,
                "matviews": bytes_of_matviews(evidence),
            }
        )
        return []


def _check_choices(database: str, before: Choices, now: Choices) -> None:
    old: Mapping[str, object] = before
    new: Mapping[str, object] = now
    differs = [f"{name} was {old.get(name)!r}, is now {new[name]!r}" for name in new if old.get(name) != new[name]]
    if differs:
        raise MigrationError(
            f"The incomplete database {database!r} was created with other parameters: {'; '.join(differs)}. Use the earlier "
            f"values, or restore again from the beginning: {restart.command('restore')}",
            "different_work",
            before=before,
            now=now,
        )
