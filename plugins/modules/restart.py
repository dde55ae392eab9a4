#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A phase begins again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restart
short_description: Discard the result of a phase, so that it starts from the beginning
version_added: 0.1.0
description:
  - Discards the result of one phase of this migration on this host, and of its jobs. The next run starts the phase from the beginning.
  - V(dump) removes the archive on the source. V(transfer) removes an archive on the target that is not the one that was dumped.
    V(restore) drops the database O(incoming).
  - Removes only what is recorded in the state files of this migration. Another archive in the same place is renamed and kept.
  - Fails if a job of the phase is running, or if the database was promoted.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.migration
options:
  phase:
    description: The phase to restart.
    type: str
    required: true
    choices: [dump, transfer, restore]
  archive:
    description: Folder of the archive; needed for V(dump) and V(transfer).
    type: path
  database:
    description: Real name of the database; required for V(restore).
    type: str
    required: false
  incoming:
    description: Name of the database to restore into; required for V(restore).
    type: str
"""

EXAMPLES = r"""
- name: Restore again from the beginning
  cht.couch2pg.restart:
    phase: restore
    database: cht
    incoming: cht_incoming
    migration_id: cht-2026
    state_dir: ~/couch2pg
"""

RETURN = r"""
bytes:
  description: Bytes of the files that were removed from the archive.
  returned: for O(phase=dump) and O(phase=transfer)
  type: int
  sample: 430000000
kept_as:
  description: The new name of an archive that this phase did not create; null if there was none.
  returned: for O(phase=dump) and O(phase=transfer)
  type: str
  sample: /srv/staging/cht-2026.kept_20261128T150102
dropped:
  description: The database that was dropped; null when there was none.
  returned: for O(phase=restore)
  type: str
  sample: cht_incoming
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import (
    connection_settings,
    make_module,
    migration_state,
    run,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import restart
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import expand

OPTIONS: dict[str, Any] = {
    "phase": {"type": "str", "required": True, "choices": list(restart.JOBS)},
    "archive": {"type": "path"},
    "database": {"type": "str"},
    "incoming": {"type": "str"},
}


def main() -> None:
    """Entry point."""
    module = make_module(
        CONNECTION_OPTIONS,
        MIGRATION_OPTIONS,
        OPTIONS,
        required_if=[
            ("phase", "dump", ["archive"]),
            ("phase", "transfer", ["archive"]),
            ("phase", "restore", ["database", "incoming"]),
        ],
    )
    options, state = module.params, migration_state(module)

    def work() -> dict[str, Any]:
        write = not module.check_mode
        if options["phase"] == "restore":
            return restart.discard_database(connection_settings(module), state, options["incoming"], write)
        return restart.discard_archive(options["phase"], state, expand(options["archive"]), write)

    run(module, work)


if __name__ == "__main__":
    main()
