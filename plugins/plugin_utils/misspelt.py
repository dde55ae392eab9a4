# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables look like ours, but aren't."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Iterable

PREFIX = "couch2pg_"
# A word such as "record" is used by others too; this close to one of our names it is no accident.
CLOSE = 0.85


def is_ours(name: str, roles: Iterable[str]) -> bool:
    """Whether the name bears a prefix of this collection."""
    return name.startswith((PREFIX, *(f"{role}_" for role in roles)))


def find_misspelt(names: Iterable[str], shared: set[str], roles: dict[str, set[str]]) -> list[str]:
    """A sentence for each of ``names`` that is unknown; ``roles`` has each role's options by its name."""
    sentences = []
    for name in sorted(names):
        if name.startswith(PREFIX):
            if name not in shared:
                # The prefix, which they share, would make any two names look alike.
                near = get_close_matches(name[len(PREFIX) :], sorted(known[len(PREFIX) :] for known in shared), n=1)
                hint = f"did you mean {PREFIX}{near[0]}?" if near else "see docs/variables.yml for the known ones."
                sentences.append(f"The variable {name} is unknown: {hint}")
            continue
        role = next((role for role in roles if name.startswith(f"{role}_")), None)
        if role is not None and name not in roles[role]:
            near = get_close_matches(name, sorted(roles[role]), n=1, cutoff=CLOSE)
            if near:
                sentences.append(f"The variable {name} is unknown: did you mean {near[0]}?")
    return sentences
