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


_COMMAND = re.compile(
    r"ansible-playbook cht\.couch2pg\.(?!prepare\b|preflight\b)\w+ -i inventory(?! -e couch2pg_migration_id=)"
)


def of_migration(text: str, name: str) -> str:
    """The text with the name of the migration in each command: the inventory may have that of another one."""
    return _COMMAND.sub(rf"\g<0> -e couch2pg_migration_id={name}", text)
