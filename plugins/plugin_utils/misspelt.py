# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find misspelt variables of this collection."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Iterable, Mapping

from .unfit import Variable

PREFIX = "couch2pg_"
# Others use role names such as "record" as prefixes too, so report only names that are this similar to a known one.
CLOSE = 0.85
# A variable that begins like this was meant for this collection, if it is close to a known one.
LIKE_PREFIX = "couch"


def is_ours(name: str, roles: Iterable[str]) -> bool:
    """Whether the name has a prefix of this collection."""
    return name.startswith((PREFIX, *(f"{role}_" for role in roles)))


Options = Mapping[str, Variable]


def role_options(document: Mapping[str, Any]) -> Options:
    """The options of every entry point in a role's argument specs, by name."""
    entries = document["argument_specs"].values()
    return {name: option for entry in entries for name, option in (entry.get("options") or {}).items()}


def find_misspelt(names: Iterable[str], shared: set[str], roles: Mapping[str, Options]) -> list[str]:
    """A sentence for each unknown variable in ``names``. shared: known couch2pg_* variables; roles: options by role."""
    sentences = []
    for name in sorted(names):
        if name.startswith(PREFIX):
            if name not in shared:
                # Compare without the common prefix, which would make all names similar.
                near = get_close_matches(name[len(PREFIX) :], sorted(known[len(PREFIX) :] for known in shared), n=1)
                hint = f"did you mean {PREFIX}{near[0]}?" if near else "see docs/variables.yml for the known variables."
                sentences.append(f"The variable {name} is unknown: {hint}")
            continue
        if name.startswith(LIKE_PREFIX):
            near = get_close_matches(name, sorted(shared), n=1, cutoff=CLOSE)
            if near:
                sentences.append(f"The variable {name} is unknown: did you mean {near[0]}?")
            continue
        role = next((role for role in roles if name.startswith(f"{role}_")), None)
        if role is not None and name not in roles[role]:
            near = get_close_matches(name, sorted(roles[role]), n=1, cutoff=CLOSE)
            if near:
                sentences.append(f"The variable {name} is unknown: did you mean {near[0]}?")
    return sentences


def find_misspelt_extra(names: Iterable[str], shared: set[str], roles: Mapping[str, Options]) -> list[str]:
    """A sentence for each extra variable (``-e``) that looks like a known one without its prefix, or with another."""
    sentences = []
    for name in sorted(names):
        known = name in shared or any(name in options for options in roles.values())
        if known or name.startswith((PREFIX, LIKE_PREFIX)):
            # find_misspelt reports these.
            continue
        near = [f"{PREFIX}{name}"] if f"{PREFIX}{name}" in shared else _closest(name, shared)
        if near:
            sentences.append(f"The variable {name} is unknown: did you mean {near[0]}?")
    return sentences


def _closest(name: str, shared: set[str]) -> list[str]:
    """The known variable that is closest to ``name``, with its prefix or without."""
    with_prefix = get_close_matches(name, sorted(shared), n=1, cutoff=CLOSE)
    without = get_close_matches(name, sorted(known[len(PREFIX) :] for known in shared), n=1, cutoff=CLOSE)
    return with_prefix or [f"{PREFIX}{found}" for found in without]
