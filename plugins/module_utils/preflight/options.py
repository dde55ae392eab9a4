# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module ``preflight``."""

from __future__ import annotations

from typing import Any

from .disk_plan import DiskOptions
from .source_facts import SourceFacts


class Options(DiskOptions):
    """The options, which the module documents, and whether it runs in check mode.

    server: connection options, for ``gate.line``. commands: for ``physical.placement``. leave_out: for ``evidence.leave_out``.
    """

    side: str
    source: SourceFacts
    schema: str
    read_schema: bool
    look_for_rehearsals: bool
    server: dict[str, Any] | None
    bin_dir: str
    method: str
    rehearsal: bool
    limited: bool
    replace_existing: bool
    encoding: str
    digest_method: str
    leave_out: dict[str, list[str]] | None
    missing_roles: str
    role_map: dict[str, str]
    function_search_path: dict[str, str]
    extension_versions: dict[str, str]
    tablespaces: str
    commands: dict[str, list[str]] | None
    collations: str
    backup_compression: str
    check_mode: bool
