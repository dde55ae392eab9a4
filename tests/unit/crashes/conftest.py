# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder in memory: each moment is tried in one that is made again, and a disk needs milliseconds for each file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Iterator

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder) / "root"
