# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remedies of couch2pg's errors name what the log names, as SQL and the shell read it."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.redaction import Redactor
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.errors import recognise
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.remedies import Names, remedy


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (b"error: permission denied for schema reports", 'GRANT USAGE, CREATE ON SCHEMA "reports" TO "c";'),
        (b"error: permission denied for table of_all", 'ALTER TABLE "of_all" OWNER TO "c";'),
        (
            b"couch2pg@cht.service: Start request repeated too quickly",
            "systemctl reset-failed couch2pg@cht.service && systemctl start couch2pg@cht.service",
        ),
        (b"cht\\x2dcouch2pg.service: Start request repeated too quickly", r"start 'cht\x2dcouch2pg.service'"),
    ],
)
def test_what_is_printed_can_be_pasted(log: bytes, expected: str) -> None:
    assert expected in remedy(recognise("", log), log, Names(role="c"), Redactor())
