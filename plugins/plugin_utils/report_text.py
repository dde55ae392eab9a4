# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert values of a record into text for the report; free text is redacted."""

from __future__ import annotations

import calendar
import re
import time
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.common.counted import plural
from ansible_collections.cht.couch2pg.plugins.module_utils.common.redaction import remove_credentials, remove_personal

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
# Shown in place of a missing value.
NONE = "\N{EN DASH}"
LONGEST_TEXT = 2000
LONGEST_NAME = 300
_HEX = re.compile(r"[0-9a-f]{16,64}(?::[0-9a-f]{16,64})?")


def sentence(value: Any) -> str:
    """Free text, such as an error, without credentials, documents and personal data."""
    return " ".join(remove_personal(remove_credentials(line)) for line in _printable(value, LONGEST_TEXT).splitlines())


def name(value: Any) -> str:
    """A name of a table, role, host or file, without credentials."""
    return remove_credentials(_printable(value, LONGEST_NAME))


def digest(value: Any) -> str:
    """A digest or SHA-256; empty for any other value."""
    return value if isinstance(value, str) and _HEX.fullmatch(value) else ""


def number(value: Any) -> float | None:
    """The value if it is a number, else None."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def count(value: Any) -> str:
    """A whole number with thousands separators; a dash for any other value."""
    found = number(value)
    return NONE if found is None else f"{found:,.0f}"


def counted(value: Any, noun: str) -> str:
    """``count`` with its noun, which is given in the singular."""
    found = number(value)
    return f"{count(value)} {plural(2 if found is None else found, noun)}"


def size(value: Any) -> str:
    """Bytes with a decimal prefix."""
    found = number(value)
    if found is None:
        return NONE
    for unit in ("B", "kB", "MB", "GB"):
        if abs(found) < 1000:
            return f"{found:.0f} B" if unit == "B" else f"{found:.1f} {unit}"
        found /= 1000
    return f"{found:.2f} TB"


def duration(value: Any) -> str:
    """Seconds as hours, minutes and seconds."""
    found = number(value)
    if found is None:
        return NONE
    if found < 60:
        return f"{found:.1f} s"
    minutes, seconds = divmod(round(found), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def moment(value: Any) -> float | None:
    """A time of a record as seconds since the epoch; None for any other value."""
    if not isinstance(value, str):
        return None
    try:
        return calendar.timegm(time.strptime(value, TIME_FORMAT))
    except ValueError:
        return None


def clock(value: Any) -> str:
    """A time of a record in a readable format."""
    found = moment(value)
    return NONE if found is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found))


def _printable(value: Any, longest: int) -> str:
    text = "" if value is None else str(value)
    text = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text[: longest + 1])
    return text if len(text) <= longest else text[:longest] + " ..."
