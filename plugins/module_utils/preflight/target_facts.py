# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts that preflight collects on the target, for the phases that follow."""

from __future__ import annotations

from typing import TypedDict

from ..common.evidence_document import ServerProperties


class TargetFacts(TypedDict, total=False):
    """A key is missing if its check failed or was not needed.

    promotion_stored: whether this host has the state of a promotion, which is known without the server. promoted: whether this migration
    promoted the database; promotion_recorded, cleaned_up: whether the record has these phases as done.
    created_roles: those that the restore creates. seconds: the shortest and the longest estimate of the chosen method.
    """

    promotion_stored: bool
    server: ServerProperties
    promoted: bool
    promotion_recorded: bool
    cleaned_up: bool
    created_roles: list[str]
    seconds: list[int]
