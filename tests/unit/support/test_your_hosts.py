# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal of somebody's inventory must not be able to reach their servers."""

from __future__ import annotations

from typing import Any

import pytest
from support.places import SupportError
from support.your_hosts import stand_ins

REAL = {
    "ansible_host": "192.0.2.7",
    "ansible_port": 2222,
    "ansible_user": "ops",
    "ansible_ssh_common_args": "-J bastion.example.org",
    "ansible_become_password": "secret",
    "ansible_connection": "ssh",
    "couch2pg_app_couchdb_url": "https://couch.example.org/medic",
    "couch2pg_transfer_address": "192.0.2.7",
    "couch2pg_transfer_port": 2222,
    "couch2pg_login_host": "db.example.org",
    "couch2pg_login_password": "secret",
    "couch2pg_login_unix_socket": "/run/real",
    "couch2pg_ssl_mode": "verify-full",
    "couch2pg_ca_cert": "/etc/ssl/db.pem",
    "couch2pg_bin_dir": "/opt/pgsql/bin",
    "couch2pg_become_user": "ops",
    "couch2pg_rehearsal_app": {"kind": "systemd", "unit": "couch2pg-rehearsal"},
    "couch2pg_superset": {"url": "https://superset.example.org"},
    "couch2pg_cutover_steps": [{"name": "dns", "command": {"to": ["nsupdate"]}}],
    "couch2pg_dashboard_passwords": {"superset": "secret"},
    "couch2pg_handover": False,
    "couch2pg_record_host": "db.example.org",
    "restore_login_host": "db.example.org",
    "dump_bin_dir": "/opt/pgsql/bin",
}


KEPT = {
    "couch2pg_jobs": 4,
    "couch2pg_database": "cht",
    "couch2pg_give_login": True,
    "couch2pg_transfer_way": "relay",
    "couch2pg_missing_roles": "revoke",
    "dump_jobs": 2,
    "my_own": 1,
}


def inventory(**groups: list[str]) -> dict[str, Any]:
    return {
        "_meta": {"hostvars": {"old": {**REAL, "ansible_pipelining": True, **KEPT}, "new": dict(REAL)}},
        **{name: {"hosts": hosts} for name, hosts in groups.items()},
    }


def test_nothing_that_leads_to_the_real_hosts_is_kept() -> None:
    old, new = stand_ins(inventory(couch2pg_source=["old"], couch2pg_target=["new"]))
    assert old["variables"] == {"ansible_pipelining": True, **KEPT}
    assert new["variables"] == {}
    assert (old["name"], old["groups"]) == ("old", ["couch2pg_source"])


def test_a_host_in_two_groups_is_one_and_groups_have_groups() -> None:
    read = inventory(couch2pg_source=["old"], couch2pg_app_source=["old"], servers=["new"])
    read["couch2pg_target"] = {"children": ["servers"]}
    old, new = stand_ins(read)
    assert old["groups"] == ["couch2pg_source", "couch2pg_app_source"]
    assert new["groups"] == ["couch2pg_target"]


def test_without_a_target_there_is_nothing_to_rehearse() -> None:
    with pytest.raises(SupportError, match="couch2pg_target"):
        stand_ins(inventory(couch2pg_source=["old"]))
