# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in messages are for the migration that says them, whatever the inventory has."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common import restart


@pytest.mark.parametrize(
    ("name", "another"),
    [("cht", "cht_2"), ("cht_2", "cht_3"), ("cht-2026", "cht-2026_2"), ("cht_20261123", "cht_20261123_2")],
)
def test_another_name(name: str, another: str) -> None:
    command = f"ansible-playbook cht.couch2pg.migrate -i inventory.yml -e couch2pg_migration_id={another}"
    assert restart.migrate_as(name) == command


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (
            restart.command("restore"),
            "ansible-playbook cht.couch2pg.migrate -i inventory.yml -e couch2pg_migration_id=one -e couch2pg_restart_from=restore",
        ),
        (
            "(ansible-playbook cht.couch2pg.rollback -i inventory.yml), or",
            "(ansible-playbook cht.couch2pg.rollback -i inventory.yml -e couch2pg_migration_id=one), or",
        ),
        ("ansible-playbook cht.couch2pg.cancel -i inventory.yml -e couch2pg_migration_id=two", None),
        ("ansible-playbook cht.couch2pg.prepare -i inventory.yml installs it", None),
    ],
)
def test_a_command_names_its_migration(command: str, named: str | None) -> None:
    assert restart.of_migration(command, "one") == (named or command)
