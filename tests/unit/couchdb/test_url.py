# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""COUCHDB_URL: the keys that couch2pg makes of it, and what is told of one that is wrong."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couchdb.url import parse

GOOD = "https://medic:p%40ss%2Fword@couch.example.org/medic"


def keys(url: str, **variables: str) -> list[str]:
    return [entry.key for entry in parse(url).followed(variables)]


def test_the_keys_are_those_of_couchdb_progress() -> None:
    assert keys(GOOD) == [
        "couch.example.org/medic",
        "couch.example.org/medic-sentinel",
        "couch.example.org/medic-users-meta",
        "couch.example.org/medic-logs",
        "couch.example.org/_users",
    ]


def test_a_database_is_followed_unless_it_is_switched_off() -> None:
    assert keys(GOOD, SYNC_DB_MEDIC="true", SYNC_DB_SENTINEL="false", SYNC_DB_LOGS="False", SYNC_DB_USERS="") == [
        "couch.example.org/medic",
        "couch.example.org/medic-users-meta",
        "couch.example.org/_users",
    ]


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://u:p@Couch.Example.ORG/medic", "couch.example.org/medic"),
        ("https://couch.example.org:443/medic", "couch.example.org:443/medic"),
        ("http://u:p@127.0.0.1:5984/medic", "127.0.0.1:5984/medic"),
        ("http://[::1]:5984/medic", "[::1]:5984/medic"),
        ("https://u:p@couch.example.org/medic/", "couch.example.org/medic/"),
        ("https://u:p@couch.example.org/medic?x=1", "couch.example.org/medic?x=1"),
        ("https://u:p@couch.example.org", "couch.example.org/"),
    ],
)
def test_a_port_a_slash_and_a_query_are_parts_of_the_key(url: str, key: str) -> None:
    assert parse(url).key == key


def test_credentials_are_decoded_and_shown_nowhere() -> None:
    url = parse(GOOD)
    assert (url.user, url.password) == ("medic", "p@ss/word")
    assert "p@ss" not in repr(url) + str(url) + url.key + url.server
    assert url.problems == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://c/medic/", "ends with a slash"),
        ("https://c/medic?x", "has a query string"),
        ("https://c", "contains no database name"),
    ],
)
def test_traps_are_named(url: str, problem: str) -> None:
    assert problem in " ".join(parse(url).problems)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "couch.example.org/medic",
        "ftp://couch.example.org/medic",
        "https://u:se@cret@couch.example.org/medic",
        "https://u:se/cret@couch.example.org/medic",
        "https://u:secret@couch.example.org:99999/medic",
        "https://u:se#cret@couch.example.org/medic",
        "https://u:secret@/medic",
    ],
)
def test_what_is_no_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(MigrationError, match="Percent-encode special characters") as raised:
        parse(url)
    assert "cret" not in str(raised.value.as_dict())
