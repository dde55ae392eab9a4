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
    """The command line that migrates (or rehearses) under another id: ``name`` with the next number (cht, cht_2, cht_3)."""
    real = rehearses(name) or name
    found = re.fullmatch(r"(.*)_(\d{1,4})", real)
    another = f"{found[1]}_{int(found[2]) + 1}" if found else f"{real}_2"
    return f"ansible-playbook cht.couch2pg.{_continues(name)} -i inventory.yml -e couch2pg_migration_id={another}"


def rehearses(migration_id: str) -> str | None:
    """The id of the migration that ``migration_id`` rehearses; None when it isn't a rehearsal."""
    found = _REHEARSAL.fullmatch(migration_id)
    return found.group("of") if found else None


def resume(name: str) -> str:
    """The command line that continues the migration or rehearsal ``name``."""
    return (
        f"ansible-playbook cht.couch2pg.{_continues(name)} -i inventory.yml "
        f"-e couch2pg_migration_id={rehearses(name) or name}"
    )


def _continues(name: str) -> str:
    """The playbook that continues the migration or rehearsal ``name``."""
    return "migrate" if rehearses(name) is None else "rehearse"


def give_up(name: str) -> str:
    """The command line that ends the running jobs of the migration ``name``."""
    return f"ansible-playbook cht.couch2pg.cancel -i inventory.yml -e couch2pg_migration_id={name}"


_REHEARSAL = re.compile(r"(?P<of>.+)_rehearsal_\d{8}T\d{6}")
_COMMAND = re.compile(
    r"ansible-playbook cht\.couch2pg\.(?P<playbook>(?!prepare\b|preflight\b)\w+) -i inventory\.yml(?! -e couch2pg_migration_id=)"
)
_PRINTED = re.compile(
    r"ansible-playbook cht\.couch2pg\.\w+ -i inventory\.yml(?: -e (?:\w+=[\w./-]*\w|'[^']*')| --\w+)*"
)
# These read or stop the jobs of one id, and a rehearsal has an id of its own. The other playbooks take the migration's id.
_OWN_ID = ("cancel", "report", "spare", "status")


def of_migration(text: str, name: str) -> str:
    """The text with the id of the migration added to each command, because the inventory may contain the id of another migration.

    name: the id of the migration, or of a rehearsal of it. In the text of a rehearsal, ``migrate`` becomes ``rehearse``, which
    continues the rehearsal: ``migrate`` would begin the migration itself.
    """

    def completed(found: re.Match[str]) -> str:
        playbook = _continues(name) if found["playbook"] == "migrate" else found["playbook"]
        of = name if playbook in _OWN_ID else rehearses(name) or name
        return f"ansible-playbook cht.couch2pg.{playbook} -i inventory.yml -e couch2pg_migration_id={of}"

    return _COMMAND.sub(completed, text)


def printed(text: str) -> list[str]:
    """The command lines in a message, in its order, each once."""
    return list(dict.fromkeys(_PRINTED.findall(text)))
