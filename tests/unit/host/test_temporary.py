# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary folders that killed processes left."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host.temporary import temporary_folder

# More than any process can have (pid_max).
DEAD = 4194305


@pytest.mark.parametrize("own", [True, False])
def test_only_the_folders_of_this_user_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    """Another user can make a folder with such a name."""
    user = os.geteuid() if own else os.geteuid() + 1
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    left = tmp_path / f"couch2pg-{user}-{DEAD}-abc"
    left.mkdir()
    with temporary_folder() as folder:
        assert folder.is_dir()
        assert left.exists() is not own
    assert not folder.exists()
