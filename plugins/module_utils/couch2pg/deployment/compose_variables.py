# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variable of a Compose project's ``.env`` sets which variable of a service, found by asking Compose.

A compose file may give the service's variables other names, and default values.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Mapping

from ...common.errors import MigrationError
from ...host.compose import Compose
from ...host.temporary import temporary_folder
from . import dotenv, env_text

_NAMES = re.compile(r"(?<!\$)(?:\$\$)*\$\{?([A-Za-z_][A-Za-z0-9_]*)")
# A mark is a test value: each variable of .env gets another one, and the resolved service shows where each mark arrives.
# Marks are numbers, because Compose refuses other values for some fields, such as ports.
_FIRST_MARK = 41017


def environment(config: Mapping[str, Any], service: str) -> dict[str, str]:
    """The service's variables in Compose's resolved configuration, which doubles each $."""
    entries = config["services"][service].get("environment") or {}
    if isinstance(entries, list):
        entries = dict(entry.partition("=")[::2] for entry in entries)
    # A variable without a value comes from the shell that runs Compose.
    return {str(name): _text(value) for name, value in entries.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace("$$", "$")


def sources(compose: Compose, service: str, text: str) -> dict[str, str]:
    """For each variable of the service whose whole value is one variable of ``.env``: the name of that variable."""
    names = sorted(_mentioned(compose))
    marks = {str(_FIRST_MARK + number): name for number, name in enumerate(names)}
    return _leads(compose, service, text, marks)


def _leads(compose: Compose, service: str, text: str, marks: Mapping[str, str]) -> dict[str, str]:
    marked = env_text.changed(text, dotenv.parse, {name: mark for mark, name in marks.items()})
    try:
        with _beside(marked) as path:
            resolved = environment(compose.config(path), service)
    except MigrationError as error:
        if error.code != "compose_refuses":
            raise
        # Compose refuses a mark in a field that allows only certain words. Try each half of the marks, until only that mark is left out.
        half = len(marks) // 2
        parts = [dict(list(marks.items())[:half]), dict(list(marks.items())[half:])] if half else []
        return {name: lead for part in parts for name, lead in _leads(compose, service, text, part).items()}
    return {name: marks[value] for name, value in resolved.items() if value in marks}


def written(
    compose: Compose, service: str, text: str, leads: Mapping[str, str], wanted: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """The text of ``.env`` that gives the service the wanted values, and Compose's configuration with that text.

    leads: the service's variable by its name in ``.env``. Raises MigrationError ``settings_unwritable``.
    """
    ways = {name: dotenv.ways(name, wanted[key]) for name, key in leads.items()}
    tried = dict.fromkeys(leads, 0)
    while True:
        lines = {name: ways[name][number] for name, number in tried.items()}
        after = _with_lines(text, lines)
        try:
            with _beside(after) as path:
                config = compose.config(path)
            resolved = environment(config, service)
        except MigrationError as error:
            odd = [name for name, key in leads.items() if not dotenv.is_plain(wanted[key])]
            if error.code != "compose_refuses" or not odd:
                raise
            config, wrong = {}, odd
        else:
            # A variable without a wanted value may get a default of the compose file.
            wrong = [name for name, key in leads.items() if wanted[key] and resolved.get(key) != wanted[key]]
        if not wrong:
            return after, config
        movable = [name for name in wrong if tried[name] + 1 < len(ways[name])]
        if not movable or (config and len(movable) < len(wrong)):
            names = sorted(leads[name] for name in wrong)
            raise MigrationError(
                f"This version of Compose can't read the value of {', '.join(names)} from {compose.env_file} in any notation. Choose a "
                "value without quotes, backslashes, $ and #; percent-encode it in a URL.",
                "settings_unwritable",
                variables=names,
            )
        for name in movable:
            tried[name] += 1


def _with_lines(text: str, lines: Mapping[str, str]) -> str:
    """The text with these lines in place of those that differ."""
    # The parser returns values as written, with quotes, so that another notation counts as a difference.
    raw = {name: line.partition("=")[2] for name, line in lines.items()}
    return env_text.changed(text, dotenv.parse, raw, write=lambda name, value: f"{name}={value}")


def side_effects(before: Mapping[str, Any], after: Mapping[str, Any], service: str) -> list[str]:
    """Which other services of the project the new values change, as sentences with what to do."""
    old, new = before.get("services") or {}, after.get("services") or {}
    touched = sorted(name for name in new if name != service and new[name] != old.get(name))
    if not touched:
        return []
    problem = (
        f"Variables of couch2pg also set values of {', '.join(touched)} in the same compose file, which will change at the next start. "
        "If you don't want that, give couch2pg variables of its own there."
    )
    return [problem]


def _mentioned(compose: Compose) -> set[str]:
    """Every variable that the project's files refer to."""
    paths = [path for pattern in ("*.yml", "*.yaml") for path in compose.folder.glob(pattern)]
    paths += [compose.folder / name for name in compose.files]
    names: set[str] = set()
    for path in paths:
        if path.is_file():
            names.update(_NAMES.findall(path.read_text(encoding="utf-8", errors="replace")))
    return names


@contextmanager
def _beside(text: str) -> Iterator[Path]:
    """A private file that Compose reads in place of ``.env``."""
    with temporary_folder() as folder:
        path = folder / "env"
        path.touch(mode=0o600)
        path.write_bytes(text.encode(errors="surrogateescape"))
        yield path
