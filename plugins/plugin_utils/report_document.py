# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the content of the report from the record. Only values that are known to be harmless are used."""

from __future__ import annotations

import re
from typing import Any, Iterator, Mapping, TypeVar

from ansible_collections.cht.couch2pg.plugins.module_utils.common import restart
from ansible_collections.cht.couch2pg.plugins.module_utils.common.counted import counted
from ansible_collections.cht.couch2pg.plugins.module_utils.common.difference import Difference
from ansible_collections.cht.couch2pg.plugins.module_utils.common.evidence_rows import DigestDocument
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.dashboard_compare import ComparedQuery, ComparedSide
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import clean_install
from ansible_collections.cht.couch2pg.plugins.module_utils.record.document import PhaseEntry, Record
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal import rehearsals
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal.figures import Summary
from ansible_collections.cht.couch2pg.plugins.module_utils.schema.differences import first_lines

from . import report_text as text
from .record_results import Results, results
from .record_summary import archive_host
from .report_todo import Places, checklist, shown
from .report_variables import (
    Archive,
    ArchivedFile,
    Cutover,
    DashboardRow,
    DifferenceRow,
    EvidenceLine,
    Fact,
    FindingRow,
    MatviewRow,
    Rehearsals,
    Server,
    SizeRow,
    TableRow,
    TimelineRow,
    Variables,
    Verdict,
)

Row = TypeVar("Row")

# The phases in the order of a run, with their purpose.
PHASES = {
    "preflight": "Checks of both servers",
    "dump": "Archive and evidence from one snapshot",
    "transfer": "Archive copied to the target and checked",
    "restore": "Restore into a new database",
    "refresh": "Materialized views",
    "verify": "Target compared with the evidence",
    "promote": "Rename to the real name",
    "handover": "couch2pg on the target",
    "dashboards": "The dashboards' queries on both sides",
    "cutover": "Dashboards pointed at the target",
    "rollback": "Back to the source",
    "cleanup": "Removal of what is no longer needed",
    "rehearse": "End of the rehearsal",
}
_NEEDED = ("preflight", "dump", "transfer", "restore", "refresh", "verify", "promote")
# A rehearsal has all of these except promote.
_REHEARSED = (*_NEEDED[:-1], "rehearse")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
# For a result of unknown structure: show numbers, and text only under these keys.
_SPEAKING = {
    *("status", "state", "health", "verdict", "deployment", "kind", "code", "unit", "source", "database", "host", "at"),
    *("since", "until", "started_at", "ended_at", "message", "msg", "remedy", "problem", "reason", "advice", "name"),
    *("matview", "role", "way", "counted"),
}
_ROWS = 50
_CONTINUES = r"ansible-playbook cht\.couch2pg\.(?:migrate|rehearse|{}) "
_RUN_AGAIN = re.compile(r"\brun (?:the same command )?again\b", re.IGNORECASE)


def document(record: Record, places: Places, state_dir: str, record_place: str) -> Variables:
    """The variables of the templates."""
    phases = {name: entry for name, entry in record["phases"].items() if name in PHASES}
    done = results(record)
    tables, timeline = _tables(done, _differing(phases)), _timeline(phases, _needed(record))
    return {
        "migration": text.name(record["migration_id"]),
        "database": text.name(record["database"]),
        "updated": {"iso": record["updated_at"], "text": text.clock(record["updated_at"])},
        "created": text.clock(record["created_at"]),
        "record_place": text.name(record_place),
        "verdict": _verdict(record, phases, done, state_dir),
        "servers": _servers(phases, done),
        "evidence": _evidence(phases, done, tables) + _notices(done),
        "todo": shown(checklist(record, places)),
        "timeline": timeline,
        "estimate": _estimate(done, timeline),
        "clean_install": _clean_install(done, timeline),
        "rehearsals": _rehearsals(done),
        "sizes": _sizes(done),
        "tables": tables,
        "left_out": [
            {"table": text.name(row.get("table")), "reason": text.sentence(row.get("reason"))}
            for row in _rows(done.get("dump", {}).get("left_out"))
        ],
        "objects": [
            {"kind": text.name(kind).replace("_", " "), "count": text.count(count)}
            for kind, count in sorted((done.get("verify", {}).get("objects") or {}).items())
            if count
        ],
        "accepted": [_difference(row) for row in _rows(done.get("verify", {}).get("accepted"))],
        "information": [_difference(row) for row in _rows(done.get("verify", {}).get("information"))],
        "archive": _archive(phases, done),
        "matviews": _matviews(done),
        "function": _function(done),
        "findings": _findings(done),
        "places": [
            {
                "source": text.name(row.get("source")),
                "seq": text.name(str(row.get("seq", "")).split("-", maxsplit=1)[0]),
            }
            for row in _rows(done.get("dump", {}).get("couchdb_progress"))
        ],
        "couch2pg": _generic(done["handover"]) if "handover" in done else [],
        "cutover": _cutover(done),
        "dashboards": [_dashboard(query) for query in _rows(done.get("dashboards", {}).get("queries"))],
        "history": [
            {
                "at": text.clock(event.get("at")),
                "phase": text.name(event.get("phase")),
                "status": text.name(event.get("status")),
                "host": text.name(event.get("host")),
            }
            for event in record["history"]
        ],
    }


def _needed(record: Record) -> tuple[str, ...]:
    return _NEEDED if restart.rehearses(record["migration_id"]) is None else _REHEARSED


def _rows(found: list[Row] | None) -> list[Row]:
    """The entries of a list in the record, without those that are no objects; none where it is no list."""
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _verdict(record: Record, phases: Mapping[str, PhaseEntry], done: Results, state_dir: str) -> Verdict:
    """The verdict: a word and a sentence; after a failure also the error, the differences, the state and the next steps."""
    failed = sorted(
        (name for name, entry in phases.items() if entry["status"] == "failed"), key=lambda name: phases[name]["at"]
    )
    promoted = "promote" in done
    if "rollback" in done:
        kept, where = text.name(done["rollback"].get("kept_as")), text.name(phases["rollback"]["host"])
        return _without_failure(
            "attention",
            "ROLLED BACK",
            f"The source is in use again. The migrated database is kept as {kept} on {where}. To migrate again, use "
            f"another name: {restart.migrate_as(text.name(record['migration_id']))}",
        )
    if failed:
        return _stopped(record, failed[-1], phases[failed[-1]], promoted, state_dir)
    if "rehearse" in done:
        return _rehearsed(done, text.name(phases["rehearse"]["host"]))
    if not promoted:
        needed = _needed(record)
        missing = next((name for name in needed if name not in done), needed[-1])
        return _without_failure(
            "running",
            "IN PROGRESS",
            f"There was no error so far. The next phase is {missing}. Run the same command to continue.",
        )
    name, host = text.name(done["promote"].get("name")), text.name(phases["promote"]["host"])
    sentence = f"The database {name} on {host} was complete and verified{_at(done)}."
    if done.get("dashboards", {}).get("passed") is False:
        bad = [
            text.name(query.get("name")) for query in _rows(done["dashboards"].get("queries")) if query.get("problems")
        ]
        return _without_failure(
            "attention",
            "DONE, but dashboards differ",
            f"{sentence} These queries return different or outdated results: {', '.join(bad)}. "
            "The dashboards still read the source.",
        )
    return _without_failure("done", "DONE", sentence)


def _without_failure(state: str, word: str, sentence: str) -> Verdict:
    """A verdict without a failure."""
    return {
        "state": state,
        "word": word,
        "sentence": sentence,
        "error": "",
        "steps": [],
        "log": "",
        "commands": [],
        "differences": [],
        "matviews": [],
    }


def _stopped(record: Record, phase: str, entry: PhaseEntry, promoted: bool, state_dir: str) -> Verdict:
    """The verdict after the failure of ``phase``."""
    error = entry["error"] or {}
    host = text.name(entry["host"])
    steps, commands = _next_steps(record, phase, str(error.get("msg") or ""))
    return {
        "state": "stopped",
        "word": f"STOPPED in {phase}",
        "sentence": _safe_state(phase, promoted, record),
        "error": text.sentence(error.get("msg")) or "It gave no reason. See its log.",
        "steps": steps,
        "log": f"{text.name(state_dir)}/{text.name(record['migration_id'])}/jobs/{phase}/log on {host}",
        "commands": commands,
        "differences": [_difference(row) for row in _rows(error.get("differences"))],
        "matviews": [
            {
                "matview": text.name(row.get("matview")),
                "error": text.sentence(row.get("error")),
                "advice": text.sentence(row.get("advice")),
            }
            for row in _rows(error.get("matviews"))
        ],
    }


def _at(done: Results) -> str:
    """When it was verified, as the end of a sentence; empty for a record of an earlier version, which doesn't have that time."""
    at = done.get("verify", {}).get("verified_at")
    return f" at {text.clock(at)}" if at else ""


def _safe_state(phase: str, promoted: bool, record: Record) -> str:
    database = text.name(record["database"])
    if promoted:
        return f"The database {database} on the target was complete and verified before this step failed. The source is unchanged."
    return (
        "Nothing is lost: the source was only read and couch2pg keeps running there. "
        f"The database {database} on the target was not changed."
        if phase != "preflight"
        else "Nothing was changed on either server."
    )


def _rehearsed(done: Results, host: str) -> Verdict:
    """The verdict of a rehearsal that has ended."""
    result = done["rehearse"]
    if result.get("outcome") != "done":
        return _without_failure("attention", "ABANDONED", "The results of this rehearsal were removed.")
    copy = text.name(result.get("database"))
    tried = " couch2pg ran against it and was healthy." if "handover" in done else ""
    rest = f"The copy {copy} on {host} was kept." if result.get("kept") else "The copy and its archives were removed."
    return _without_failure(
        "done",
        "REHEARSED",
        f"Every phase before promote succeeded: the copy was complete and verified.{tried} {rest}",
    )


def _next_steps(record: Record, phase: str, message: str) -> tuple[list[str], list[str]]:
    """The steps after a failure of ``phase``, and their commands. Commands in the message have precedence over the same command again."""
    status, again = _commands(record, phase)
    said = [text.sentence(command) for command in restart.printed(message)]
    if not said:
        return ["Fix the problem above.", "Run the same command again. Work that is done is not repeated."], [
            status,
            again,
        ]
    # Other commands only prepare what continues the migration, or stop something.
    continues = re.match(_CONTINUES.format(phase), said[0])
    if len(said) == 1 and continues and not _RUN_AGAIN.search(message):
        return ["Do what the message says, then run:"], said
    choice = "Do what the message says. Of these commands, run what it says for your case; if it only says to run again, the last one."
    return [choice], [*said, again]


def _commands(record: Record, phase: str) -> list[str]:
    """The commands to see the status and to continue."""
    name = record["migration_id"]
    if restart.rehearses(name) is not None:
        status = f"ansible-playbook cht.couch2pg.status -i inventory.yml -e couch2pg_migration_id={text.name(name)}"
        return [status, "ansible-playbook cht.couch2pg.rehearse -i inventory.yml"]
    playbook = phase if phase in ("dashboards", "cutover", "rollback", "cleanup") else "migrate"
    return [
        "ansible-playbook cht.couch2pg.status -i inventory.yml",
        f"ansible-playbook cht.couch2pg.{playbook} -i inventory.yml",
    ]


def _servers(phases: Mapping[str, PhaseEntry], done: Results) -> list[Server]:
    """Host and version of source and target."""
    shown_: list[Server] = []
    dumped, verified = done.get("dump", {}).get("server_version"), done.get("verify", {}).get("server_version")
    for side, phase, version in (("Source", "dump", dumped), ("Target", "restore", verified)):
        if phase in phases:
            known = text.name(version).split(" ")[0]
            shown_.append({"side": side, "host": text.name(phases[phase]["host"]), "version": known})
    return shown_


def _evidence(phases: Mapping[str, PhaseEntry], done: Results, tables: list[TableRow]) -> list[EvidenceLine]:
    """The evidence in a few lines, each with its state."""
    lines: list[EvidenceLine] = []

    def add(state: str, what: str, detail: str) -> None:
        lines.append({"state": state, "what": what, "detail": detail})

    findings = _findings(done)
    failures = sum(row["status"] == "failure" for row in findings)
    warnings = sum(row["status"] == "warning" for row in findings)
    if findings:
        add(
            "bad" if failures else "warn" if warnings else "ok",
            "Preflight",
            f"{counted(len(findings), 'check')}: {counted(failures, 'failure')}, {counted(warnings, 'warning')}",
        )
    if "transfer" in done:
        moved = done["transfer"]
        add("ok", "Archive", f"SHA-256 of {text.counted(moved.get('files'), 'file')} checked on the target")
    if "verify" in done:
        verified = done["verify"]
        add(
            "ok",
            "Rows",
            f"{text.count(verified.get('rows'))} in {text.counted(verified.get('tables'), 'table')}, equal "
            f"({text.name(verified.get('digest_method'))}) when they were read at {text.clock(verified.get('counted_at'))}",
        )
        total = sum(value for value in (verified.get("objects") or {}).values() if text.number(value))
        accepted = len(_rows(verified.get("accepted")))
        but = f", except {counted(accepted, 'accepted difference')}" if accepted else ""
        same = f"{text.counted(total, 'object')} {'was' if total == 1 else 'were'} the same, with owners and grants"
        add("warn" if accepted else "ok", "Schema", f"{same}{but}{_at(done)}")
    elif phases.get("verify", {}).get("status") == "failed":
        differing = sum(row["state"] == "differs" for row in tables)
        compared = (phases["verify"]["error"] or {}).get("code") == "not_the_same"
        more = (
            f"different; {counted(differing, 'table')} with different rows" if compared else "not compared to the end"
        )
        add("bad", "Rows and schema", more)
    if "refresh" in done:
        count = len(_rows(done["refresh"].get("matviews")))
        add("ok", "Materialized views", f"{count} refreshed in {text.duration(done['refresh'].get('seconds'))}")
    if "handover" in phases:
        add(
            "ok" if "handover" in done else "bad",
            "couch2pg",
            "healthy on the target" if "handover" in done else "not running there",
        )
    if "dashboards" in done:
        queries = _rows(done["dashboards"].get("queries"))
        good = sum(not query.get("problems") for query in queries)
        slow = sum(query.get("status") == "slow" for query in queries)
        state = "bad" if good < len(queries) else "warn" if slow else "ok"
        add(
            state,
            "Dashboards",
            f"the same result in {good} of {counted(len(queries), 'query')}{f', {slow} slower' if slow else ''}",
        )
    led = _cutover(done)
    if led is not None:
        connections = counted(len(led["changes"]), "connection")
        back = led["side"] == "source"
        add(
            "warn" if back else "ok",
            "Cutover",
            f"{connections} pointed {'back at the source' if back else 'at the target'}",
        )
    return lines


def _notices(done: Results) -> list[EvidenceLine]:
    """Notices of verify: they are no differences, but the operator should look at them."""
    sentences = done.get("verify", {}).get("notices") or []
    return [{"state": "warn", "what": "Materialized view", "detail": text.sentence(sentence)} for sentence in sentences]


def _cutover(done: Results) -> Cutover | None:
    """The connections that were changed, with their old and new addresses."""
    if "cutover" not in done:
        return None
    return {
        "side": "source" if done["cutover"].get("side") == "source" else "target",
        "changes": [
            {
                "tool": text.name(change.get("tool")),
                "name": text.name(change.get("name")),
                "old": text.name(change.get("old")),
                "new": text.name(change.get("new")),
            }
            for change in _rows(done["cutover"].get("changes"))
        ],
    }


def _outcome(entry: PhaseEntry | None) -> str:
    if entry is None:
        return "not yet"
    return "done" if entry["status"] == "done" and (entry["result"] or {}).get("passed", True) else "failed"


def _timeline(phases: Mapping[str, PhaseEntry], needed: tuple[str, ...]) -> list[TimelineRow]:
    """Each phase with its share of the time, without waiting time between phases."""
    rows: list[TimelineRow] = []
    for phase, what in PHASES.items():
        entry = phases.get(phase)
        if entry is None and phase not in needed:
            continue
        result = (entry or {}).get("result") or {}
        began, ended = text.moment(result.get("started_at")), text.moment(result.get("ended_at"))
        seconds = text.number(result.get("seconds"))
        if seconds is None and began is not None and ended is not None:
            seconds = max(ended - began, 0.0)
        rows.append(
            {
                "phase": phase,
                "what": what,
                "status": _outcome(entry),
                "host": text.name((entry or {}).get("host")),
                "ended": text.clock(result.get("ended_at") or (entry or {}).get("at")),
                "seconds": seconds or 0.0,
                "duration": text.duration(seconds),
                "left": 0.0,
                "width": 0.0,
                "share": "",
            }
        )
    total = sum(row["seconds"] for row in rows) or 1.0
    before = 0.0
    for row in rows:
        row["left"] = round(100 * before / total, 2)
        row["width"] = round(100 * row["seconds"] / total, 2)
        row["share"] = f"{row['width']:.0f} %" if row["seconds"] else ""
        before += row["seconds"]
    return rows


def _details(done: Results, name: str) -> dict[str, Any]:
    """The details of preflight's finding ``name`` on the target; empty without it."""
    found = (row for row in _rows(done.get("preflight", {}).get("target")) if row.get("name") == name)
    return next((row.get("details") or {} for row in found), {})


def _estimate(done: Results, timeline: list[TimelineRow]) -> str:
    """The time that preflight estimated for the method, and the time that it took; empty when one of them is unknown."""
    details = _details(done, "estimate")
    chosen = done.get("preflight", {}).get("method")
    method = text.name(chosen.get("method") if chosen else None)
    estimates = details.get("estimates")
    mine = next((row for row in estimates or () if isinstance(row, dict) and row.get("method") == method), {})
    shortest, longest = text.number(mine.get("shortest")), text.number(mine.get("longest"))
    if shortest is None or longest is None or "verify" not in done:
        return ""
    took = sum(row["seconds"] for row in timeline if row["phase"] in rehearsals.TIMED)
    over = (
        f" over a network link of {text.size(details['line'])} in a second" if text.number(details.get("line")) else ""
    )
    return (
        f"Preflight estimated {text.duration(shortest)} to {text.duration(longest)} for the method {method}{over}; "
        f"up to verify it took {text.duration(took)}."
    )


def _clean_install(done: Results, timeline: list[TimelineRow]) -> str:
    """The time of this migration and that of a clean install, which preflight measured; empty when one of them is unknown."""
    details = _details(done, clean_install.NAME)
    documents, fetching = text.number(details.get("documents")), text.number(details.get("seconds"))
    if not documents or fetching is None or "verify" not in done:
        return ""
    # With a clean install, couch2pg would build the materialized views, too.
    building = text.number(done.get("refresh", {}).get("seconds")) or 0.0
    took = sum(row["seconds"] for row in timeline if row["phase"] in rehearsals.TIMED)
    return (
        f"The phases from dump to verify took {text.duration(took)}. A clean install would have taken at least "
        f"{text.duration(fetching + building)}: {text.duration(fetching)} to fetch {text.counted(documents, 'document')} again, as "
        "measured in "
        f"preflight, and {text.duration(building)} for the materialized views, as measured here. "
        f"{clean_install.verdict(fetching + building, took, took)}"
    )


def _sizes(done: Results) -> list[SizeRow]:
    """Sizes, with their ratio to the size of the source's database."""
    dump, verified = done.get("dump", {}), done.get("verify", {})
    whole = text.number(dump.get("database_bytes")) or 0
    tables = sum(text.number(row.get("bytes")) or 0 for row in _rows(dump.get("tables")))
    sizes = [
        ("Database on the source", whole or None, ""),
        ("of it in tables", tables or None, ""),
        ("Archive", dump.get("bytes"), " ".join(text.name(dump.get(key)) for key in ("format", "compression"))),
        ("Database on the target", verified.get("database_bytes"), "freshly written, without bloat"),
    ]
    known = [(label, size, note) for label, size, note in sizes if text.number(size) is not None]
    most = max([float(size) for _label, size, _note in known if size is not None], default=1.0) or 1.0
    return [
        {
            "label": label,
            "size": text.size(size),
            "bytes": text.count(size),
            "ratio": f"{size / whole:.2f}" if whole and size is not None else text.NONE,
            "width": round(100 * (size or 0) / most, 2),
            "note": note,
        }
        for label, size, note in known
    ]


def _differing(phases: Mapping[str, PhaseEntry]) -> dict[str, Difference]:
    """The tables whose rows differed in a failed verification, by name."""
    entry = phases.get("verify")
    error = (entry["error"] or {}) if entry is not None and entry["status"] == "failed" else {}
    found = _rows(error.get("differences"))
    return {str(row.get("object")): row for row in found if row.get("kind") == "rows"}


def _tables(done: Results, differing: Mapping[str, Difference]) -> list[TableRow]:
    """Rows and digests of each table on both sides; tables that differ come first.

    differing: what a failed verification found. It has read the tables after the restore did.
    """
    source = {str(row.get("table")): row for row in _rows(done.get("dump", {}).get("tables"))}
    found = _rows(done.get("verify", {}).get("digests")) or _rows(done.get("restore", {}).get("tables"))
    target = {str(row.get("table")): row for row in found}
    trees = {str(row["tree"]) for row in source.values() if row.get("tree")}
    rows: list[TableRow] = []
    for table in sorted(set(source) | set(target) | (set(differing) - trees)):
        ours = source.get(table)
        tree = str(ours.get("tree")) if ours else ""
        difference = differing.get(table)
        if difference is not None:
            read, state = _as_verified(ours, difference), "differs"
        else:
            sides: tuple[DigestDocument | None, ...] = (ours, target.get(table))
            read = [(side.get("rows"), side.get("digest")) if side else (None, None) for side in sides]
            state = "not yet" if not found else "same" if read[0] == read[1] else "differs"
        # Partitions between which rows may move are compared together.
        if tree in differing:
            state = "differs"
        rows.append(
            {
                "table": text.name(table),
                "state": state,
                "size": text.size(ours.get("bytes") if ours else None),
                "rows": [text.count(number) for number, _digest in read],
                "digests": [text.digest(digest) for _number, digest in read],
            }
        )
    return sorted(rows, key=lambda row: row["state"] != "differs")


def _as_verified(ours: DigestDocument | None, difference: Difference) -> list[tuple[object, object]]:
    """Rows and digest of each side, as far as a difference of rows says: it has either the numbers of rows or the digests."""
    rows, digest = (ours.get("rows"), ours.get("digest")) if ours else (None, None)
    found = difference.get("target")
    return [(rows, digest), (rows, found) if isinstance(found, str) else (found, None)]


def _difference(row: Difference) -> DifferenceRow:
    source, target = row.get("source"), row.get("target")
    if isinstance(source, str) and isinstance(target, str):
        source, target = first_lines(source, target)
    return {
        "kind": text.name(row.get("kind")),
        "object": text.name(row.get("object")),
        "problem": text.name(row.get("problem")),
        "source": _side(source),
        "target": _side(target),
    }


def _side(value: object) -> str:
    """One side of a difference: a number or digest unchanged, text redacted, nothing else."""
    if isinstance(value, str):
        return text.digest(value) or text.sentence(value)[:200]
    return text.count(value)


def _archive(phases: Mapping[str, PhaseEntry], done: Results) -> Archive | None:
    dump = done.get("dump")
    if dump is None:
        return None
    files: list[ArchivedFile] = [
        {
            "path": text.name(row.get("path")),
            "bytes": text.count(row.get("bytes")),
            "sha256": text.digest(row.get("sha256")),
        }
        for row in _rows(dump.get("file_list"))
    ]
    moved = done.get("transfer", {})
    return {
        "folder": text.name(dump.get("archive")),
        "removed": "archives" in (done.get("cleanup") or {}),
        "host": text.name(archive_host(phases)),
        "bytes": text.count(dump.get("bytes")),
        "count": text.count(dump.get("files")),
        "files": files,
        "left_out": max(int(text.number(dump.get("files")) or 0) - len(files), 0) if files else 0,
        "manifest": text.digest(dump.get("manifest_sha256")),
        "checked": bool(moved) and all(moved.get(key) == dump.get(key) for key in ("bytes", "files")),
    }


def _matviews(done: Results) -> list[MatviewRow]:
    source = {str(row.get("matview")): row.get("rows") for row in _rows(done.get("dump", {}).get("matviews"))}
    return [
        {
            "matview": text.name(row.get("matview")),
            "source_rows": text.count(source.get(str(row.get("matview")))),
            "rows": text.count(row.get("rows")),
            "duration": text.duration(row.get("seconds")),
        }
        for row in sorted(
            _rows(done.get("refresh", {}).get("matviews")), key=lambda row: -(text.number(row.get("seconds")) or 0)
        )
    ]


def _function(done: Results) -> str:
    function = done.get("refresh", {}).get("function")
    if not isinstance(function, dict):
        return ""
    return f"{text.name(function.get('name'))} as {text.name(function.get('role'))}: {text.duration(function.get('seconds'))}"


def _findings(done: Results) -> list[FindingRow]:
    """Findings of preflight on both sides, failures first."""
    order = {"failure": 0, "warning": 1, "ok": 2}
    checked = done.get("preflight", {})
    rows: list[FindingRow] = [
        {
            "side": side,
            "status": str(row.get("status")) if row.get("status") in order else "failure",
            "name": text.name(row.get("name")),
            "message": text.sentence(row.get("message")),
        }
        for side, found in (("source", checked.get("source")), ("target", checked.get("target")))
        for row in _rows(found)
    ]
    return sorted(rows, key=lambda row: order[row["status"]])


def _rehearsals(done: Results) -> Rehearsals | None:
    """The rehearsals, from the record of a rehearsal or from the migration's preflight."""
    ended, details = done.get("rehearse"), _details(done, "rehearsal")
    listed: list[Summary] | None = ended.get("rehearsals") if ended else details.get("rehearsals")
    conclusions: list[str] | None = ended.get("conclusions") if ended else details.get("conclusions")
    rows = _rows(listed)
    if not rows:
        return None
    return {
        "phases": list(rehearsals.TIMED),
        "rows": [
            {
                "begun": text.clock(row.get("begun_at")),
                "outcome": text.name(row.get("outcome")) + (" (interrupted)" if row.get("interrupted") else ""),
                "host": text.name(row.get("host")),
                "rows": text.count(row.get("rows")),
                "durations": [text.duration((row.get("phases") or {}).get(phase)) for phase in rehearsals.TIMED],
                "duration": text.duration(row.get("seconds")),
            }
            for row in rows
        ],
        "conclusions": [text.sentence(line) for line in conclusions or []],
    }


def _dashboard(query: ComparedQuery) -> DashboardRow:
    sides = [_side_of(query.get("source")), _side_of(query.get("target"))]
    times = [text.number(side.get("milliseconds")) for side in sides]
    status = query.get("status")
    return {
        "name": text.name(query.get("name")),
        "status": status if status in ("same", "slow", "stale", "differs", "failed") else "failed",
        "rows": [text.count(side.get("rows")) for side in sides],
        "times": [text.NONE if value is None else f"{value:,.1f} ms" for value in times],
        "age": _age(sides[1].get("newest_age_hours")),
        "said": [text.sentence(line) for lines in (query.get("problems"), query.get("advice")) for line in lines or []],
    }


def _side_of(found: ComparedSide | None) -> ComparedSide:
    """One side of a query; empty where the record has no object."""
    return found if isinstance(found, dict) else {}


def _age(hours: Any) -> str:
    found = text.number(hours)
    return text.NONE if found is None else f"{found:,.1f} h"


def _generic(result: Mapping[str, object]) -> list[Fact]:
    """A result of unknown structure as pairs: numbers and booleans, and text only under known keys."""
    return [{"what": what, "value": value} for what, value in _flatten(result, "")]


def _flatten(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if _KEY.fullmatch(str(key)):
                yield from _flatten(item, f"{path} {key}".strip())
    elif isinstance(value, list):
        if value and not isinstance(value[0], (dict, list)):
            yield f"{path} (number)", str(len(value))
            return
        for place, item in enumerate(value[:_ROWS], 1):
            yield from _flatten(item, f"{path} {place}")
    elif isinstance(value, bool):
        yield path.replace("_", " "), "yes" if value else "no"
    elif text.number(value) is not None:
        yield path.replace("_", " "), f"{value:,.6g}" if isinstance(value, float) else text.count(value)
    elif isinstance(value, str) and path.rpartition(" ")[2] in _SPEAKING:
        yield path.replace("_", " "), text.sentence(value)
