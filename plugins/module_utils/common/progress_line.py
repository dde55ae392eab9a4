# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's progress as one line of text."""

from __future__ import annotations

from .progress_document import ProgressDocument, TrackDocument

STALE_SECONDS = 120.0


def describe(progress: ProgressDocument, now: float | None = None) -> str:
    """Step, item, done of total, rate and time left. Unknown values are omitted, estimates are labelled "about".

    now: the host's time in seconds since the epoch. A heartbeat older than STALE_SECONDS is reported.
    """
    step = str(progress.get("step", "starting"))
    if progress.get("steps"):
        step = f"[{progress['number']}/{progress['steps']}] {step}"
    tracks = [track for track in progress.get("tracks", ()) if track["total"]]
    if not tracks:
        parts = [step, f"{duration(progress.get('step_seconds', 0))} so far"]
    else:
        # The step ends when its slowest track ends.
        tracks.sort(key=_time_left, reverse=True)
        slowest, *others = tracks
        named = len(tracks) > 1 and slowest["name"] != progress.get("step")
        parts = [step, *([slowest["name"]] if named else []), *_track(slowest)]
        parts += [f"{other['name']} {_percent(other, 'done')}" for other in others]
    parts += progress.get("notes", ())
    if now is not None and now - progress.get("heartbeat", now) > STALE_SECONDS:
        parts.append(f"no heartbeat for {duration(now - progress['heartbeat'])}")
    return " | ".join(parts)


def _time_left(track: TrackDocument) -> float:
    if track["done"] >= (track["total"] or 0):
        return 0
    return float("inf") if track["left"] is None else float(track["left"])


def _track(track: TrackDocument) -> list[str]:
    done, total, unit = track["done"], track["total"] or 0, track["unit"]
    about = "about " if track["estimated"] else ""
    parts = [track["item"]] if track["item"] else []
    parts.append(f"{amount(done, unit)} of {about}{amount(total, unit)} ({_percent(track)})")
    rate = track["rate"]
    if rate and unit != "s":
        parts.append(f"{amount(int(rate), unit)}/s" if unit == "bytes" else f"{rate:.1f} {unit}/s")
    if track["left"]:
        parts.append(f"{about}{duration(track['left'])} left")
    return parts


def _percent(track: TrackDocument, done: str = "finishing") -> str:
    """Never 100 % before the end: the last bytes take time, and an estimate may be too low."""
    total = track["total"] or 0
    if track["done"] < total:
        return f"{min(100 * track['done'] // total, 99)} %"
    return "finishing" if track["estimated"] else done


def amount(value: int, unit: str) -> str:
    """Format bytes with a decimal prefix (``1.5 GB``), seconds as a duration; other units as they are."""
    if unit == "s":
        return duration(value)
    if unit != "bytes":
        return f"{value} {unit}".rstrip()
    size = float(value)
    for name in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {name}" if name == "B" else f"{size:.1f} {name}"
        size /= 1000
    return f"{size:.2f} TB"


def duration(seconds: float) -> str:
    """Format seconds: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
