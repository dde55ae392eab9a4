# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_upgrade says when it refuses: its reason is in other places for other checks."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import upgrade

CHECK = """Performing Consistency Checks
-----------------------------
Checking cluster versions                                   ok
Checking for reg* data types in user tables                 fatal

Your installation contains one of the reg* data types in user tables.
"""
PROGRAM = """Performing Consistency Checks
-----------------------------

check for "/usr/pgsql-14/bin/pg_resetwal" failed: cannot execute

Failure, exiting
"""


@pytest.mark.parametrize(
    ("said", "reason"),
    [(CHECK, "reg* data types in user tables."), (PROGRAM, 'pg_resetwal" failed: cannot execute Failure, exiting')],
)
def test_the_reason_is_shown(said: str, reason: str) -> None:
    assert upgrade.reason_of(said.splitlines()).endswith(reason)
    assert upgrade.reason_of([]) == "it gave no reason."
