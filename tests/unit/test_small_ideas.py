# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that fit into a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.findings import Findings
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.digest import choose_method
from ansible_collections.cht.couch2pg.plugins.module_utils.host import files
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import identifiers
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.matview_graph import reached
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.privileges import grantee
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document
from ansible_collections.cht.couch2pg.plugins.module_utils.verify import job as verify_job
from ansible_collections.cht.couch2pg.plugins.plugin_utils.misspelt import find_misspelt

SHARED = {"couch2pg_database", "couch2pg_jobs"}
ROLES = {"dump": {"dump_jobs", "dump_format"}, "record": {"record_host"}}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("couch2pg_databse", "did you mean couch2pg_database?"),
        ("couch2pg_zzz", "see docs/variables.yml"),
        ("dump_job", "did you mean dump_jobs?"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest(name: str, sentence: str) -> None:
    (found,) = find_misspelt([name, "couch2pg_jobs", "ansible_host"], SHARED, ROLES)
    assert name in found
    assert sentence in found


def test_words_of_other_people_are_left_alone() -> None:
    assert find_misspelt(["record_ttl", "dump_schedule", "dumpling", "couch2pg"], SHARED, ROLES) == []


def test_names_that_postgresql_would_cut_are_refused() -> None:
    assert identifiers.check_length("ä" * 31)
    with pytest.raises(MigrationError, match="64 bytes"):
        identifiers.check_length("ä" * 32)


def test_identifiers_and_literals_are_quoted() -> None:
    assert identifiers.qualified('a"b', "select") == '"a""b"."select"'
    assert identifiers.literal("it's\\") == "E'it''s\\\\'"


@pytest.mark.parametrize(
    ("wanted", "version", "method"),
    [("auto", 100000, "md5"), ("auto", 110000, "hash64"), ("hash128", 160000, "hash128"), ("md5", 100000, "md5")],
)
def test_the_digest_method_suits_the_older_server(wanted: str, version: int, method: str) -> None:
    assert choose_method(wanted, version) == method


def test_a_method_that_the_older_server_lacks_is_refused() -> None:
    with pytest.raises(MigrationError, match="needs PostgreSQL 11"):
        choose_method("hash64", 100000)


def sequence(last: int, called: bool = True, increment: int = 1) -> dict[str, Any]:
    return {"last_value": last, "is_called": called, "increment": increment}


@pytest.mark.parametrize(
    ("found", "differs"),
    [(sequence(5), False), (sequence(7), False), (sequence(9), False), (sequence(4), True), (sequence(10), True)],
)
def test_a_sequence_stands_between_before_and_after(found: dict[str, Any], differs: bool) -> None:
    source = {"s": {"before": sequence(5), "after": sequence(9)}}
    assert bool(verify_job.compare_sequences(source, {"s": found})) is differs


def test_a_sequence_that_counts_down() -> None:
    source = {"s": {"before": sequence(-5, increment=-1), "after": sequence(-9, increment=-1)}}
    assert not verify_job.compare_sequences(source, {"s": sequence(-7, increment=-1)})
    assert verify_job.compare_sequences(source, {"s": sequence(-4, increment=-1)})


def test_a_sequence_that_started_over() -> None:
    source = {"s": {"before": sequence(98), "after": sequence(3)}}
    assert not verify_job.compare_sequences(source, {"s": sequence(99)})
    assert not verify_job.compare_sequences(source, {"s": sequence(2)})
    assert verify_job.compare_sequences(source, {"s": sequence(50)})


def test_a_sequence_that_was_never_used() -> None:
    source = {"s": {"before": sequence(1, called=False), "after": sequence(1, called=False)}}
    assert not verify_job.compare_sequences(source, {"s": sequence(1, called=False)})
    assert verify_job.compare_sequences(source, {"s": sequence(1)})


def table(name: str, rows: int, digest: str) -> dict[str, Any]:
    return {"table": name, "rows": rows, "digest": digest}


def test_every_difference_of_tables_is_named() -> None:
    source = [table("a", 1, "x"), table("b", 1, "x"), table("c", 1, "x"), table("d", 1, "x")]
    target = [table("a", 1, "x"), table("b", 2, "y"), table("c", 1, "y"), table("e", 1, "x")]
    problems = {found["object"]: found["problem"] for found in verify_job.compare_tables(source, target)}
    assert problems == {
        "b": "has another number of rows",
        "c": "has other content",
        "d": "is missing on the target",
        "e": "is on the target only",
    }


def test_a_failed_check_does_not_hide_the_next() -> None:
    findings = Findings()

    def broken() -> None:
        raise MigrationError("Mend this.", "broken")

    findings.ask("first", broken, str)
    findings.ask("second", lambda: 7, str)
    assert [(found["name"], found["status"], found["message"]) for found in findings.as_list()] == [
        ("first", "failure", "Mend this."),
        ("second", "ok", "7"),
    ]
    assert findings.failed


def test_views_between_matviews_count() -> None:
    assert reached({1: {2}, 2: {3}, 3: set(), 4: {1}}, 4) == {1, 2, 3}


def test_roles_with_spaces_are_read_from_grants() -> None:
    assert grantee("my role SELECT WITH GRANT OPTION") == "my role"


def test_a_phase_that_says_the_same_again_changes_nothing() -> None:
    result = {"changed": True, "rows": 5, "job": {"progress": {}}, "invocation": {}}
    entry = record_document.make_entry("old", result)
    assert entry == {"status": "done", "host": "old", "error": None, "result": {"rows": 5}}
    first = record_document.merge(None, "m", "cht", "dump", entry, "2026-01-01T00:00:00Z")
    assert record_document.merge(first, "m", "cht", "dump", entry, "2026-01-02T00:00:00Z") is first
    failed = record_document.make_entry("old", {"failed": True, "msg": "No.", "code": "no"})
    second = record_document.merge(first, "m", "cht", "dump", failed, "2026-01-02T00:00:00Z")
    assert [event["status"] for event in second["history"]] == ["done", "failed"]


def test_the_systems_own_folders_are_no_place_for_archives(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "not" / "yet")
    with pytest.raises(MigrationError, match="is a virtual file system such as /proc"):
        files.check_writable(Path("/proc/nope"))
