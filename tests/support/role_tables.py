# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of variables in each role's README, made from the role's argument specs and defaults.

    tests/tools/role_tables     writes all tables

Only the column "example" is written by hand in the README; this program keeps it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
HEAD = ["| variable | type | default | meaning | example |", "| --- | --- | --- | --- | --- |"]
_CELL = re.compile(r"(?<!\\)\|")


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    """The options of all entry points, in the order in which the specs list them first."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    merged: dict[str, dict[str, Any]] = {}
    for entry_point in specs.values():
        for name, option in entry_point.get("options", {}).items():
            merged.setdefault(name, option)
    return merged


def table(role: Path) -> list[str]:
    """The lines of the table as they must be; empty for a role without options."""
    options = options_of(role)
    if not options:
        return []
    defaults_file = role / "defaults" / "main.yml"
    defaults = yaml.safe_load(defaults_file.read_text(encoding="utf-8")) if defaults_file.exists() else {}
    examples = _examples((role / "README.md").read_text(encoding="utf-8"))
    rows = [
        "| " + " | ".join(_row(name, option, defaults or {}, examples.get(name, ""))) + " |"
        for name, option in options.items()
    ]
    return HEAD + rows


def with_table(text: str, lines: list[str]) -> str:
    """The README's text with ``lines`` in place of its table of variables."""
    before, found, rest = text.partition(HEAD[0])
    if not found:
        return text if not lines else text.rstrip("\n") + "\n\n" + "\n".join(lines) + "\n"
    after = rest.split("\n\n", 1)
    return before + "\n".join(lines) + ("\n\n" + after[1] if len(after) == 2 else "\n")


def _row(name: str, option: dict[str, Any], defaults: dict[str, Any], example: str) -> list[str]:
    kind = option["type"] + (f" of {option['elements']}" if option["type"] == "list" else "")
    default = "required" if option.get("required") else f"`{_value(defaults.get(name))}`"
    description = option["description"]
    meaning = " ".join(description) if isinstance(description, list) else description
    if option.get("choices"):
        meaning += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
    return [f"`{name}`", kind, _escaped(default), _escaped(_markdown(meaning)), example]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value == "":
        return '""'
    if isinstance(value, (dict, list)):
        return yaml.safe_dump(value, default_flow_style=True, width=1000).strip()
    return str(value)


def _markdown(text: str) -> str:
    """Ansible's markup as Markdown."""
    return re.sub(r"\b[CVOMIBP]\(([^()]*(?:\([^()]*\)[^()]*)*)\)", r"`\1`", text).replace("`ignore:", "`")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _examples(readme: str) -> dict[str, str]:
    """The hand-written last column, by variable."""
    found = {}
    for line in readme.splitlines():
        cells = [cell.strip() for cell in _CELL.split(line)[1:-1]]
        if len(cells) == len(_CELL.split(HEAD[0])) - 2 and cells[0].startswith("`"):
            found[cells[0].strip("`")] = cells[-1]
    return found


def main() -> None:
    """Write the table of every role."""
    for role in sorted((ROOT / "roles").iterdir()):
        readme = role / "README.md"
        text = readme.read_text(encoding="utf-8")
        new = with_table(text, table(role))
        if new != text:
            readme.write_text(new, encoding="utf-8")
            print(readme.relative_to(ROOT))


if __name__ == "__main__":
    main()
