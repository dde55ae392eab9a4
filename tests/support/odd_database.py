# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database with objects of every kind, each file of ``sql/odd`` in a schema of its own."""

from __future__ import annotations

from pathlib import Path

from . import seed
from .clusters import Cluster
from .migration import execute

FILES = sorted((seed.SQL / "odd").glob("*.sql"))


def fill(cluster: Cluster, database: str, files: list[Path]) -> None:
    """Make the database from these files."""
    seed.create_database(cluster, database)
    execute(cluster, "CREATE TABLE couchdb (doc jsonb)", database)
    for path in files:
        own = f"odd_{path.name[:2]}"
        start = f"CREATE SCHEMA {own}; GRANT ALL ON SCHEMA {own} TO PUBLIC; SET search_path = {own}, public;"
        execute(cluster, start + path.read_text(encoding="utf-8"), database)
