# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A password that is also the name of a role, a database or a folder. Ansible masks it wherever it occurs in a result."""

from __future__ import annotations

import json
from typing import Iterator

import pytest
from support import seed
from support.cases import rarely
from support.clusters import Cluster
from support.migration import Migration, execute

LOGIN = "administrator"


@pytest.fixture
def logins(migration: Migration, password: str) -> Iterator[None]:
    """A superuser on both servers with the password."""
    servers: list[Cluster] = [migration.source, migration.target]
    for cluster in servers:
        execute(cluster, f"CREATE ROLE {LOGIN} LOGIN SUPERUSER PASSWORD '{password}'")
    login = {"couch2pg_login_user": LOGIN, "couch2pg_login_password": password}
    migration.host_variables = {"source": dict(login), "target": dict(login)}
    try:
        yield
    finally:
        for cluster in servers:
            execute(cluster, f"DROP ROLE {LOGIN}")


@pytest.mark.parametrize("password", [seed.OWNER, rarely("staging"), rarely("test")])
@pytest.mark.usefixtures("logins")
def test_a_password_that_is_a_name_is_not_masked(migration: Migration, password: str) -> None:
    """The owner of the tables, a folder of the archive's path, the name of the migration."""
    # The archive goes through the controller, so that its path on the source is used.
    migration.variables["couch2pg_transfer_way"] = "relay"
    migration.host_variables["target"] |= {
        "couch2pg_staging_dir": str(migration.folder / "there"),
    }
    run = migration.run("migrate", "-vvv")
    assert run.code == 0, run.output
    assert run.warnings == []
    record = json.dumps(migration.record)
    assert str(migration.archive) in record
    assert "****" not in record
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" not in record
    assert "cht.couch2pg." in run.output
    # Older versions of Ansible show all options of a module.
    assert f'"login_password": "{password}"' not in run.output
