# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of a connection become for psycopg2 and for PostgreSQL's programs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings

DEFAULTS = {name: option.get("default") for name, option in CONNECTION_OPTIONS.items()}


def settings(**options: Any) -> ConnectionSettings:
    return ConnectionSettings.from_options({**DEFAULTS, "database": "it's\\cht", **options})


def test_certificate_and_parameters_reach_both() -> None:
    given = settings(
        login_host="db", ssl_cert="/etc/role.pem", ssl_key="/etc/role.key", connect_params={"gssencmode": "disable", "tcp_user_timeout": 9}
    )  # fmt: skip
    libpq = given.libpq()
    assert (libpq["sslcert"], libpq["sslkey"], libpq["tcp_user_timeout"]) == ("/etc/role.pem", "/etc/role.key", "9")
    conninfo = given.conninfo()
    assert conninfo.startswith("dbname='it\\'s\\\\cht' ")
    assert "gssencmode='disable'" in conninfo
    assert "sslkey" not in conninfo
    # As a job stores them.
    assert ConnectionSettings.restored(json.loads(json.dumps(given.public())), None) == given


def test_a_parameter_replaces_what_the_collection_sets() -> None:
    assert settings(connect_params={"connect_timeout": 60}).libpq()["connect_timeout"] == "60"


@pytest.mark.parametrize("name", ["password", "host", "sslpassword", "options"])
def test_a_parameter_that_has_an_option_is_refused(name: str) -> None:
    with pytest.raises(MigrationError) as refused:
        settings(connect_params={name: "x"})
    assert refused.value.message.startswith(f"couch2pg_connect_params can't have {name}: ")


def test_other_databases_are_made_from_the_maintenance_database() -> None:
    assert settings(maintenance_database="defaultdb").maintenance.database == "defaultdb"


def test_the_place_names_the_container() -> None:
    assert (
        settings(login_host="172.18.0.2", login_container="cht-postgres-1").place
        == "172.18.0.2:5432 (container cht-postgres-1)"
    )
