# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of things in sentences: 1 row, 2 rows."""

from __future__ import annotations

import re


def counted(number: int, noun: str) -> str:
    """The number and its noun: ``2 more messages``. Pass the noun in the singular; only its last word gets a plural."""
    return f"{number} {plural(number, noun)}"


def plural(number: float, noun: str) -> str:
    """The noun in the singular or plural, as ``number`` requires it; for callers that format the number themselves."""
    if number == 1:
        return noun
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
