# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and literals in statements."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import identifiers


def test_names_that_postgresql_would_cut_are_refused() -> None:
    assert identifiers.check_length("ä" * 31)
    with pytest.raises(MigrationError, match="64 bytes"):
        identifiers.check_length("ä" * 32)


def test_names_that_are_the_same_without_quotes_are_told_apart() -> None:
    names = [("a", "b.c"), ("a.b", "c"), ('"a', 'b"'), ('"a.b"', "c")]
    assert [identifiers.shown(*name) for name in names] == ['a."b.c"', '"a.b".c', '"a.b"', '"""a.b""".c']
    assert identifiers.shown("public", "couchdb") == "public.couchdb"


def test_identifiers_and_literals_are_quoted() -> None:
    assert identifiers.qualified('a"b', "select") == '"a""b"."select"'
    assert identifiers.literal("it's\\") == "E'it''s\\\\'"
