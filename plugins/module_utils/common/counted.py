# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of things in sentences: 1 row, 2 rows."""

from __future__ import annotations

import re


def counted(number: int, noun: str) -> str:
    """The number with its noun, which is given in the singular; only its last word changes: ``2 more messages``."""
    return f"{number} {plural(number, noun)}"


def plural(number: float, noun: str) -> str:
    """The noun as it stands after ``number``, for a number that is written in another way than ``counted`` does."""
    if number == 1:
        return noun
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
