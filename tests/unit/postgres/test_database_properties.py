# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty database on the target opens nothing that was closed on the source, and loses none of its settings."""

from __future__ import annotations

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.database_properties import differences, merge

SOURCE: dict[str, Any] = {
    "owner": "couch2pg",
    "settings": ["TimeZone=Africa/Nairobi", "work_mem=16MB"],
    "role_settings": {"superset": ["statement_timeout=30min"]},
    "connection_limit": -1,
    "comment": "a copy",
    "encoding": "UTF8",
    "grants": ["PUBLIC TEMPORARY", "couch2pg CONNECT", "couch2pg CREATE", "couch2pg TEMPORARY", "superset CONNECT"],
}
# As CREATE DATABASE leaves it.
EMPTY: dict[str, Any] = {
    "owner": "couch2pg",
    "settings": None,
    "role_settings": None,
    "connection_limit": -1,
    "comment": None,
    "encoding": "UTF8",
    "grants": ["PUBLIC CONNECT", "PUBLIC TEMPORARY", "couch2pg CONNECT", "couch2pg CREATE", "couch2pg TEMPORARY"],
}


def test_a_plain_empty_database_changes_nothing() -> None:
    merged = merge(SOURCE, EMPTY)
    assert merged == SOURCE
    assert differences(SOURCE, merged) == []


def test_what_the_operator_set_counts_and_is_named() -> None:
    own = dict(
        EMPTY,
        owner="postgres",
        settings=["work_mem=64MB"],
        role_settings={"superset": ["work_mem=1GB"]},
        connection_limit=50,
        grants=["PUBLIC CONNECT", "monitor CONNECT", "postgres CONNECT", "superset CONNECT WITH GRANT OPTION"],
    )
    merged = merge(SOURCE, own)
    assert merged["settings"] == ["TimeZone=Africa/Nairobi", "work_mem=64MB"]
    assert merged["role_settings"] == {"superset": ["statement_timeout=30min", "work_mem=1GB"]}
    assert "PUBLIC CONNECT" not in merged["grants"]
    assert "couch2pg CREATE" in merged["grants"]
    assert [grant for grant in merged["grants"] if grant.startswith("superset")] == [
        "superset CONNECT WITH GRANT OPTION"
    ]
    assert differences(SOURCE, merged) == [
        "owner 'postgres' (source: 'couch2pg')",
        "connection limit 50 (source: -1)",
        "setting work_mem=64MB",
        "setting work_mem=1GB of role superset",
        "grant monitor CONNECT",
        "grant superset CONNECT WITH GRANT OPTION",
    ]
