# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A comparison as an SVG chart: one bar for each way, divided into its steps, as a ratio to the first way."""

from __future__ import annotations

from typing import Any, Sequence
from xml.sax.saxutils import escape

WIDTH, LABELS, BAR, GAP = 720, 130, 22, 12
COLORS = ("#2a6f97", "#61a5c2", "#a9d6e5", "#89b0ae", "#bee3db", "#ffd6ba", "#e5989b", "#b5838d")


def draw(title: str, ways: Sequence[dict[str, Any]]) -> str:
    """The chart. ways: ``{way, steps: {name: seconds}, seconds, verified}`` each; the first one is the base."""
    longest, base = max(way["seconds"] for way in ways), ways[0]["seconds"]
    scale = (WIDTH - LABELS - 90) / longest
    height = 40 + len(ways) * (BAR + GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="22" font-weight="bold">{escape(title)}</text>',
    ]
    for number, way in enumerate(ways):
        top, left = 40 + number * (BAR + GAP), float(LABELS)
        lines.append(f'<text x="8" y="{top + 16}">{escape(way["way"])}</text>')
        for step, (name, seconds) in enumerate(way["steps"].items()):
            color = COLORS[step % len(COLORS)]
            lines.append(
                f'<rect x="{left:.1f}" y="{top}" width="{seconds * scale:.1f}" height="{BAR}" fill="{color}">'
                f"<title>{escape(name)}: {seconds:.1f} s</title></rect>"
            )
            left += seconds * scale
        verified = ", verified" if way["verified"] else ""
        lines.append(f'<text x="{left + 6:.1f}" y="{top + 16}">{way["seconds"] / base:.2f}{verified}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
