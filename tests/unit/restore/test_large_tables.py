# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of pg_restore's script, cut into pieces of whole lines."""

from __future__ import annotations

import io

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.restore import large_tables

AFTER = b"\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n"


@pytest.mark.parametrize("read", [1, 2, 3, 5, 16, 1000])
@pytest.mark.parametrize(
    "rows",
    [b"", b"a\n", b"\n", b"\n\n", b"a\nbb\n\\\\.\nccc\n", b"\\N\n\\N\n", b"x" * 50 + b"\n" + b"y\n" * 20, b"\\\\.\n"],
)
def test_the_pieces_are_the_rows(rows: bytes, read: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_tables, "READ_BYTES", read)
    monkeypatch.setattr(large_tables, "PIECE_BYTES", 8)
    pieces = list(large_tables.pieces(io.BytesIO(rows + AFTER)))
    assert [number for number, _piece in pieces] == list(range(len(pieces)))
    assert b"".join(piece for _number, piece in pieces) == rows
    assert all(piece.endswith(b"\n") for _number, piece in pieces[:-1])
    assert pieces == list(large_tables.pieces(io.BytesIO(rows + AFTER)))


@pytest.mark.parametrize("script", [b"", b"a\nb\n", b"a\nb", b"a\n\\."])
def test_rows_that_break_off_are_an_error(script: bytes) -> None:
    with pytest.raises(MigrationError, match="ended before"):
        list(large_tables.pieces(io.BytesIO(script)))
