# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of a host say of the place of a server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.plugin_utils.server_place import is_open, problems


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"couch2pg_postgres": {"kind": "auto"}},
        {"couch2pg_postgres": {"kind": "host"}, "couch2pg_login_host": "127.0.0.1"},
        {"couch2pg_postgres": {"container": "cht-postgres-1"}},
        {"couch2pg_postgres": {"kind": "container", "container": "cht/postgres"}},
        {"couch2pg_postgres": {"kind": "service"}, "couch2pg_login_host": "db.example.org"},
        # No mapping: the check of types reports it.
        {"couch2pg_postgres": "container"},
    ],
)
def test_what_fits(values: dict[str, Any]) -> None:
    assert problems(values) == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kind": "docker"}, "The variable couch2pg_postgres.kind must be one of auto, host, container, service, and it is 'docker'."),
        ({"name": "x"}, "The variable couch2pg_postgres has no entry name: it has kind and container."),
        ({"kind": "host", "container": "x"}, "The variable couch2pg_postgres has the kind host and names a container: leave one of"),
        ({"kind": "service"}, "The variable couch2pg_postgres has the kind service, and nothing says where"),
    ],
)  # fmt: skip
def test_what_does_not_fit(given: dict[str, Any], sentence: str) -> None:
    (found,) = problems({"couch2pg_postgres": given})
    assert found.startswith(sentence)


ADDRESS, SOCKET = {"couch2pg_login_host": "127.0.0.1"}, {"couch2pg_login_unix_socket": "/run/postgresql"}
USER = {"couch2pg_become_user": "postgres"}


@pytest.mark.parametrize(
    ("given", "others", "is_it"),
    [
        ({}, {}, True),
        ({}, ADDRESS, False),
        ({}, SOCKET, False),
        ({"kind": "auto"}, {}, True),
        ({"kind": "host"}, {}, False),
        # A container's socket is not on the host, so the container has to be found.
        ({"kind": "container"}, SOCKET, True),
        ({"kind": "container"}, ADDRESS, False),
        # Who may run docker there is not known.
        ({"kind": "container", "container": "cht-postgres-1"}, ADDRESS, True),
        ({"container": "cht-postgres-1"}, {**ADDRESS, **USER}, False),
        ({"container": "cht-postgres-1"}, USER, True),
        # A service has no user on this host.
        ({"kind": "service"}, ADDRESS, True),
        ({"kind": "service"}, {**ADDRESS, **USER}, False),
    ],
)
def test_whether_the_host_has_to_be_searched(given: dict[str, Any], others: dict[str, Any], is_it: bool) -> None:
    assert is_open({"couch2pg_postgres": given, **others}) is is_it
