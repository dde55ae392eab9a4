# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several checks found."""

from __future__ import annotations

from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.findings import Findings


def test_a_failed_check_does_not_hide_the_next() -> None:
    findings = Findings()

    def broken() -> None:
        raise MigrationError("Fix this.", "broken")

    findings.ask("first", broken, str)
    findings.ask("second", lambda: 7, str)
    assert [(found["name"], found["status"], found["message"]) for found in findings.as_list()] == [
        ("first", "failure", "Fix this."),
        ("second", "ok", "7"),
    ]
    assert findings.failed
