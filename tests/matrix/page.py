# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/support-matrix.md, made from docs/support-matrix.json."""

from __future__ import annotations

from pathlib import Path

from .cells import SOURCES, TARGETS, Cell, load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "support-matrix.md"
HEAD = """# Support matrix

`make matrix` runs a migration for each combination and writes this page. Nothing on it is claimed without a run.

| | supported |
| --- | --- |
| source | PostgreSQL 10 and newer |
| target | PostgreSQL 13 and newer, not older than the source |
| controller | ansible-core 2.18 and newer |
| managed hosts | Linux, with a Python that the controller's ansible-core supports |
"""
MARKS = {"passed": "passed", "failed": "**failed**", "not run": "not run"}


def page(cells: list[Cell]) -> str:
    """The text of the page."""
    return "\n".join([HEAD, *_postgresql(cells), "", *_ansible(cells), *_reasons(cells)]) + "\n"


def _postgresql(cells: list[Cell]) -> list[str]:
    pairs = {(c["versions"]["source"], c["versions"]["target"]): c for c in cells if c["kind"] == "postgresql"}
    lines = [
        "## PostgreSQL\n",
        "Every phase from dump to promote, with a small database. In brackets: the version of `pg_dump` and `pg_restore`.\n",
        "| source | " + " | ".join(f"target {target}" for target in TARGETS) + " |",
        "| --- |" + " --- |" * len(TARGETS),
    ]
    for source in SOURCES:
        row = []
        for target in TARGETS:
            cell = pairs.get((str(source), str(target)))
            clients = f" ({cell['found']['clients']})" if cell and "clients" in cell["found"] else ""
            row.append(MARKS[cell["status"]] + clients if cell else "" if source > target else "not run")
        lines.append(f"| {source} | " + " | ".join(row) + " |")
    return lines


def _ansible(cells: list[Cell]) -> list[str]:
    lines = [
        "## ansible-core and Python\n",
        "`cht.couch2pg.migrate` from PostgreSQL 16 to 18, with the oldest and the newest Python that ansible-core supports",
        "on the controller and on managed hosts, and with 3.13.\n",
        "| ansible-core | Python of the controller | Python of the hosts | result |",
        "| --- | --- | --- | --- |",
    ]
    for cell in cells:
        if cell["kind"] == "ansible":
            shown = [cell["found"].get(name, version) for name, version in cell["versions"].items()]
            lines.append("| " + " | ".join([*shown, MARKS[cell["status"]]]) + " |")
    return lines


def _reasons(cells: list[Cell]) -> list[str]:
    told = [cell for cell in cells if cell["reason"]]
    if not told:
        return []
    lines = ["", "## Failed and not run\n"]
    for cell in told:
        names = ", ".join(f"{name} {version}" for name, version in cell["versions"].items())
        lines.append(f"- {names}: {MARKS[cell['status']]}. {cell['reason']}")
    return lines


def write() -> None:
    """Write the page from the results."""
    PAGE.write_text(page(load()), encoding="utf-8")


if __name__ == "__main__":
    write()
