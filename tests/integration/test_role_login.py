# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role gets the login on the target that it has on the source."""

from __future__ import annotations

import json
import re
from typing import Any, Iterator

import psycopg2
import pytest
from support import seed
from support.clusters import Cluster
from support.migration import column, execute
from support.modules import login, run_module

ROLE, QUOTED = 'couch2pg "new"', '"couch2pg ""new"""'
PASSWORD = "p@s:s/w%40 $?#"


@pytest.fixture
def cluster(target_cluster: Cluster) -> Iterator[Cluster]:
    """It asks this role for md5, as the line of pg_hba.conf has it that couch2pg's documentation wants."""
    hba = target_cluster.data_directory / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text("host all all 127.0.0.1/32 md5\n" + before)
    execute(target_cluster, "SELECT pg_reload_conf()")
    yield target_cluster
    hba.write_text(before)
    execute(target_cluster, "SELECT pg_reload_conf()")
    execute(target_cluster, f"DROP ROLE IF EXISTS {QUOTED}")


def give(cluster: Cluster, check: bool = False, **options: Any) -> dict[str, Any]:
    url = "postgres://couch2pg%20%22new%22:p%40s%3As%2Fw%2540%20%24%3F%23@old.example.org/cht"
    stored = {"format": 1, "style": "url", "variables": {"POSTGRESQL_URL": url}}
    where = {"host": cluster.host, "port": cluster.port, "give": True, "password_hash": "md5"}
    known = {**login(cluster, "not_yet"), "settings": json.dumps(stored), **where}
    result = run_module("role_login", {**known, **options}, check=check)
    assert PASSWORD not in str(result)
    return result


def hashed(cluster: Cluster) -> str:
    (found,) = column(cluster, f"SELECT left(rolpassword, 5) FROM pg_authid WHERE rolname = '{ROLE}'")
    return str(found)


def test_what_is_missing_is_given_once(cluster: Cluster) -> None:
    assert give(cluster, check=True)["given"] == ["CREATE", "LOGIN", "PASSWORD"]
    assert column(cluster, f"SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}'") == []
    assert give(cluster)["changed"]
    assert hashed(cluster).startswith("md5")
    again = give(cluster)
    assert (again["changed"], again["given"]) == (False, [])


@pytest.mark.parametrize(
    ("statement", "given"), [("NOLOGIN", ["LOGIN", "PASSWORD"]), ("PASSWORD 'another'", ["PASSWORD"])]
)
def test_a_role_as_the_restore_makes_it(cluster: Cluster, statement: str, given: list[str]) -> None:
    give(cluster)
    execute(cluster, f"ALTER ROLE {QUOTED} {statement}")
    assert give(cluster)["given"] == given
    connection = psycopg2.connect(host=cluster.host, port=cluster.port, dbname="postgres", user=ROLE, password=PASSWORD)
    connection.close()


def test_a_password_that_couch2pgs_driver_can_not_use(cluster: Cluster) -> None:
    assert give(cluster, password_hash="scram-sha-256")["changed"]
    assert hashed(cluster) == "SCRAM"
    assert not give(cluster, password_hash="scram-sha-256")["changed"]
    assert give(cluster)["given"] == ["PASSWORD"]
    assert hashed(cluster).startswith("md5")


def test_a_server_that_asks_for_scram_all_the_same(cluster: Cluster) -> None:
    hba = cluster.data_directory / "pg_hba.conf"
    hba.write_text(hba.read_text().replace("127.0.0.1/32 md5", "127.0.0.1/32 scram-sha-256", 1))
    execute(cluster, "SELECT pg_reload_conf()")
    result = give(cluster)
    assert result["code"] == "role_login"
    assert "Put this line first in pg_hba.conf" in result["msg"]
    hba.write_text(result["msg"].split("then run again: ")[1] + "\n" + hba.read_text())
    execute(cluster, "SELECT pg_reload_conf()")
    assert not give(cluster).get("failed")


def test_an_address_that_is_not_let_in(cluster: Cluster) -> None:
    """It is not the password that is wrong."""
    give(cluster)
    hba = cluster.data_directory / "pg_hba.conf"
    others = "local all all scram-sha-256\nhost all postgres 127.0.0.1/32 scram-sha-256\n"
    hba.write_text(others)
    execute(cluster, "SELECT pg_reload_conf()")
    result = give(cluster, give=False)
    assert result["code"] == "role_login"
    assert "no pg_hba.conf entry" in result["msg"]
    hba.write_text(result["msg"].split("then run again: ")[1] + "\n" + others)
    execute(cluster, "SELECT pg_reload_conf()")
    assert give(cluster, give=False)["given"] == []


def test_who_may_not_make_roles(cluster: Cluster) -> None:
    password = seed.create_role(cluster, "somebody")
    result = give(cluster, login_user="somebody", login_password=password)
    assert result["code"] == "rights"
    assert not re.search("md5[0-9a-f]{32}", str(result))
    # A superuser runs what it prints, with the password.
    statements = re.findall(r"SET password_encryption.*PASSWORD 'PASSWORD';", result["msg"])[0]
    execute(cluster, statements.replace("'PASSWORD'", f"'{PASSWORD}'"))
    assert not give(cluster)["changed"]
