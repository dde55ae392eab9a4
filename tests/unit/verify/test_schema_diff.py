# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a difference between two schemas, and what only two servers word differently."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.verify.schema_diff import compare, sentence


class Server:
    """A session of a server that prints every view as ``printed``, or refuses to read it."""

    def __init__(self, printed: str = "", error: MigrationError | None = None) -> None:
        self.printed = printed
        self.error = error
        self.executed: list[str] = []

    def execute(self, sql: str) -> None:
        self.executed.append(sql)
        if self.error and sql.startswith("CREATE"):
            raise self.error

    def value(self, _sql: str, _parameters: Any = None) -> str:
        return self.printed


def differences(
    source: dict[str, Any], target: dict[str, Any], majors: tuple[int, int] = (16, 18), server: Server | None = None
) -> list[str]:
    return [sentence(found) for found in compare(source, target, majors, server or Server())]  # type: ignore[arg-type]


def test_equal_schemas_do_not_differ() -> None:
    schema = {"tables": {"public.a": {"owner": "x", "grants": ["y SELECT"]}}, "comments": {"table public.a": "text"}}
    assert differences(schema, schema) == []


def test_an_object_is_missing_or_too_many() -> None:
    source = {"tables": {"public.a": {}, "public.b": {}}, "indexes": {"public.i": {}}}
    target = {"tables": {"public.b": {}, "public.c": {}}}
    assert differences(source, target) == [
        "indexes: public.i is missing on the target",
        "tables: public.a is missing on the target",
        "tables: public.c is on the target only",
    ]


def test_every_property_that_differs_is_named() -> None:
    source = {"functions": {"public.f()": {"owner": "x", "security_definer": False, "source": "1"}}}
    target = {"functions": {"public.f()": {"owner": "postgres", "security_definer": True, "source": "1"}}}
    assert differences(source, target) == [
        'functions: public.f() has another owner (source "x", target "postgres")',
        "functions: public.f() has another security definer (source false, target true)",
    ]


def test_plain_values_are_compared_too() -> None:
    assert differences({"comments": {"t": "a"}}, {"comments": {"t": "b"}}) == [
        'comments: t differs (source "a", target "b")'
    ]


def test_long_values_are_cut() -> None:
    (text,) = differences({"comments": {"t": "a" * 500}}, {"comments": {"t": "b"}})
    assert len(text) < 200
    assert "..." in text


@pytest.mark.parametrize(("majors", "expected"), [((16, 18), 0), ((17, 18), 1)])
def test_a_privilege_that_the_older_server_lacks_is_no_difference(majors: tuple[int, int], expected: int) -> None:
    source = {"tables": {"t": {"grants": ["x SELECT"]}}}
    target = {"tables": {"t": {"grants": ["x MAINTAIN", "x SELECT"]}}}
    assert len(differences(source, target, majors)) == expected


def test_a_view_that_is_worded_differently_is_read_again_by_the_target() -> None:
    source = {"views": {"v": {"definition": "SELECT t.a FROM t"}}}
    target = {"views": {"v": {"definition": "SELECT a FROM t"}}}
    server = Server(printed="SELECT a FROM t")
    assert differences(source, target, server=server) == []
    assert server.executed[0] == "BEGIN"
    assert server.executed[-1] == "ROLLBACK"
    assert differences(source, target, server=Server(printed="SELECT b FROM t")) != []


def test_a_view_that_the_target_can_not_read_differs() -> None:
    source = {"views": {"v": {"definition": "SELECT gone FROM t"}}}
    target = {"views": {"v": {"definition": "SELECT a FROM t"}}}
    assert len(differences(source, target, server=Server(error=MigrationError("no", "sql")))) == 1
    with pytest.raises(MigrationError, match="lost"):
        differences(source, target, server=Server(error=MigrationError("lost", "connection_lost")))


OLD_PUBLIC = ["PUBLIC CREATE", "PUBLIC USAGE", "pg_database_owner CREATE", "superset USAGE"]
NEW_PUBLIC = ["PUBLIC USAGE", "pg_database_owner CREATE", "superset USAGE"]


def public(*grants: str) -> dict[str, Any]:
    return {"schemas": {"public": {"owner": "pg_database_owner", "grants": list(grants)}}}


def test_what_an_old_database_began_with_is_no_difference() -> None:
    """pg_dump before 15 says nothing of it, and from 15 on a database begins without."""
    assert differences(public(*OLD_PUBLIC), public(*NEW_PUBLIC), (13, 17)) == []
    assert differences(public(*OLD_PUBLIC), public(*OLD_PUBLIC), (13, 17)) == []
    assert differences(public(*NEW_PUBLIC), public(*NEW_PUBLIC), (13, 17)) == []
    # Where both begin alike, or somebody else lost a right, it is one.
    assert len(differences(public(*OLD_PUBLIC), public(*NEW_PUBLIC), (15, 17))) == 1
    assert len(differences(public(*OLD_PUBLIC), public(*NEW_PUBLIC), (13, 14))) == 1
    assert len(differences(public(*OLD_PUBLIC), public(*NEW_PUBLIC[:-1]), (13, 17))) == 1
