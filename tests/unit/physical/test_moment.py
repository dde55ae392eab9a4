# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transactions of a moment, whose numbers the server shows with 32 bits of 64."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.physical.moment import running_at

EPOCH = 1 << 32


@pytest.mark.parametrize(
    ("shows", "numbers", "expected"),
    [
        ("745:745:", "", []),
        ("745:750:745,748", "748,745,750", [745, 748, 750]),
        # The snapshot's own transactions of the epoch before, and a later one.
        (f"{EPOCH - 2}:{EPOCH + 5}:{EPOCH - 2}", f"{EPOCH - 2},9", [EPOCH - 2, EPOCH + 9]),
        # A transaction after the snapshot began the next epoch.
        (f"{EPOCH - 2}:{EPOCH - 1}:", "3", [EPOCH + 3]),
    ],
)
def test_numbers_get_the_epoch_of_the_snapshot(shows: str, numbers: str, expected: list[int]) -> None:
    assert running_at(shows, numbers) == expected
