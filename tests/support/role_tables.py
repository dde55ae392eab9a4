# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said about a role's variables in more than one place, made from the one place where it is written by hand.

    tests/tools/role_tables     writes the descriptions and the tables

- A variable that falls back on a shared one has its description, from docs/variables.yml, in the role's argument specs. More items of that
  description are the role's own.
- The table in the role's README is made from the argument specs and defaults. Only its column "example" is written by hand.
"""

from __future__ import annotations

import re
import textwrap
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable

import yaml

ROOT = Path(__file__).resolve().parents[2]
HEAD = ["| variable | type | default | meaning | example |", "| --- | --- | --- | --- | --- |"]
# A default that is the value of a shared variable, and nothing else.
_SHARED = re.compile(r"\{\{ (couch2pg_\w+) \| default\(.*\)(?: \| (?:bool|int|float|string))? \}\}")
_WIDTH = 140
_CELL = re.compile(r"(?<!\\)\|")


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    """The options of all entry points, in the order in which the specs list them first."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    merged: dict[str, dict[str, Any]] = {}
    for entry_point in specs.values():
        for name, option in entry_point.get("options", {}).items():
            merged.setdefault(name, option)
    return merged


def shared(role: Path) -> dict[str, str]:
    """The shared variable that each of the role's variables falls back on; those with a default of their own are left out."""
    file = role / "defaults" / "main.yml"
    defaults = yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.exists() else {}
    found = {name: _SHARED.fullmatch(str(value)) for name, value in defaults.items()}
    return {name: match[1] for name, match in found.items() if match and not name.endswith("_login_container")}


def with_descriptions(text: str, described: dict[str, str]) -> str:
    """Argument specs in which the description of each variable begins with what ``described`` says; its further items stay."""
    lines, written, option = text.splitlines(), [], ""
    while lines:
        line = lines.pop(0)
        # Options are six deep; what is deeper belongs to them. An anchor may follow the name.
        if found := re.match(r"      (\w+):", line):
            option = found[1]
        if option not in described or not line.startswith("        description:"):
            written.append(line)
            continue
        old = [line]
        while lines and lines[0].startswith(" " * 9):
            old.append(lines.pop(0))
        value = yaml.safe_load("\n".join(old))["description"]
        written += _description([described[option], *(value[1:] if isinstance(value, list) else [])])
    return "\n".join(written) + "\n"


def _description(items: list[str]) -> list[str]:
    """The lines of a description, as specs have them."""
    if len(items) == 1:
        return _scalar("        description:", items[0], 10)
    return ["        description:", *(line for item in items for line in _scalar("          -", item, 12))]


def _scalar(start: str, text: str, indent: int) -> list[str]:
    line = f"{start} {text}"
    if len(line) <= _WIDTH and _is_plain(text):
        return [line]
    folded = textwrap.wrap(text, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return [f"{start} >-", *(" " * indent + piece for piece in folded)]


def _is_plain(text: str) -> bool:
    """Whether YAML reads it as it is, without quotes."""
    try:
        return bool(yaml.safe_load(f"- {text}") == [text])
    except yaml.YAMLError:
        return False


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
    return [f"`{name}`", kind, _escaped(default), _escaped(without_html(_markdown(meaning))), example]


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


def without_html(text: str) -> str:
    """Outside of code, what stands in angle brackets would be taken for a tag."""
    return "`".join(part if number % 2 else part.replace("<", "\\<") for number, part in enumerate(text.split("`")))


def _examples(readme: str) -> dict[str, str]:
    """The hand-written last column, by variable."""
    found = {}
    for line in readme.splitlines():
        cells = [cell.strip() for cell in _CELL.split(line)[1:-1]]
        if len(cells) == len(_CELL.split(HEAD[0])) - 2 and cells[0].startswith("`"):
            found[cells[0].strip("`")] = cells[-1]
    return found


def described(role: Path) -> dict[str, str]:
    """What docs/variables.yml says about each variable of the role that falls back on a shared one."""
    known = variables()
    return {name: known[variable]["description"].strip() for name, variable in shared(role).items()}


@lru_cache(maxsize=1)
def variables() -> dict[str, dict[str, Any]]:
    """The content of docs/variables.yml."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docs" / "variables.yml").read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Write the descriptions and the table of every role."""
    for role in sorted((ROOT / "roles").iterdir()):
        _write(role / "meta" / "argument_specs.yml", lambda text, role=role: with_descriptions(text, described(role)))
        _write(role / "README.md", lambda text, role=role: with_table(text, table(role)))


def _write(file: Path, change: Callable[[str], str]) -> None:
    text = file.read_text(encoding="utf-8")
    new = change(text)
    if new != text:
        file.write_text(new, encoding="utf-8")
        print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
