# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences of the method physical that advise another method."""

from __future__ import annotations

# STREAM is the only remedy of a message. OR_STREAM follows another remedy.
STREAM = "Set couch2pg_method to stream."
OR_STREAM = "Or set couch2pg_method to stream."
