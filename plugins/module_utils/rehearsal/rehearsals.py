# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsals of a migration: list, summarise and compare them, and forecast the duration of the migration.

A rehearsal is a separate migration, ``<migration_id>_rehearsal_<time>``, with its own state, archive and record. The phase
``rehearse`` in its record ends it; a rehearsal without that phase is unfinished and is resumed.
"""

from __future__ import annotations

import calendar
import time
from typing import Callable

from ..common import restart
from ..common.counted import counted, plural
from ..common.errors import MigrationError
from ..common.findings import FindingDocument
from ..common.progress_line import duration
from ..common.restart import rehearses
from ..host.files import expand
from ..record import document as record_document
from ..record.document import PhaseEntry, Record
from ..record.verified import HANDOVER_BEGUN
from .figures import ChangedTable, Comparison, Forecast, Overview, Results, Summary, results

# The phases whose duration depends on the data, in the order of a run.
TIMED = ("dump", "transfer", "restore", "refresh", "verify")
ARCHIVE = "archive"
OUTCOMES = ("done", "abandoned")
# Forecasts use only this many rehearsals, because older ones reflect an older database.
RECENT = 3
SHOWN = 5


def new_id(migration_id: str, clock: Callable[[], float] = time.time) -> str:
    """The id of a rehearsal that starts now."""
    return f"{migration_id}_rehearsal_{time.strftime('%Y%m%dT%H%M%S', time.gmtime(clock()))}"


def known(state_dir: str, migration_id: str) -> tuple[list[Record], list[str]]:
    """The records of the migration's rehearsals on this host, oldest first, and messages for unreadable records."""
    root = expand(state_dir)
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    records, problems = [], []
    for name in names:
        if rehearses(name) != migration_id:
            continue
        try:
            found = record_document.load(record_document.record_path(state_dir, name))
        except MigrationError as error:
            problems.append(error.message)
            continue
        if found is not None:
            records.append(found)
    return records, problems


def overview(state_dir: str, migration_id: str, ending: str | None = None) -> Overview:
    """Everything about the rehearsals of a migration, as M(cht.couch2pg.migration_info) returns it.

    ending: the outcome of the unfinished rehearsal, to list it as ended.
    """
    records, problems = known(state_dir, migration_id)
    begun = unfinished(records)
    if ending:
        records = ended(records, ending)
    summaries = [summary(entry) for entry in records]
    return {
        "summaries": summaries,
        "next": {
            "migration_id": new_id(migration_id) if begun is None else begun["migration_id"],
            "resumed": begun is not None,
            "method": "" if begun is None else method(begun),
            "verified": begun is not None and is_verified(begun),
            "handover_begun": begun is not None and _handover_begun(state_dir, begun),
            "handed_over": begun is not None and is_handed_over(begun),
        },
        "comparison": last_comparison(records),
        "forecast": forecast(summaries),
        "finding": finding(records, migration_id),
        "problems": problems,
        "lines": lines(records),
        "conclusions": conclusions(records),
    }


def unfinished(records: list[Record]) -> Record | None:
    """The last rehearsal, if it hasn't ended; else None."""
    return records[-1] if records and "rehearse" not in results(records[-1]) else None


def ended(records: list[Record], outcome: str) -> list[Record]:
    """``records`` with the unfinished rehearsal marked as ended, as its record will be."""
    last = unfinished(records)
    if last is None:
        return records
    entry = PhaseEntry(status="done", host="", at=last["updated_at"], error=None, result={"outcome": outcome})
    ended_record = last.copy()
    ended_record["phases"] = {**last["phases"], "rehearse": entry}
    return [*records[:-1], ended_record]


def is_verified(rehearsal: Record) -> bool:
    """Whether the rehearsal's database was verified."""
    return "verify" in results(rehearsal)


def is_handed_over(rehearsal: Record) -> bool:
    """Whether couch2pg ran against the rehearsal's copy and was healthy."""
    return "handover" in results(rehearsal)


def _handover_begun(state_dir: str, rehearsal: Record) -> bool:
    return (expand(state_dir) / rehearsal["migration_id"] / HANDOVER_BEGUN).exists()


def matview_seconds(records: list[Record]) -> dict[str, float]:
    """Seconds that each materialized view ``schema.name`` took in the last rehearsal that refreshed all; empty without one."""
    for rehearsal in reversed(records):
        views = results(rehearsal).get("refresh", {}).get("matviews") or []
        if views and not any(view["done_before"] for view in views):
            return {view["matview"]: float(view["seconds"]) for view in views}
    return {}


def method(rehearsal: Record) -> str:
    """The method that the rehearsal has begun with; empty before that."""
    checked = results(rehearsal).get("preflight")
    if checked is None:
        return ""
    chosen = checked.get("method")
    return str(chosen.get("method") or ARCHIVE) if chosen else ARCHIVE


def summary(rehearsal: Record) -> Summary:
    """The key figures of one rehearsal."""
    done = results(rehearsal)
    how = method(rehearsal) or ARCHIVE
    # A method without an archive collects the evidence during its restore. The record stores it as dump, and its time would count twice.
    timed = [phase for phase in TIMED if phase in done and (phase != "dump" or how == ARCHIVE)]
    seconds = {phase: _seconds(rehearsal, phase) for phase in timed}
    failed = [name for name, entry in rehearsal["phases"].items() if entry["status"] == "failed"]
    return {
        "migration_id": rehearsal["migration_id"],
        "method": how,
        "outcome": done.get("rehearse", {}).get("outcome", "unfinished"),
        "failed_in": failed[-1] if failed else None,
        "begun_at": rehearsal["created_at"],
        "host": rehearsal["phases"].get("restore", {}).get("host"),
        "interrupted": _interrupted(rehearsal, done),
        "phases": seconds,
        "seconds": round(sum(seconds.values()), 1),
        "rows": done.get("dump", {}).get("rows"),
        "database_bytes": done.get("dump", {}).get("database_bytes"),
        "archive_bytes": done.get("dump", {}).get("bytes"),
    }


def _seconds(rehearsal: Record, phase: str) -> float:
    """The duration of a phase. A relay runs on the controller: its duration is the time between the record's dump and transfer."""
    entry, before = rehearsal["phases"][phase], rehearsal["phases"].get("dump")
    result = entry["result"]
    if phase == "transfer" and result.get("way") == "relay" and before is not None:
        return max(float(_moment(entry["at"]) - _moment(before["at"])), 0.0)
    if "seconds" not in result and "ended_at" in result:
        return max(float(_moment(result["ended_at"]) - _moment(result["started_at"])), 0.0)
    return float(result.get("seconds", 0.0))


def _moment(text: str) -> int:
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def _interrupted(rehearsal: Record, done: Results) -> bool:
    """Whether the durations are incomplete, because work of an earlier attempt was reused."""
    failed = any(event["status"] == "failed" and event["phase"] in TIMED for event in rehearsal["history"])
    return failed or bool(done.get("restore", {}).get("resumed_after") or done.get("transfer", {}).get("resumed_bytes"))


def compare(before: Record, after: Record) -> Comparison:
    """What changed on the source between two rehearsals, by table. Digests are compared only if their method is the same."""
    dumps = [results(side).get("dump", {}) for side in (before, after)]
    sides = [{row["table"]: (row["rows"], row["digest"]) for row in dump.get("tables", [])} for dump in dumps]
    comparable = dumps[0].get("digest_method") == dumps[1].get("digest_method")
    changed: list[ChangedTable] = []
    for table in sorted(set(sides[0]) | set(sides[1])):
        old, new = (side.get(table, (None, None)) for side in sides)
        if old[0] != new[0] or (comparable and old[1] != new[1]):
            changed.append({"table": table, "rows_before": old[0], "rows": new[0]})
    return {
        "with": before["migration_id"],
        "tables": len(sides[1]),
        "same": not changed and comparable,
        "digests_compared": comparable,
        "changed": changed,
    }


def forecast(summaries: list[Summary]) -> Forecast | None:
    """Forecast the migration's duration from the last RECENT finished rehearsals with the last one's method; None when there is none."""
    done = [entry for entry in summaries if entry["outcome"] == "done"]
    done = [entry for entry in done if entry["method"] == done[-1]["method"]]
    whole = [entry for entry in done if not entry["interrupted"]]
    recent = (whole or done)[-RECENT:]
    if not recent:
        return None
    last = recent[-1]
    dominant = max(last["phases"], key=lambda phase: last["phases"][phase])
    totals = [entry["seconds"] for entry in recent]
    return {
        "seconds": last["seconds"],
        "least": min(totals),
        "most": max(totals),
        "rehearsals": len(recent),
        "method": last["method"],
        "interrupted": not whole,
        "dominant": dominant,
        "share": round(last["phases"][dominant] / last["seconds"], 2) if last["seconds"] else 0.0,
    }


def last_comparison(records: list[Record]) -> Comparison | None:
    """The comparison of the last two verified rehearsals; None when there are fewer."""
    done = [entry for entry in records if is_verified(entry)]
    return compare(*done[-2:]) if len(done) > 1 else None


def lines(records: list[Record]) -> list[str]:
    """One line of text for each rehearsal."""
    return [_line(summary(entry)) for entry in records]


def conclusions(records: list[Record]) -> list[str]:
    """Sentences on the changes since the previous rehearsal and on the expected duration of the migration."""
    sentences = []
    comparison, expected = last_comparison(records), forecast([summary(entry) for entry in records])
    if comparison is not None:
        sentences.append(f"Since the previous rehearsal: {changes(comparison)}.")
    if expected is not None:
        sentences.append(f"The migration itself: {expectation(expected)}.")
    return sentences


def _line(entry: Summary) -> str:
    state = entry["outcome"] + (f", stopped in {entry['failed_in']}" if entry["failed_in"] else "")
    took = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in entry["phases"].items())
    rows = "" if entry["rows"] is None else f"; {counted(entry['rows'], 'row')}"
    note = " (with an interruption)" if entry["interrupted"] else ""
    return f"{entry['begun_at']} {state}: {duration(entry['seconds'])}{note}{f' ({took})' if took else ''}{rows}"


def changes(comparison: Comparison) -> str:
    """A comparison as a clause."""
    changed = comparison["changed"]
    unknown = "" if comparison["digests_compared"] else " (rows only: the digests are of different methods)"
    if not changed:
        return f"the same evidence in {counted(comparison['tables'], 'table')}{unknown}"
    shown = [f"{row['table']} {_rows(row)}" for row in changed[:SHOWN]]
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return f"{len(changed)} of {counted(comparison['tables'], 'table')} changed: {', '.join(shown)}{more}{unknown}"


def _rows(row: ChangedTable) -> str:
    before, after = row["rows_before"], row["rows"]
    if before is None or after is None:
        return "is new" if before is None else "is gone"
    return (
        f"{after - before:+d} {plural(abs(after - before), 'row')} (now {after})"
        if before != after
        else "has different content"
    )


def expectation(expected: Forecast) -> str:
    """A forecast as a clause."""
    least, most = duration(expected["least"]), duration(expected["most"])
    spread = f" ({least} to {most} in {counted(expected['rehearsals'], 'rehearsal')})" if least != most else ""
    more = "more than " if expected["interrupted"] else "about "
    how = "" if expected["method"] == ARCHIVE else f" with the method {expected['method']}"
    return (
        f"{more}{duration(expected['seconds'])}{spread}{how}, followed by the handover of couch2pg; "
        f"{expected['dominant']} takes {expected['share']:.0%} of it"
    )


def finding(records: list[Record], migration_id: str) -> FindingDocument:
    """Preflight's finding on the migration's rehearsals."""
    summaries = [summary(entry) for entry in records]
    expected = forecast(summaries)
    details = {
        "rehearsals": summaries,
        "comparison": last_comparison(records),
        "forecast": expected,
        "conclusions": conclusions(records),
    }
    command = restart.of_migration("ansible-playbook cht.couch2pg.rehearse -i inventory.yml", migration_id)
    if expected is not None:
        count = sum(entry["outcome"] == "done" for entry in summaries)
        times = "once" if count == 1 else f"{count} times"
        status, message = "ok", f"rehearsed {times}; the migration takes {expectation(expected)}"
    elif summaries:
        status = "warning"
        message = f"The rehearsal {summaries[-1]['migration_id']} did not finish. Resume it: {command}"
    else:
        status = "warning"
        message = (
            f"The migration {migration_id} has not been rehearsed. A rehearsal finds problems on these servers and measures "
            f"the duration: {command}"
        )
    return {"name": "rehearsal", "status": status, "message": message, "details": details}
