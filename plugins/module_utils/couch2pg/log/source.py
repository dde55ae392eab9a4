# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log that an operator's options name."""

from __future__ import annotations

from typing import Callable, Mapping

from ...host.files import expand
from ..log_place import LogPlace
from .docker import ComposeLog, DockerLog
from .file import FileLog
from .journald import JournalLog
from .position import LogSource

KINDS: Mapping[str, Callable[[LogPlace], LogSource]] = {
    JournalLog.kind: lambda log: JournalLog(log["unit"], str(log.get("journal_dir") or "")),
    DockerLog.kind: lambda log: DockerLog(log["container"]),
    ComposeLog.kind: lambda log: ComposeLog(
        expand(log["project_dir"]), log["service"], log.get("compose_files") or (), log.get("env_files") or ()
    ),
    FileLog.kind: lambda log: FileLog(expand(log["path"])),
}


def open_source(log: LogPlace) -> LogSource:
    """The log at this place. Reads nothing yet."""
    return KINDS[log["kind"]](log)
