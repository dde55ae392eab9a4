# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which archive this migration dumped, according to the record in its state folder."""

from __future__ import annotations

from pathlib import Path

from . import document, permission


def dumped_archive(state: Path) -> str:
    """The SHA-256 of the manifest of the finished dump; empty when this host has no record of it."""
    record = document.load(state / document.NAME)
    dump = permission.done(record, "dump") if record is not None else None
    return str((dump or {}).get("manifest_sha256") or "")
