# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rehearsals: which a migration has had on a host, what each found, how they compare, how long the real one will take.

A rehearsal is a migration of its own, ``<migration_id>_rehearsal_<time>``, with its own state, archive and record. What it is
about ends with the phase ``rehearse`` in that record; one without it is gone on with.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import Any, Callable

from ..common.errors import MigrationError
from ..common.progress_line import duration
from ..host.files import expand
from ..record import document as record_document
from ..record.document import PhaseEntry, Record

# In the order of a run. The phases before and after take no time that depends on the data.
TIMED = ("dump", "transfer", "restore", "refresh", "verify")
OUTCOMES = ("done", "abandoned")
# Older ones tell of an older database.
RECENT = 3
SHOWN = 5
_NAME = re.compile(r"(?P<of>.+)_rehearsal_\d{8}T\d{6}")


def new_id(migration_id: str, clock: Callable[[], float] = time.time) -> str:
    """The name of a rehearsal that begins now; no other host's rehearsal has it, either."""
    return f"{migration_id}_rehearsal_{time.strftime('%Y%m%dT%H%M%S', time.gmtime(clock()))}"


def rehearses(migration_id: str) -> str | None:
    """The migration that this one rehearses, by its name; None for one that is no rehearsal."""
    found = _NAME.fullmatch(migration_id)
    return found.group("of") if found else None


def known(state_dir: str, migration_id: str) -> tuple[list[Record], list[str]]:
    """The records of its rehearsals on this host, oldest first; and what can't be read, in words."""
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


def unfinished(records: list[Record]) -> Record | None:
    """The last one, when it has begun and not ended."""
    return records[-1] if records and "rehearse" not in _done(records[-1]) else None


def ended(records: list[Record], outcome: str) -> list[Record]:
    """The same, the unfinished one as if it had ended, which is what its own record is about to say."""
    last = unfinished(records)
    if last is None:
        return records
    entry = PhaseEntry(status="done", host="", at=last["updated_at"], error=None, result={"outcome": outcome})
    ended_record = last.copy()
    ended_record["phases"] = {**last["phases"], "rehearse": entry}
    return [*records[:-1], ended_record]


def is_verified(rehearsal: Record) -> bool:
    """Whether it has proven what it had to: nothing but its end is left."""
    return "verify" in _done(rehearsal)


def is_handed_over(rehearsal: Record) -> bool:
    """Whether couch2pg ran against its copy and was healthy."""
    return "handover" in _done(rehearsal)


def summary(rehearsal: Record) -> dict[str, Any]:
    """One rehearsal in a few numbers."""
    done = _done(rehearsal)
    seconds = {phase: _seconds(rehearsal, phase) for phase in TIMED if phase in done}
    failed = [name for name, entry in rehearsal["phases"].items() if entry["status"] == "failed"]
    return {
        "migration_id": rehearsal["migration_id"],
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
    """What the phase says; a relay, which is the controller's work, is measured by what stands before and after it."""
    entry, before = rehearsal["phases"][phase], rehearsal["phases"].get("dump")
    result = entry["result"]
    if phase == "transfer" and result.get("way") == "relay" and before is not None:
        return max(float(_moment(entry["at"]) - _moment(before["at"])), 0.0)
    if "seconds" not in result and "ended_at" in result:
        return max(float(_moment(result["ended_at"]) - _moment(result["started_at"])), 0.0)
    return float(result.get("seconds", 0.0))


def _moment(text: str) -> int:
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def _done(rehearsal: Record) -> dict[str, dict[str, Any]]:
    return {name: entry["result"] for name, entry in rehearsal["phases"].items() if entry["status"] == "done"}


def _interrupted(rehearsal: Record, done: dict[str, dict[str, Any]]) -> bool:
    """Whether its times leave something out: what an earlier attempt had done was not done again."""
    failed = any(event["status"] == "failed" and event["phase"] in TIMED for event in rehearsal["history"])
    return failed or bool(done.get("restore", {}).get("resumed_after") or done.get("transfer", {}).get("resumed_bytes"))


def compare(before: Record, after: Record) -> dict[str, Any]:
    """What changed on the source between two rehearsals, table by table; digests of one method only can be compared."""
    dumps = [_done(side).get("dump", {}) for side in (before, after)]
    sides = [{row["table"]: row for row in dump.get("tables", [])} for dump in dumps]
    comparable = dumps[0].get("digest_method") == dumps[1].get("digest_method")
    changed = []
    for table in sorted(set(sides[0]) | set(sides[1])):
        old, new = (side.get(table, {}) for side in sides)
        if old.get("rows") != new.get("rows") or (comparable and old.get("digest") != new.get("digest")):
            changed.append({"table": table, "rows_before": old.get("rows"), "rows": new.get("rows")})
    return {
        "with": before["migration_id"],
        "tables": len(sides[1]),
        "same": not changed and comparable,
        "digests_compared": comparable,
        "changed": changed,
    }


def forecast(summaries: list[dict[str, Any]]) -> dict[str, Any] | None:
    """How long the migration itself will take, by the last rehearsals that were done; None before the first."""
    done = [entry for entry in summaries if entry["outcome"] == "done"]
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
        "interrupted": not whole,
        "dominant": dominant,
        "share": round(last["phases"][dominant] / last["seconds"], 2) if last["seconds"] else 0.0,
    }


def last_comparison(records: list[Record]) -> dict[str, Any] | None:
    """The last two that were done, held against each other."""
    done = [entry for entry in records if is_verified(entry)]
    return compare(*done[-2:]) if len(done) > 1 else None


def lines(records: list[Record]) -> list[str]:
    """A line for each, for a person."""
    return [_line(summary(entry)) for entry in records]


def said(records: list[Record]) -> list[str]:
    """What all of them together tell: what changed since the one before, and how long the migration itself will take."""
    sentences = []
    comparison, expected = last_comparison(records), forecast([summary(entry) for entry in records])
    if comparison is not None:
        sentences.append(f"Since the one before: {changes(comparison)}.")
    if expected is not None:
        sentences.append(f"The migration itself: {expectation(expected)}.")
    return sentences


def _line(entry: dict[str, Any]) -> str:
    state = entry["outcome"] + (f", stopped in {entry['failed_in']}" if entry["failed_in"] else "")
    took = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in entry["phases"].items())
    rows = "" if entry["rows"] is None else f"; {entry['rows']} rows"
    note = " (with an interruption)" if entry["interrupted"] else ""
    return f"{entry['begun_at']} {state}: {duration(entry['seconds'])}{note}{f' ({took})' if took else ''}{rows}"


def changes(comparison: dict[str, Any]) -> str:
    """A comparison as half a sentence."""
    changed = comparison["changed"]
    unknown = "" if comparison["digests_compared"] else " (rows only: the digests are of different methods)"
    if not changed:
        return f"the same evidence in all {comparison['tables']} tables{unknown}"
    said = [f"{row['table']} {_rows(row)}" for row in changed[:SHOWN]]
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return f"{len(changed)} of {comparison['tables']} tables changed: {', '.join(said)}{more}{unknown}"


def _rows(row: dict[str, Any]) -> str:
    before, after = row["rows_before"], row["rows"]
    if before is None or after is None:
        return "is new" if before is None else "is gone"
    return f"{after - before:+d} rows (now {after})" if before != after else "has other content"


def expectation(expected: dict[str, Any]) -> str:
    """A forecast as half a sentence."""
    least, most = duration(expected["least"]), duration(expected["most"])
    spread = f" ({least} to {most} in {expected['rehearsals']} rehearsals)" if least != most else ""
    more = "more than " if expected["interrupted"] else "about "
    return (
        f"{more}{duration(expected['seconds'])}{spread}, and then the handover of couch2pg; "
        f"{expected['dominant']} takes {expected['share']:.0%} of it"
    )


def finding(records: list[Record], migration_id: str) -> dict[str, Any]:
    """What preflight of the migration itself has to say about its rehearsals."""
    summaries = [summary(entry) for entry in records]
    expected = forecast(summaries)
    details = {
        "rehearsals": summaries,
        "comparison": last_comparison(records),
        "forecast": expected,
        "said": said(records),
    }
    command = "ansible-playbook cht.couch2pg.rehearse -i inventory"
    if expected is not None:
        count = sum(entry["outcome"] == "done" for entry in summaries)
        times = "once" if count == 1 else f"{count} times"
        status, message = "ok", f"rehearsed {times}; the migration takes {expectation(expected)}"
    elif summaries:
        status = "warning"
        message = f"The rehearsal {summaries[-1]['migration_id']} has not ended well: go on with it by {command}."
    else:
        status = "warning"
        message = (
            f"The migration {migration_id} has not been rehearsed. A rehearsal shows what would go wrong on these servers, "
            f"and how long it takes: {command}."
        )
    return {"name": "rehearsal", "status": status, "message": message, "details": details}
