# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A refused login names what somebody corrects: variables of the inventory, or the settings of couch2pg."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import access
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import connection_errors
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings

OURS = ConnectionSettings("cht", host="db")
TWO_ADDRESSES = "".join(
    f'connection to server at "db" ({address}), port 5432 failed: Connection refused\n\tIs the server running on that host and accepting '
    "TCP/IP connections?\n"
    for address in ("::1", "127.0.0.1")
)
COUCH2PGS = access.login("postgres", 5432, "cht", "couch2pg", "", False)


@pytest.mark.parametrize(
    ("settings", "text", "words"),
    [
        (OURS, 'password authentication failed for user "x"', "check couch2pg_login_user and couch2pg_login_password."),
        (COUCH2PGS, 'password authentication failed for user "x"', "check user and password in couch2pg's settings."),
        (OURS, 'database "cht" does not exist', "check couch2pg_database."),
        (
            OURS.to("cht_incoming"),
            'database "cht_incoming" does not exist',
            "check couch2pg_database, and that the restore was done.",
        ),
        (OURS.maintenance, 'database "postgres" does not exist', "check couch2pg_maintenance_database."),
        (COUCH2PGS, 'database "cht" does not exist', "check the database in couch2pg's settings."),
        (OURS, 'role "x" does not exist', "check couch2pg_login_user."),
        (OURS, "Connection refused\n", "Check couch2pg_login_host, couch2pg_login_port and that the server runs"),
        # Without libpq's own question, and with each address that it tried.
        (
            OURS,
            TWO_ADDRESSES,
            'failed: Connection refused; connection to server at "db" (127.0.0.1), port 5432 failed: Connection refused. Check couch2pg_',
        ),
        (ConnectionSettings("cht"), "No such file or directory", "or couch2pg_postgres: {kind: container"),
        (
            COUCH2PGS,
            "could not translate host name",
            "set couch2pg_app_reach: {login_host: ADDRESS, login_port: PORT}.",
        ),
    ],
)
def test_what_to_correct(settings: ConnectionSettings, text: str, words: str) -> None:
    message = connection_errors.of_login(settings, text, lambda: None).message
    assert words in message
    if settings.origin:
        assert "couch2pg_login_" not in message
