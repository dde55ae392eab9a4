# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of pg_dump."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import pg_dump
from ansible_collections.cht.couch2pg.plugins.module_utils.host.programs import Program
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import Table


@pytest.mark.parametrize(("left_out", "encoding"), [('"public"."plain"', "LATIN1"), ('"public"."Größe"', "UTF8")])
def test_names_in_options_are_in_the_encoding_of_the_archive(left_out: str, encoding: str) -> None:
    """pg_dump doesn't find a table whose name it reads in another one, and dumps its rows all the same."""
    command = pg_dump.build(
        Program("pg_dump", 18), "directory", Path("a"), "s", 1, "none", "dbname=x", "LATIN1", [left_out]
    )
    assert f"--encoding={encoding}" in command.arguments
    assert f"--exclude-table-data={left_out}" in command.arguments


@pytest.mark.parametrize(("major", "tree", "options"), [(14, "public.moods", 1), (14, "", 0), (10, "public.moods", 0)])
def test_partitions_between_which_rows_move_are_loaded_through_their_root(major: int, tree: str, options: int) -> None:
    """pg_dump of an early minor version doesn't do it by itself."""
    table = Table(1, "public", "moods_0", 0, 0, 0, True, tree=tree)
    assert pg_dump.through_root(major, [table]) == ["--load-via-partition-root"] * options
