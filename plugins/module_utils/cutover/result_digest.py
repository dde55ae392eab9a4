# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests of a query's result, which another host can compare, and which reveal nothing of the rows.

Each digest is keyed with a secret that is used for one comparison. Without that secret nobody can find the rows by guessing, not
even those of a result with one row. Equal numbers have equal digests, independent of their type and trailing zeros.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, Sequence, TypedDict

# The largest result that is compared row by row, as a tolerance needs it.
NEAR_ROWS = 10_000
# The number of grids, each shifted a little against the one before. A number lies in one cell of each grid, and two numbers whose
# difference is within the tolerance share a cell in at least one grid.
GRIDS = 8
_MASK = (1 << 128) - 1


class ResultDigests(TypedDict):
    """The digests of a result: as a list, as a multiset, and of each column.

    near: of each row, a digest of its exact values and the grid cells of its numbers; None without a tolerance.
    """

    rows: int
    list: str
    set: str
    columns: dict[str, str]
    near: list[Any] | None


def canonical(value: Any) -> str:
    """The value as text, equal for equal values on every server."""
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
    """Whether the value is a finite number."""
    if isinstance(value, bool):
        return False
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite())


def as_number(value: Any) -> Fraction:
    """The exact value; of a float, the value of its shortest text."""
    return Fraction(str(value))


class Fingerprint:
    """Digests of a result, computed row by row: as a list, as a multiset, and of each column."""

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
        """Add the next row of the result."""
        self.rows += 1
        cells = [canonical(row[place]) for place, _name in self._columns]
        digest = self._digest(json.dumps(cells))
        self._list = self._digest(self._list.hex() + digest.hex())
        self._set = (self._set + int.from_bytes(digest, "big")) & _MASK
        for number, cell in enumerate(cells):
            self._sums[number] = (self._sums[number] + self._number(f"{number} {cell}")) & _MASK
        if self._width and self.rows <= NEAR_ROWS:
            self._near.append(self._split([row[place] for place, _name in self._columns], cells))

    def as_dict(self, ordered: bool) -> ResultDigests:
        """The digests and the number of rows, for the other host."""
        near = None
        if self._width and self.rows <= NEAR_ROWS:
            if not ordered:
                # Rows that differ a little are then at similar positions on both sides.
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
        """A digest of the values that must be equal, and the numbers that may differ within the tolerance."""
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
    """How many rows have no equal row on the other side, within the tolerance."""
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
    """Whether two rows are equal, with numbers within the tolerance."""
    return (
        ours[0] == theirs[0]
        and len(ours[1]) == len(theirs[1])
        and all(any(cell == other for cell, other in zip(cells, others)) for cells, others in zip(ours[1], theirs[1]))
    )
