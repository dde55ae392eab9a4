# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a schema must look like when the operator lets roles, or functions, be other ones on the target."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.catalog_use import number
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.function_paths import check, quoted
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.role_mapping import (
    moved,
    moved_database,
    moved_grants,
)

MOVES = {"couch2pg": "the app", "gone": None}


def test_owners_grants_policies_and_defaults_move() -> None:
    schema = {
        "tables": {
            "public.t": {
                "owner": "couch2pg",
                "grants": ["couch2pg SELECT", "gone SELECT", "other SELECT"],
            }
        },
        "column": {"public.t.a": {"grants": ["gone UPDATE"]}},
        "policies": {
            "t: p": {"roles": ["couch2pg", "gone"]},
            "t: q": {"roles": ["gone"]},
            "t: r": {"roles": ["PUBLIC"]},
        },
        "default_privileges": {
            "couch2pg public r": {"grants": ["gone SELECT", "other SELECT"]},
            "couch2pg public S": {"grants": ["gone USAGE"]},
            "gone * r": {"grants": ["other SELECT"]},
            "couch2pg * r": {"grants": ["couch2pg INSERT", "couch2pg SELECT", "gone SELECT"]},
            "couch2pg * S": {"grants": ["couch2pg USAGE"]},
            "couch2pg * f": {"grants": ["PUBLIC EXECUTE", "couch2pg EXECUTE", "gone EXECUTE"]},
            # Everything was revoked, also from the role itself.
            "couch2pg * T": {"grants": None},
        },
        "user_mappings": {"couch2pg on s": {"roles": ["couch2pg"]}, "gone on s": {"roles": ["gone"]}},
        "comment on table": {"public.t": {}},
    }
    assert moved(schema, MOVES) == {
        "tables": {
            "public.t": {
                "owner": "the app",
                "grants": ["other SELECT", "the app SELECT"],
            }
        },
        "column": {"public.t.a": {"grants": []}},
        "policies": {"t: p": {"roles": ["the app"]}, "t: r": {"roles": ["PUBLIC"]}},
        "default_privileges": {
            "the app public r": {"grants": ["other SELECT"]},
            "the app * S": {"grants": ["the app USAGE"]},
            "the app * T": {"grants": None},
        },
        "user_mappings": {"the app on s": {"roles": ["the app"]}},
        "comment on table": {"public.t": {}},
    }
    assert moved(schema, {}) is schema


def test_two_roles_that_become_one_have_each_privilege_once() -> None:
    grants = ["a b SELECT", "new SELECT WITH GRANT OPTION", "new UPDATE", "a b UPDATE"]
    assert moved_grants(grants, {"a b": "new"}) == ["new SELECT WITH GRANT OPTION", "new UPDATE"]


def test_a_database_moves_too() -> None:
    properties = {
        "owner": "couch2pg",
        "grants": ["gone CONNECT", "couch2pg CONNECT"],
        "role_settings": {"gone": ["a=1"], "couch2pg": ["b=2"]},
    }
    assert moved_database(properties, MOVES) == {
        "owner": "the app",
        "grants": ["the app CONNECT"],
        "role_settings": {"the app": ["b=2"]},
    }


def test_a_search_path_is_names_and_nothing_else() -> None:
    assert quoted("f()", 'Public, "Odd", pg_temp') == '"public", "Odd", "pg_temp"'
    for path in ("", "public; DROP TABLE couchdb", "public,", "a b", '"open'):
        with pytest.raises(MigrationError, match="is not a list of schemas"):
            check({"f()": path})


def test_versions_are_compared_by_their_numbers() -> None:
    assert number("1.10") > number("1.9") == number("1.9.dev")
    assert number("3.4.2") > number("3.4")
    assert number("unpackaged") == ()
