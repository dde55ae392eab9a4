# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grants as the schema lists them."""

from __future__ import annotations

from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.privileges import grantee


def test_roles_with_spaces_are_read_from_grants() -> None:
    assert grantee("my role SELECT WITH GRANT OPTION") == "my role"
