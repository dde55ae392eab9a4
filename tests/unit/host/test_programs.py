# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that is killed while it is asked says so; nothing is concluded from what it did not say."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import pg_restore
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host import programs


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A pg_restore that is killed at once."""
    path = tmp_path / "pg_restore"
    path.write_text("#!/bin/sh\nkill -9 $$\n")
    path.chmod(0o755)
    return path


def test_a_version(killed: Path) -> None:
    with pytest.raises(MigrationError, match=r"pg_restore was killed by signal 9, .* Run again\."):
        programs.find("pg_restore", str(killed.parent))


def test_a_list(killed: Path) -> None:
    with pytest.raises(MigrationError, match=r"pg_restore was killed by signal 9, .* Run again\."):
        pg_restore.read_list(programs.Program(str(killed), 18), killed.parent)
