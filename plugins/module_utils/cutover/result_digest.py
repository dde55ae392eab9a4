# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a query as digests that can be compared on another host, and that say nothing of the rows.

Every digest is keyed by a secret that is made for one comparison and then forgotten: who reads the digests alone can't
find the rows by trying, not even those of a result of one row. Numbers are equal when they are the same number, whatever
the type and the number of zeros that a server gives them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, Sequence

# Rows that are compared one by one, which a tolerance needs; the whole of a larger result is compared by its digests.
NEAR_ROWS = 10_000
# A number lies in one cell of each of so many grids, each a little further than the one before. Two numbers that are no
# further apart than the tolerance share a cell of at least one.
GRIDS = 8
_MASK = (1 << 128) - 1


def canonical(value: Any) -> str:
    """The value as text, the same for the same value on every server."""
    if isinstance(value, (list, tuple)):
        return "list " + json.dumps([canonical(item) for item in value])
    if isinstance(value, dict):
        return "dict " + json.dumps({str(name): canonical(item) for name, item in value.items()}, sort_keys=True)
    return _scalar(value)


def _scalar(value: Any) -> str:
    kind, text = "text", str(value)
    if value is None or isinstance(value, bool):
        kind = "word"
    elif is_number(value):
        kind, text = "number", str(as_number(value))
    elif isinstance(value, (float, Decimal)):
        kind, text = "number", text.lower()
    elif isinstance(value, (bytes, bytearray, memoryview)):
        kind, text = "bytes", bytes(value).hex()
    elif isinstance(value, dt.datetime) and value.tzinfo is not None:
        kind, text = "time", value.astimezone(dt.timezone.utc).isoformat()
    return f"{kind} {text}"


def is_number(value: Any) -> bool:
    """Whether it is a number that has a place on the line: neither NaN nor infinite."""
    if isinstance(value, bool):
        return False
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite())


def as_number(value: Any) -> Fraction:
    """Its exact value; of a float, the one that its shortest text says."""
    return Fraction(str(value))


class Fingerprint:
    """Digests of a result, taken row by row: as a list, as a set with duplicates, and of each column."""

    def __init__(self, key: bytes, columns: Sequence[str], ignored: Sequence[str] = (), tolerance: float = 0.0) -> None:
        self.rows = 0
        self._key = key
        self._columns = [(place, name) for place, name in enumerate(columns) if name not in ignored]
        self._width = Fraction(str(tolerance)) * GRIDS / (GRIDS - 1)
        self._list = b""
        self._set = 0
        self._sums = [0] * len(self._columns)
        self._near: list[tuple[str, list[tuple[int, Fraction]]]] = []

    def add(self, row: Sequence[Any]) -> None:
        """The next row of the result."""
        self.rows += 1
        cells = [canonical(row[place]) for place, _name in self._columns]
        digest = self._digest(json.dumps(cells))
        self._list = self._digest(self._list.hex() + digest.hex())
        self._set = (self._set + int.from_bytes(digest, "big")) & _MASK
        for number, cell in enumerate(cells):
            self._sums[number] = (self._sums[number] + self._number(f"{number} {cell}")) & _MASK
        if self._width and self.rows <= NEAR_ROWS:
            self._near.append(self._split([row[place] for place, _name in self._columns], cells))

    def as_dict(self, ordered: bool) -> dict[str, Any]:
        """For the other host: only digests and the number of rows."""
        near = None
        if self._width and self.rows <= NEAR_ROWS:
            if not ordered:
                # So that rows which differ by a little stand in about the same place on both sides.
                self._near.sort()
            near = [[exact, [self._cells(place, number) for place, number in numbers]] for exact, numbers in self._near]
        return {
            "rows": self.rows,
            "list": self._list.hex(),
            "set": format(self._set, "032x"),
            "columns": {name: format(total, "032x") for (_place, name), total in zip(self._columns, self._sums)},
            "near": near,
        }

    def _split(self, values: list[Any], cells: list[str]) -> tuple[str, list[tuple[int, Fraction]]]:
        """What must be equal, as a digest, and the numbers, which need only be near."""
        numbers = [(place, as_number(value)) for place, value in enumerate(values) if is_number(value)]
        exact = ["number" if is_number(value) else cell for value, cell in zip(values, cells)]
        return self._digest(json.dumps(exact)).hex(), numbers

    def _cells(self, place: int, number: Fraction) -> list[str]:
        return [
            self._digest(f"{place} {grid} {math.floor(number / self._width + Fraction(grid, GRIDS))}")[:5].hex()
            for grid in range(GRIDS)
        ]

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()

    def _number(self, text: str) -> int:
        return int.from_bytes(self._digest(text), "big")


def differing_rows(source: list[Any], target: list[Any], ordered: bool) -> int:
    """How many of the rows have no partner on the other side, of two results that were taken with a tolerance."""
    if ordered:
        unequal = sum(not _near(ours, theirs) for ours, theirs in zip(source, target))
        return unequal + abs(len(source) - len(target))
    waiting: dict[str, list[Any]] = {}
    for row in target:
        waiting.setdefault(row[0], []).append(row)
    alone = 0
    for row in source:
        partners = waiting.get(row[0], [])
        found = next((place for place, partner in enumerate(partners) if _near(row, partner)), None)
        if found is None:
            alone += 1
        else:
            del partners[found]
    return max(alone, sum(map(len, waiting.values())))


def _near(ours: Any, theirs: Any) -> bool:
    """Whether two rows are the same but for numbers within the tolerance."""
    return (
        ours[0] == theirs[0]
        and len(ours[1]) == len(theirs[1])
        and all(any(cell == other for cell, other in zip(cells, others)) for cells, others in zip(ours[1], theirs[1]))
    )
