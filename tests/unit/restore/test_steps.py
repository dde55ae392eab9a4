# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a restore that are done."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.restore.steps import RestoreSteps

SECONDS = 0.2


def test_steps_that_end_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    """As post-data and the digests, which run side by side: the second ends while the first is being written."""
    steps = RestoreSteps(tmp_path, "server", "archive")
    second = threading.Thread(target=steps.mark, args=[{"post-data": True}])

    class Result(dict[str, int]):
        def items(self) -> Any:
            if second.ident is None:
                second.start()
                second.join(SECONDS)
            return super().items()

    steps.start(1)
    steps.mark({"matviews": Result(rows=1)})
    second.join()
    stored = RestoreSteps(tmp_path, "server", "archive")
    assert stored.done == {"matviews": {"rows": 1}, "post-data": True}
