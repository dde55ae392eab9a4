# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of messages: the one that throws away what a phase has made and runs it again, and the migration that each is for."""

from __future__ import annotations

import re

# In the order of a run. A restart from one phase makes the later ones again, too.
PHASES = ("dump", "transfer", "restore")


def command(phase: str) -> str:
    """A command line that begins again with ``phase``, one of ``PHASES``."""
    if phase not in PHASES:
        raise ValueError(phase)
    return f"ansible-playbook cht.couch2pg.migrate -i inventory -e couch2pg_restart_from={phase}"


def migrate_as(name: str) -> str:
    """A command line that migrates under another name than ``name``: that with the next number, as cht, cht_2, cht_3."""
    found = re.fullmatch(r"(.*)_(\d{1,4})", name)
    another = f"{found[1]}_{int(found[2]) + 1}" if found else f"{name}_2"
    return f"ansible-playbook cht.couch2pg.migrate -i inventory -e couch2pg_migration_id={another}"


def rehearses(migration_id: str) -> str | None:
    """The id of the migration that ``migration_id`` rehearses; None when it isn't a rehearsal."""
    found = _REHEARSAL.fullmatch(migration_id)
    return found.group("of") if found else None


def resume(name: str) -> str:
    """A command line that continues the migration or the rehearsal."""
    playbook = "rehearse" if rehearses(name) else "migrate"
    return f"ansible-playbook cht.couch2pg.{playbook} -i inventory -e couch2pg_migration_id={rehearses(name) or name}"


def give_up(name: str) -> str:
    """A command line that ends what runs of it."""
    return f"ansible-playbook cht.couch2pg.cancel -i inventory -e couch2pg_migration_id={name}"


_REHEARSAL = re.compile(r"(?P<of>.+)_rehearsal_\d{8}T\d{6}")
_COMMAND = re.compile(
    r"ansible-playbook cht\.couch2pg\.(?!prepare\b|preflight\b)\w+ -i inventory(?! -e couch2pg_migration_id=)"
)


def of_migration(text: str, name: str) -> str:
    """The text with the name of the migration in each command: the inventory may have that of another one.

    name: of the migration, or of a rehearsal of it.
    """
    return _COMMAND.sub(rf"\g<0> -e couch2pg_migration_id={rehearses(name) or name}", text)
