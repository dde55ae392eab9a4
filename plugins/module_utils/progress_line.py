# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's progress as one line for a person."""

from __future__ import annotations

from typing import Any

# Before that, a rate says more about the start than about the work.
SETTLED_SECONDS = 5.0


def describe(progress: dict[str, Any]) -> str:
    """Step, item, done of total, rate and time left; what isn't known is left out, what is estimated is called so."""
    step = progress.get("step", "starting")
    total, done = progress.get("total"), progress.get("done", 0)
    elapsed = progress.get("heartbeat", 0) - progress.get("step_started", 0)
    parts = [step]
    if progress.get("item"):
        parts.append(str(progress["item"]))
    if not total:
        return " | ".join([*parts, f"{duration(elapsed)} so far"])
    unit = progress.get("unit", "")
    about = "about " if progress.get("estimated") else ""
    parts.append(f"{amount(done, unit)} of {about}{amount(total, unit)} ({min(100 * done // total, 100)} %)")
    if elapsed >= SETTLED_SECONDS and done:
        rate = done / elapsed
        parts.append(f"{amount(int(rate), unit)}/s" if unit == "bytes" else f"{rate:.1f} {unit}/s")
        if done < total:
            parts.append(f"{about}{duration((total - done) / rate)} left")
    return " | ".join(parts)


def amount(value: int, unit: str) -> str:
    """Bytes in a unit that keeps the number short; other units as they are."""
    if unit != "bytes":
        return f"{value} {unit}".rstrip()
    size = float(value)
    for name in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {name}" if name == "B" else f"{size:.1f} {name}"
        size /= 1000
    return f"{size:.2f} TB"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
