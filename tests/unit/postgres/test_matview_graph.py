# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which materialized views read others."""

from __future__ import annotations

from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.matview_graph import reached


def test_views_between_matviews_count() -> None:
    assert reached({1: {2}, 2: {3}, 3: set(), 4: {1}}, 4) == {1, 2, 3}
