# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record in about ten lines, for the end of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.common.counted import counted
from ansible_collections.cht.couch2pg.plugins.module_utils.common.progress_line import amount
from ansible_collections.cht.couch2pg.plugins.module_utils.common.restart import migrate_as
from ansible_collections.cht.couch2pg.plugins.module_utils.record.document import PhaseEntry, Record
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal.figures import RehearseResult

from .record_results import Results, results

SHOWN = 3
_LOGIN = re.compile(r'ALTER ROLE "(.+)" LOGIN')
_TIMED = ("dump", "restore", "refresh", "verify")


def summary(record: Record) -> list[str]:
    """What the phases did, what is left to do, and where databases and archives are."""
    phases, done = record["phases"], results(record)
    lines = [*_verdict(record, done), *_data(phases, done), *_couch2pg(record, done)]
    rehearsed = done.get("rehearse")
    if rehearsed:
        lines += _rehearsal(rehearsed, phases["rehearse"]["host"])
    promoted = done.get("promote")
    if promoted and promoted["kept_as"] and "rollback" not in done:
        lines.append(f"  kept     the database that was named {promoted['name']} before is now {promoted['kept_as']}")
    gone = "rollback" in done or "replaced_server" in done.get("cleanup", {})
    if promoted and promoted.get("replaced") and not gone:
        lines.append(f"  kept     the data directory that the target's server had before is now {promoted['replaced']}")
    roles = roles_without_login(done)
    # Roles need a login only on a promoted database that was not rolled back.
    if roles and promoted and "rollback" not in done:
        lines.append(f"  to do    give these roles their login and password on the target: {', '.join(roles)}")
    return lines


def roles_without_login(done: Results) -> list[str]:
    """Roles that the restore or an earlier migration created, except the one with which couch2pg logs in."""
    in_use = done.get("handover", {}).get("postgres", {}).get("user")
    created = list(done.get("restore", {}).get("created_roles") or [])
    # Preflight has found that these may log in on the source, and not on the target.
    statements = [
        str(statement)
        for finding in done.get("preflight", {}).get("target") or []
        for statement in (finding.get("details") or {}).get("statements") or []
        if finding.get("name") == "properties of roles"
    ]
    earlier = [found[1].replace('""', '"') for found in map(_LOGIN.fullmatch, statements) if found]
    return [role for role in dict.fromkeys([*created, *earlier]) if role != in_use]


def _verdict(record: Record, done: Results) -> list[str]:
    phases, name = record["phases"], record["migration_id"]
    failed = [phase for phase, entry in phases.items() if entry["status"] == "failed"]
    rehearsed = done.get("rehearse")
    if "rollback" in done:
        place = f"{done['rollback']['kept_as']} on {phases['rollback']['host']}"
        return [f"Migration {name}: ROLLED BACK. The migrated database is kept as {place}."]
    if failed and not rehearsed:
        return [f"Migration {name}: STOPPED in {failed[0]}.", f"  {(phases[failed[0]]['error'] or {}).get('msg')}"]
    if "promote" in done:
        place = f"{done['promote']['name']} on {phases['promote']['host']}"
        verified_at = done.get("verify", {}).get("verified_at")
        when = f" at {verified_at}" if verified_at else ""
        return [f"Migration {name}: DONE. The database {place} was complete and verified{when}."]
    if rehearsed and rehearsed["outcome"] == "done":
        return [f"Rehearsal {name}: DONE. Every phase before promote succeeded: the copy was complete and verified."]
    if rehearsed:
        return [
            f"Rehearsal {name}: ABANDONED. Its copy and archives are removed. The next rehearsal starts from the beginning."
        ]
    return [f"Migration {name}: IN PROGRESS."]


def archive_host(phases: Mapping[str, PhaseEntry]) -> str:
    """The host of the archive. A copy without an archive keeps its evidence where it is restored."""
    copied = "restore" in phases and "transfer" not in phases
    return phases["restore" if copied else "dump"]["host"]


def _data(phases: Mapping[str, PhaseEntry], done: Results) -> list[str]:
    lines = []
    if "verify" in done:
        verified = done["verify"]
        read = f", read at {verified['counted_at']}" if verified.get("counted_at") else ""
        compared = f" (at {verified['verified_at']})" if verified.get("verified_at") else ""
        lines.append(
            f"  verified {counted(verified['rows'], 'row')} in {counted(verified['tables'], 'table')}, row by row "
            f"({verified['digest_method']}{read}), "
            f"schema, owners and grants{compared}"
        )
        notices = verified.get("notices") or [] if "rollback" not in done else []
        lines += [f"  look at  {notice}" for notice in notices[:SHOWN]]
        if len(notices) > SHOWN:
            lines.append(f"  look at  {counted(len(notices) - SHOWN, 'more materialized view')}, in the report")
    if "dump" in done:
        dump, host = done["dump"], archive_host(phases)
        size = f"{amount(dump['bytes'], 'bytes')} from {amount(dump['database_bytes'], 'bytes')}, {counted(dump['files'], 'file')}"
        place = f"{dump['archive']} on {host}:"
        if "archives" in done.get("cleanup", {}):
            place = "removed by cleanup; it was"
        # A rehearsal removes its archives at its end.
        elif "rehearse" in done:
            place = "removed at the end; it was"
        lines.append(f"  archive  {place} {size}")
    timed = [(name, phases[name]) for name in _TIMED if name in done]
    times = [f"{name} {entry['result']['seconds']} s" for name, entry in timed]
    return [*lines, f"  time     {', '.join(times)}"] if times else lines


def _couch2pg(record: Record, done: Results) -> list[str]:
    phases = record["phases"]
    if "rollback" in done:
        again = migrate_as(record["migration_id"])
        return [f"  to do    fix the cause of the rollback, and migrate again under another name: {again}"]
    if "handover" in done:
        host, health = phases["handover"]["host"], done["handover"]["health"]
        state = "ran against the copy on {} and was" if "rehearse" in phases else "runs on {} and is"
        compared = sum((done["handover"].get("reconciliation", {}).get("documents_compared") or {}).values())
        documents = f", {counted(compared, 'document')} compared" if compared else ""
        seen = f"{counted(health['runs_completed'], 'run')}, {counted(health['changes'], 'change')}"
        return [f"  couch2pg {state.format(host)} healthy: {seen}{documents}"]
    if "promote" in done:
        return [
            "  couch2pg was not moved: start it on the target with the source's settings and the new address of PostgreSQL"
        ]
    return []


def _rehearsal(rehearsed: RehearseResult, host: str) -> list[str]:
    kept = f"{rehearsed['database']} on {host} is kept until you drop it"
    lines = [f"  copy     {kept if rehearsed['kept'] else 'dropped'}"]
    for number, line in enumerate(rehearsed["lines"]):
        lines.append(f"  {'        ' if number else 'so far  '} {line}")
    return lines + [f"  {sentence}" for sentence in rehearsed["conclusions"]]


def places(written: Mapping[str, str], record_place: str) -> list[str]:
    """Where the report and the record are, as the last lines of a summary.

    written: the paths of the files on the controller, by ``html``, ``markdown`` and ``record_copy``; record_place: where the record is.
    """
    markdown = Path(written["markdown"]).name
    return [
        f"  report   {written['html']} (for a ticket: {markdown})",
        f"  record   {record_place or written['record_copy']}; copy in {Path(written['record_copy']).parent}",
    ]
