# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A difference between source and target, as JSON: in the result of verify, in its error, and in the record."""

from __future__ import annotations

from typing import TypedDict


class Difference(TypedDict):
    """What is not the same. ``kind`` and ``object`` name the object; ``problem`` continues the sentence that begins with them.

    source, target: what differs on each side, as JSON (a number of rows, a digest, a text, a list); None where there is nothing to show.
    """

    kind: str
    object: str
    problem: str
    source: object
    target: object


class SchemaDifference(Difference):
    """A difference that the operator may accept. ``name`` is what ``accept_differences`` takes."""

    name: str
