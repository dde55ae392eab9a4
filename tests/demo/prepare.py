# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two servers and the inventory that leads to them: ``python -m demo.prepare INVENTORY``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from support import seed
from support.places import SupportError

from . import field
from .folder import PRIVATE, alone
from .inventory import write_inventory
from .servers import DATABASE, Servers, servers

DOCUMENTS = 50_000


def prepare(inventory: Path) -> Servers:
    """Make the servers, or start those of the last run, with couch2pg on the source, and write the ``inventory``."""
    documents = _documents()
    PRIVATE.mkdir(exist_ok=True)
    both = servers(documents)
    if field.has_node():
        field.begin(both.source, DATABASE)
    else:
        print("Node.js is missing (node and npm): the demo goes on without couch2pg itself.", flush=True)
    write_inventory(both, inventory)
    return both


def _documents() -> int:
    given = os.environ.get("DEMO_DOCS", str(DOCUMENTS))
    if not given.isdecimal() or int(given) < seed.MINIMUM:
        raise SupportError(f"DEMO_DOCS={given}: give a number of documents, {seed.MINIMUM} or more.")
    return int(given)


if __name__ == "__main__":
    try:
        with alone():
            prepare(Path(sys.argv[1]))
    except SupportError as error:
        sys.exit(f"prepare: {error}")
