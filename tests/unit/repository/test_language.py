# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The language of the repository is plain technical English: no tracked text contains old-fashioned words."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Each pattern has a character class, so that this file doesn't match itself. The comments say what to write instead.
REFUSED = {
    r"\ba[n]ew\b": "again, from the beginning",
    r"\ba[f]resh\b": "again, from the beginning",
    r"\bwho[e]ver\b": "anyone who, the user that, or the name of the subject",
    r"\bnobody[']s\b": "name what is missing",
    r"\bmend[s]?\b|\bmend[i]ng\b|\bmend[e]d\b": "fix, repair",
    r"\bbear[s]?\b|\bbor[e]\b": "has, had",
    r"\bsee tha[t] ": "check that",
    r"\bfor want o[f]\b": "because ... is missing",
    r"\bthere[o]f\b": "of it",
    r"\bhither[t]o\b": "so far",
    r"\bles[t]\b": "so that ... not",
    r"\b(?:go|goes|going|gone) o[n] with\b": "continue, resume",
    r"\bforese[e]n?\b|\bforese[e]s\b": "predict, preview",
    r"\bstand[s]? in the wa[y]\b": "obstructs, prevents",
}
PATTERN = re.compile("|".join(f"({pattern})" for pattern in REFUSED), re.IGNORECASE)


def tracked() -> list[Path]:
    """Every tracked file."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name]


def violations(text: str) -> list[str]:
    """The line, the word and the advice of each refused word in ``text``."""
    advice = list(REFUSED.values())
    return [
        f"line {number}: {found[0]!r}, write instead: {advice[(found.lastindex or 1) - 1]}"
        for number, line in enumerate(text.splitlines(), 1)
        for found in PATTERN.finditer(line.replace("_", " "))
    ]


def test_no_tracked_text_has_an_old_fashioned_word() -> None:
    """Binary files have no text; every other tracked file counts."""
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        found += [f"{path.relative_to(ROOT)}, {violation}" for violation in violations(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("See tha" + "t it is right.", True),
        ("It begins an" + "ew.", True),
        ("Nothing bor" + "e that name.", True),
        ("You can see the table that it reads.", False),
        ("A bearer token and a recommended setting.", False),
    ],
)
def test_the_words_are_recognised(text: str, refused: bool) -> None:
    """Whole words only."""
    assert bool(violations(text)) is refused
