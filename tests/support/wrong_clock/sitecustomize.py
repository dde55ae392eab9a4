# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With this folder on PYTHONPATH, every Python program has a clock that is wrong by COUCH2PG_CLOCK_SHIFT seconds.

Setting the machine's own clock would hit everybody on it, and libfaketime breaks Python's sleep.
"""

from __future__ import annotations

import os
import time

_right = time.time
_shift = float(os.environ["COUCH2PG_CLOCK_SHIFT"])


def _wrong() -> float:
    return _right() + _shift


time.time = _wrong
