# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ansible-playbook command lines in messages to the operator."""

from __future__ import annotations

import re

# In the order in which they run. A restart from one phase also repeats the later ones.
PHASES = ("dump", "transfer", "restore")


def command(phase: str) -> str:
    """The command line that discards the results of ``phase`` (one of ``PHASES``) and of later phases, and runs them again."""
    if phase not in PHASES:
        raise ValueError(phase)
    return f"ansible-playbook cht.couch2pg.migrate -i inventory.yml -e couch2pg_restart_from={phase}"


def migrate_as(name: str) -> str:
    """The command line that migrates under another id: ``name`` with the next number (cht, cht_2, cht_3)."""
    found = re.fullmatch(r"(.*)_(\d{1,4})", name)
    another = f"{found[1]}_{int(found[2]) + 1}" if found else f"{name}_2"
    return f"ansible-playbook cht.couch2pg.migrate -i inventory.yml -e couch2pg_migration_id={another}"


def rehearses(migration_id: str) -> str | None:
    """The id of the migration that ``migration_id`` rehearses; None when it isn't a rehearsal."""
    found = _REHEARSAL.fullmatch(migration_id)
    return found.group("of") if found else None


def resume(name: str) -> str:
    """The command line that continues the migration or rehearsal ``name``."""
    playbook = "rehearse" if rehearses(name) else "migrate"
    return (
        f"ansible-playbook cht.couch2pg.{playbook} -i inventory.yml -e couch2pg_migration_id={rehearses(name) or name}"
    )


def give_up(name: str) -> str:
    """The command line that ends the running jobs of the migration ``name``."""
    return f"ansible-playbook cht.couch2pg.cancel -i inventory.yml -e couch2pg_migration_id={name}"


_REHEARSAL = re.compile(r"(?P<of>.+)_rehearsal_\d{8}T\d{6}")
_COMMAND = re.compile(
    r"ansible-playbook cht\.couch2pg\.(?!prepare\b|preflight\b)\w+ -i inventory.yml(?! -e couch2pg_migration_id=)"
)


def of_migration(text: str, name: str) -> str:
    """The text with the id of the migration added to each command, because the inventory may contain the id of another migration.

    name: the id of the migration, or of a rehearsal of it.
    """
    return _COMMAND.sub(rf"\g<0> -e couch2pg_migration_id={rehearses(name) or name}", text)
