# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of a job's ``result.json``."""

from __future__ import annotations

from typing import Any, Mapping, TypedDict

from ..common.errors import ErrorDocument


class JobResult(TypedDict, total=False):
    """``status`` is ``done``, with the ``value`` of the job's entry function, or ``failed``, with its ``error``."""

    status: str
    value: Mapping[str, Any]
    error: ErrorDocument
