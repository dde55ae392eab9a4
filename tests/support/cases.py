# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases of a test that differ little: one of them runs each time, the others with what takes long."""

from __future__ import annotations

import pytest


def rarely(*values: object) -> object:
    """A case of ``parametrize`` that ``make long`` runs, and ``make test`` doesn't."""
    return pytest.param(*values, marks=pytest.mark.long)
