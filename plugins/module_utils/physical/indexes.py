# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The indexes of the copy: rebuilt where their order is another one on this host, or where the source's own are damaged."""

from __future__ import annotations

import time
from typing import Callable

from ..common.counted import counted
from ..jobs.context import JobContext
from . import collation, index_check
from .folders import Steps
from .parameters import Parameters
from .private_server import PrivateServer

NAMES_SECONDS = 1.0


def settle(
    context: JobContext,
    server: PrivateServer,
    steps: Steps,
    collations: list[collation.SourceCollation],
    upgraded_from: int | None,
) -> dict[str, float]:
    """Rebuild the indexes that are in another order of text than this host's, and those that are damaged on the source, too.

    collations: what ``collation.of_source`` returned. upgraded_from: the major version that pg_upgrade upgraded, if it did.
    Returns the seconds of ``collations``, where an index was rebuilt, and of ``indexes``.
    """
    parameters, started = context.given(Parameters), time.monotonic()
    seconds = {}
    context.progress.step("collations")
    server.ready()
    rebuilt = _resumed(context, steps.done.get("reindexed"), "rebuilt", lambda names: steps.mark({"reindexed": names}))
    found = collation.rebuild(
        server,
        collations,
        parameters["collations"],
        parameters["jobs"],
        rebuilt.names,
        _on_index(context, rebuilt),
        upgraded_from,
    )
    rebuilt.write()
    if found:
        seconds["collations"] = time.monotonic() - started
    started = time.monotonic()
    context.progress.step("indexes")
    checked = _resumed(context, steps.done.get("checked"), "checked", lambda names: steps.mark({"checked": names}))
    index_check.rebuild_damaged(
        server, parameters["jobs"], checked.names, rebuilt.names, _on_index(context, checked), context.log
    )
    rebuilt.write()
    seconds["indexes"] = time.monotonic() - started
    return seconds


def _resumed(context: JobContext, done: list[str] | None, what: str, record: Callable[[list[str]], None]) -> _Names:
    """Names of indexes, at first those that an earlier attempt has done. what: what is done with them, for the log; record: keeps them."""
    if done:
        context.log(f"Resumed: {counted(len(done), 'index')} {what} already.")
    return _Names(done or [], record)


def _on_index(context: JobContext, names: _Names) -> Callable[[str, int], None]:
    def done(index: str, size: int) -> None:
        names.write_sometimes()
        context.progress.advance(size, index)

    return done


class _Names:
    """Names that a step collects. An attempt that is killed loses those of the last second at most."""

    def __init__(self, names: list[str], record: Callable[[list[str]], None]) -> None:
        self._record = record
        self.names = list(names)
        # The first one is recorded at once.
        self._written = 0.0

    def write(self) -> None:
        """Record them."""
        self._record(sorted(self.names))
        self._written = time.monotonic()

    def write_sometimes(self) -> None:
        """Record them, but not more often than every NAMES_SECONDS, because there may be thousands."""
        if time.monotonic() > self._written + NAMES_SECONDS:
            self.write()
