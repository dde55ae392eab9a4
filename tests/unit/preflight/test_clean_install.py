# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the time of a clean install says beside the time of the migration."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.clean_install import CleanInstall

# 100 documents a second: 10 hours.
FOUND = CleanInstall(documents=3_600_000, sampled=300, seconds=3.0)


@pytest.mark.parametrize(
    ("migration", "verdict"),
    [
        (
            (600, 1800),
            "The migration takes between 10 min 0 s and 30 min 0 s. The migration is better: it is faster, and",
        ),
        ((30_000, 40_000), "The migration is better: a clean install is not clearly faster, and"),
        (
            (40_000, 50_000),
            "A clean install may be better, because it may be faster. But it brings only what couch2pg writes",
        ),
    ],
)
def test_verdict(migration: tuple[float, float], verdict: str) -> None:
    said = FOUND.describe(migration)
    assert "fetch 3600000 documents again, in at least 10 h 0 min (100 per second" in said
    assert verdict in said


def test_without_an_estimate_of_the_migration_there_is_no_verdict() -> None:
    assert FOUND.describe(()).endswith("Both ways then build the materialized views.")


def test_an_empty_couchdb() -> None:
    assert "nothing to compare" in CleanInstall(0, 0, 0.1).describe((1, 2))
