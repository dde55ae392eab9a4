# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few documents that are unlike all others, as JSON text: what a copy may spoil without anybody seeing it."""

# ruff: noqa: RUF001 (letters that look like others are the point)

from __future__ import annotations

import json
from typing import Iterator

NESTING = 60
KEY_LENGTH = 300

# As text: Python would not keep the zeros.
_NUMBERS = (
    '{"_id": "odd-numbers", "_rev": "1-0", "type": "odd", "one": [1, 1.0, 1.00, 1.000], "zero": [0, -0, 0.0, 0.00],'
    ' "as-given": [1e5, 1E+5, 100000, 1.5e-7, 12e0], "large": 123456789012345678901234567890.123456789000,'
    ' "tiny": 1e-300, "beyond-double": 1e400}'
)


def odd_documents() -> Iterator[str]:
    """JSON text of each; every one has an ``_id`` that begins with ``odd-``."""
    yield _NUMBERS
    for name, document in _documents():
        yield json.dumps({"_id": f"odd-{name}", "_rev": "1-0", "type": "odd", **document}, ensure_ascii=False)


def _documents() -> Iterator[tuple[str, dict[str, object]]]:
    yield "emoji", {"type": "person", "name": "👩🏽‍⚕️ 🇰🇪 𝒲𝑒 ✓", "note": "outside the basic plane: 😀"}
    yield "right-to-left", {"type": "person", "name": "שלום مرحبا", "marks": "\u202eabc\u202c", "phone": "٠١٢٣"}
    # Equal to the eye, different in bytes.
    yield "composed", {"name": "é"}
    yield "decomposed", {"name": "e\u0301"}
    yield "ключ-鍵", {"ключ": "значение", "鍵": "値", "": "the empty key"}
    yield "spaces", {"trailing": "x ", "two": "x  ", "none": "x", "no-break": "x\u00a0", "zero-width": "x\u200b"}
    yield "empty", {"string": "", "null": None, "array": [], "object": {}, "nested": [[], {}, None, ""], "false": False}
    yield "control", {"text": "tab\t line\n return\r bell\u0007 delete\u007f \\N \\. \\\\ \" ' $$ %s {} \u2028 end"}
    yield "sql", {"name": "Robert'); DROP TABLE couchdb; --", "form": "{{ 7 * 7 }}"}
    yield "line-of-copy", {"text": "\\.\n\\.\n"}
    yield "keys", {"k" * KEY_LENGTH: 1, "K" * KEY_LENGTH: 2, "é" * KEY_LENGTH: 3}
    yield "many-keys", {f"key {number}": number for number in range(2000)}
    yield "long-array", {"values": list(range(5000))}
    deep: object = "bottom"
    for level in range(NESTING):
        deep = {f"level {level}": deep} if level % 2 else [deep, level]
    yield "deep", {"tree": deep}
    yield "x" * 900, {"note": "an _id that hardly fits into an index"}
    yield "no-type", {"type": None}
