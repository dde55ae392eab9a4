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


REHEARSAL = "cht_rehearsal_20261130T080000"
OF_CHT = "-i inventory.yml -e couch2pg_migration_id=cht"
OF_REHEARSAL = f"-i inventory.yml -e couch2pg_migration_id={REHEARSAL}"


@pytest.mark.parametrize(
    ("command", "named"),
    [
        *(
            (
                restart.command(phase),
                f"ansible-playbook cht.couch2pg.rehearse {OF_CHT} -e couch2pg_restart_from={phase}",
            )
            for phase in restart.PHASES
        ),
        *(
            (
                f"ansible-playbook cht.couch2pg.{name} -i inventory.yml",
                f"ansible-playbook cht.couch2pg.{name} {OF_REHEARSAL}",
            )
            for name in ("cancel", "report", "spare", "status")
        ),
        ("ansible-playbook cht.couch2pg.rehearse -i inventory.yml", f"ansible-playbook cht.couch2pg.rehearse {OF_CHT}"),
        ("ansible-playbook cht.couch2pg.rollback -i inventory.yml", f"ansible-playbook cht.couch2pg.rollback {OF_CHT}"),
        (restart.give_up(REHEARSAL), f"ansible-playbook cht.couch2pg.cancel {OF_REHEARSAL}"),
        (restart.resume(REHEARSAL), f"ansible-playbook cht.couch2pg.rehearse {OF_CHT}"),
        (restart.migrate_as(REHEARSAL), f"ansible-playbook cht.couch2pg.rehearse {OF_CHT}_2"),
        (
            "ansible-playbook cht.couch2pg.prepare -i inventory.yml",
            "ansible-playbook cht.couch2pg.prepare -i inventory.yml",
        ),
    ],
)
def test_a_command_of_a_rehearsal_does_not_migrate(command: str, named: str) -> None:
    assert restart.of_migration(command, REHEARSAL) == named
    assert restart.of_migration(named, REHEARSAL) == named


def test_the_commands_in_a_message() -> None:
    begin_again, cancel = restart.of_migration(restart.command("restore"), "one-1.b"), restart.give_up("one")
    assert restart.printed(f"Load the rows again: {begin_again}. Or stop it ({cancel}), or {begin_again}") == [
        begin_again,
        cancel,
    ]
    assert restart.printed("Run the same command again.") == []
    options = f"{restart.resume('one')} -e 'couch2pg_jobs=2 couch2pg_rate_limit=10MB' --check"
    assert restart.printed(f"Run {options}.") == [options]
