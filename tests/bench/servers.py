# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two servers of a benchmark, which write to the disk as real ones do."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Iterator

from support import binaries, places
from support.clusters import Cluster

SOURCE, TARGET = 16, 18


@contextmanager
def servers() -> Iterator[tuple[Cluster, Cluster]]:
    """Source and target, without a database; gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=places.work_folder("clusters")))
    # They run as another user when this is root, and keep their own folders closed.
    folder.chmod(0o711)
    try:
        with ExitStack() as stack:
            yield (
                stack.enter_context(Cluster.create(folder / "source", binaries.binaries(SOURCE), durable=True)),
                stack.enter_context(Cluster.create(folder / "target", binaries.binaries(TARGET), durable=True)),
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
