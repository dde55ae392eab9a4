# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages name the variable that the operator sets (couch2pg_replace_existing, not the option replace_existing of a module), and count
right: 1 row, 2 rows."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Iterator

import pytest
import yaml
from ansible_collections.cht.couch2pg.plugins.module_utils.common.counted import counted, plural

ROOT = Path(__file__).parents[3]
PREFIX = "couch2pg_"
VARIABLES = yaml.safe_load((ROOT / "docs" / "variables.yml").read_text(encoding="utf-8"))
# One word alone, such as jobs, is a word of the language too.
OPTIONS = sorted(name[len(PREFIX) :] for name in VARIABLES if "_" in name[len(PREFIX) :])
BARE = re.compile(rf"(?<![\w.{{'])({'|'.join(OPTIONS)})(?![\w}}'])")
# One word alone is an option where somebody is told to change it.
WORDS = sorted(name[len(PREFIX) :] for name in VARIABLES if "_" not in name[len(PREFIX) :])
TOLD = re.compile(rf"\b(?:[Ss]et|[Ii]ncrease|[Rr]aise|[Cc]orrect|[Cc]hange) ({'|'.join(WORDS)})\b(?! of)")
# What is in the value of a variable has the names of that.
MAPPING = re.compile(rf"(?<={PREFIX[:-1]})\w+: \{{[^}}]*\}}")
FILES = sorted(
    path for folder in ("module_utils", "plugin_utils", "action") for path in (ROOT / "plugins" / folder).rglob("*.py")
)
# Texts for PostgreSQL, or about a module that is used by itself.
OTHERS = ("set_config", "safe to drop", "is not the record of a migration", "Use the migration_id of the rehearsal")

# Words that can't be a verb.
COUNTED = (
    "attempt|bucket|column|connection|database|difference|document|failure|file|function|hour|index|message|object|policy|query|rehearsal|"
    "role|row|session|setting|statement|table|transaction|trigger|view|warning"
)
PLURAL = re.compile(rf"^ (?:more )?(?:{'|'.join(plural(2, noun) for noun in COUNTED.split('|'))})\b")


def sentences(source: str) -> Iterator[str]:
    """Every text with a space in it that is not a docstring."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in docstrings else None
        if isinstance(text, str) and " " in text.strip():
            yield text


def bare_options(source: str) -> list[str]:
    """The texts that name an option without its prefix."""
    return [
        text
        for text in (MAPPING.sub("", found) for found in sentences(source))
        if (BARE.search(text) or TOLD.search(text)) and not any(other in text for other in OTHERS)
    ]


def plurals(source: str) -> list[str]:
    """The texts that follow a value and begin with a noun in the plural, whatever the value is. A constant is always more than 1."""
    return [
        text.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.JoinedStr)
        for value, text in zip(node.values, node.values[1:])
        if isinstance(value, ast.FormattedValue)
        and not ast.unparse(value.value).isupper()
        and isinstance(text, ast.Constant)
        and PLURAL.match(str(text.value))
    ]


def test_a_bare_option_is_found() -> None:
    assert bare_options("raise Error('Set replace_existing to true.')") == ["Set replace_existing to true."]
    assert not bare_options("raise Error('Set couch2pg_replace_existing to true.')")
    assert not bare_options("raise Error('Set couch2pg_app_reach: {login_host: x, login_port: 1}.')")
    assert bare_options("raise Error('Set jobs to 4.')")
    assert not bare_options("raise Error('Use the jobs of the server.')")


def test_a_plural_for_any_number_is_found() -> None:
    assert plurals("f'{number} rows, {number:,} more messages'") == [" rows, ", " more messages"]
    assert not plurals("f'{counted(number, noun)} and more than {MOST_ROWS} rows'")
    assert [
        counted(number, noun) for number, noun in ((1, "row"), (0, "query"), (3, "event trigger"), (2, "index"))
    ] == [
        "1 row",
        "0 queries",
        "3 event triggers",
        "2 indexes",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT / "plugins").as_posix())
def test_messages_name_the_variable(path: Path) -> None:
    assert bare_options(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT / "plugins").as_posix())
def test_messages_count_right(path: Path) -> None:
    assert plurals(path.read_text(encoding="utf-8")) == []
