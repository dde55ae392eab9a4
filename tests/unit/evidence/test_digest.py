# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which digest both servers can compute."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.digest import choose_method


@pytest.mark.parametrize(
    ("wanted", "version", "method"),
    [("auto", 100000, "md5"), ("auto", 110000, "hash64"), ("hash128", 160000, "hash128"), ("md5", 100000, "md5")],
)
def test_the_digest_method_suits_the_older_server(wanted: str, version: int, method: str) -> None:
    assert choose_method(wanted, version) == method


def test_a_method_that_the_older_server_lacks_is_refused() -> None:
    with pytest.raises(MigrationError, match="needs PostgreSQL 11"):
        choose_method("hash64", 100000)
