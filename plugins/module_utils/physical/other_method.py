# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way out that messages of the method physical name: another method."""

from __future__ import annotations

# The only remedy, and one after another remedy.
STREAM = "Set couch2pg_method to stream."
OR_STREAM = "Or set couch2pg_method to stream."
