# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data source of Klipfolio that the target's server refuses: each remedy is followed as it is printed."""

from __future__ import annotations

import time
from typing import Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import klipfolio as tool
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.sides import Place, Sides
from support import seed
from support.clusters import Cluster
from support.klipfolio import KEY, Klipfolio
from support.migration import execute

ROLE = "Reads 50%"


@pytest.mark.long
def test_a_refresh_that_fails(target_cluster: Cluster, fresh_database: Callable[[Cluster], str]) -> None:
    """First the password is wrong, then the server has no line for Klipfolio's address."""
    name = fresh_database(target_cluster)
    password = seed.create_role(target_cluster, ROLE)
    place = Place(target_cluster.host, target_cluster.port, name)
    hba = target_cluster.data_directory / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")

    def admit(lines: str) -> None:
        hba.write_text(lines, encoding="utf-8")
        execute(target_cluster, "SELECT pg_reload_conf()")

    def refresh(known: str) -> str:
        """Point the data source at the target, as the cutover does, and what it says when that fails."""
        made = tool.Klipfolio(
            KEY,
            Sides(["old.example.org"], 5432, name, place, {ROLE: known}),
            klipfolio.url,
            sleep=lambda seconds: time.sleep(min(seconds, 0.25)),
        )
        ((change,), _ready) = made.plan()
        try:
            made.forward(change)
        except MigrationError as error:
            made.back(change)
            return f"{error.code}: {error.message}"
        return ""

    with Klipfolio() as klipfolio:
        klipfolio.add(1, "visits", host="old.example.org", port=5432, database=name, user=ROLE, password="old")
        try:
            refused = refresh("wrong")
            assert refused.startswith("refresh_failed: ")
            assert "Correct couch2pg_dashboard_passwords" in refused
            admit("local all all scram-sha-256\nhost all postgres 127.0.0.1/32 scram-sha-256\n")
            line = refresh(password).rpartition("pg_reload_conf()): ")[2].replace("ADDRESS", "127.0.0.1")
            admit(f"{line}\n{hba.read_text(encoding='utf-8')}")
            assert refresh(password) == ""
        finally:
            admit(before)
            seed.drop_database(target_cluster, name)
            execute(target_cluster, f'DROP ROLE "{ROLE}"')
