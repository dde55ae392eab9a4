# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sequences and tables of the source compared with those of the target."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common import restart
from ansible_collections.cht.couch2pg.plugins.module_utils.common.difference import SchemaDifference
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.evidence_rows import LargeObjects
from ansible_collections.cht.couch2pg.plugins.module_utils.schema.differences import difference, sentence
from ansible_collections.cht.couch2pg.plugins.module_utils.verify import contents, refusal


def sequence(last: int, called: bool = True, increment: int = 1) -> dict[str, Any]:
    return {"last_value": last, "is_called": called, "increment": increment}


@pytest.mark.parametrize(
    ("found", "differs"),
    [(sequence(5), False), (sequence(7), False), (sequence(9), False), (sequence(4), True), (sequence(10), True)],
)
def test_a_sequence_stands_between_before_and_after(found: dict[str, Any], differs: bool) -> None:
    source = {"s": {"before": sequence(5), "after": sequence(9)}}
    assert bool(contents.compare_sequences(source, {"s": found})) is differs


def partition(name: str, rows: int, digest: int) -> dict[str, Any]:
    return {"table": name, "rows": rows, "digest": format(digest, "032x"), "tree": "moods"}


def test_partitions_between_which_rows_move_are_one_table() -> None:
    source = [partition("moods_0", 3, 7), partition("moods_1", 0, (1 << 128) - 2)]
    moved = [partition("moods_0", 1, (1 << 128) - 3), partition("moods_1", 2, 8)]
    assert contents.compare_tables(source, moved) == []
    (found,) = contents.compare_tables(source, [moved[0], partition("moods_1", 2, 9)])
    assert (found["object"], found["problem"]) == ("moods", "has different content")
    (found,) = contents.compare_tables(source, moved[:1])
    assert (found["object"], found["problem"]) == ("moods", "has a different number of rows")


def test_a_sequence_that_counts_down() -> None:
    source = {"s": {"before": sequence(-5, increment=-1), "after": sequence(-9, increment=-1)}}
    assert not contents.compare_sequences(source, {"s": sequence(-7, increment=-1)})
    assert contents.compare_sequences(source, {"s": sequence(-4, increment=-1)})


def test_a_sequence_that_started_over() -> None:
    source = {"s": {"before": sequence(98), "after": sequence(3)}}
    assert not contents.compare_sequences(source, {"s": sequence(99)})
    assert not contents.compare_sequences(source, {"s": sequence(2)})
    assert contents.compare_sequences(source, {"s": sequence(50)})


def test_a_sequence_that_was_never_used() -> None:
    source = {"s": {"before": sequence(1, called=False), "after": sequence(1, called=False)}}
    assert not contents.compare_sequences(source, {"s": sequence(1, called=False)})
    assert contents.compare_sequences(source, {"s": sequence(1)})


def table(name: str, rows: int, digest: str) -> dict[str, Any]:
    return {"table": name, "rows": rows, "digest": digest}


def test_every_difference_of_tables_is_named() -> None:
    source = [table("a", 1, "x"), table("b", 1, "x"), table("c", 1, "x"), table("d", 1, "x")]
    target = [table("a", 1, "x"), table("b", 2, "y"), table("c", 1, "y"), table("e", 1, "x")]
    problems = {found["object"]: found["problem"] for found in contents.compare_tables(source, target)}
    assert problems == {
        "b": "has a different number of rows",
        "c": "has different content",
        "d": "is missing on the target",
        "e": "is on the target only",
    }


def large_objects(count: int, digest: str) -> LargeObjects:
    return {"count": count, "digest": digest}


def test_large_objects_differ_in_number_or_content() -> None:
    source = large_objects(5, "ab")
    (number,) = contents.compare_large_objects(source, large_objects(4, "cd"))
    assert sentence(number) == "large objects: the number differs (source: 5; target: 4)"
    (content,) = contents.compare_large_objects(source, large_objects(5, "cd"))
    assert sentence(content) == "large objects: the content differs (source: ab; target: cd)"
    assert contents.compare_large_objects(source, large_objects(5, "ab")) == []


def message(source: list[Any], target: list[Any], *schema: SchemaDifference) -> str:
    rows = contents.compare_tables(source, target)
    with pytest.raises(MigrationError) as raised:
        refusal.raise_if_different("cht_incoming", rows, list(schema))
    return raised.value.message


def test_the_message_says_which_database_differs_and_what_to_do() -> None:
    lost = message([table("public.b", 2, "x")], [table("public.b", 1, "y")])
    assert lost.startswith(
        "The restored database 'cht_incoming' differs from the source: rows: public.b has a different number of rows"
    )
    assert "It was not promoted." in lost
    assert lost.endswith(f"load all rows again: {restart.command('restore')}")
    of_schema = message([], [], difference("index", "public.i", "is missing on the target", None, None))
    assert "Fix the cause on the target, then run again." in of_schema
    assert 'couch2pg_accept_differences: ["index public.i is missing on the target (' in of_schema


def test_a_table_that_is_on_the_target_only_needs_no_rows_of_the_source() -> None:
    extra = table("public.Stranger", 0, "x")
    told = message([], [extra], difference("table", "public.Stranger", "is on the target only", None, ""))
    assert told.endswith(
        "Find out what created this table. If nothing needs the rows, run on the target, in 'cht_incoming': "
        'DROP TABLE "public"."Stranger"; Then run the same command again.'
    )
    more = message([], [extra, table("public.b", 0, "x")])
    assert "these tables." in more
    assert 'DROP TABLE "public"."Stranger", "public"."b";' in more
    assert restart.command("restore") in message([table("public.b", 2, "x")], [extra])
