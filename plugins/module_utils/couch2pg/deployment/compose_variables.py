# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variable of a Compose project's ``.env`` leads to which of a service's: found out by asking Compose.

A compose file may give the service's variables other names, and values of its own where they aren't set.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Mapping

from ...common.errors import MigrationError
from ...host.compose import Compose
from . import dotenv, env_text

_NAMES = re.compile(r"(?<!\$)(?:\$\$)*\$\{?([A-Za-z_][A-Za-z0-9_]*)")
# Numbers pass where Compose wants one, such as a port.
_FIRST_MARK = 41017


def environment(config: Mapping[str, Any], service: str) -> dict[str, str]:
    """The service's variables in what ``config`` answered, where $ is doubled."""
    entries = config["services"][service].get("environment") or {}
    if isinstance(entries, list):
        entries = dict(entry.partition("=")[::2] for entry in entries)
    # One without a value comes from the shell that starts it.
    return {str(name): _text(value) for name, value in entries.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace("$$", "$")


def sources(compose: Compose, service: str, text: str) -> dict[str, str]:
    """For each of the service's variables that is just one of ``.env``'s: that one's name."""
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
        # A mark stands where only certain words do: without that one the others are found.
        half = len(marks) // 2
        parts = [dict(list(marks.items())[:half]), dict(list(marks.items())[half:])] if half else []
        return {name: lead for part in parts for name, lead in _leads(compose, service, text, part).items()}
    return {name: marks[value] for name, value in resolved.items() if value in marks}


def written(
    compose: Compose, service: str, text: str, leads: Mapping[str, str], wanted: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """The text of ``.env`` that gives the service the values, and what Compose makes of it.

    leads: from a name in ``.env`` to the service's. Raises MigrationError ``settings_unwritable``.
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
            # One that is to be unset may get a value of the compose file's own.
            wrong = [name for name, key in leads.items() if wanted[key] and resolved.get(key) != wanted[key]]
        if not wrong:
            return after, config
        movable = [name for name in wrong if tried[name] + 1 < len(ways[name])]
        if not movable or (config and len(movable) < len(wrong)):
            names = sorted(leads[name] for name in wrong)
            raise MigrationError(
                f"No way of writing {', '.join(names)} into {compose.env_file} survives this version of Compose. Choose a value without "
                "quotes, backslashes, $ and #, percent-encoded where it is a part of a URL.",
                "settings_unwritable",
                variables=names,
            )
        for name in movable:
            tried[name] += 1


def _with_lines(text: str, lines: Mapping[str, str]) -> str:
    """The text with these lines; a new line is a way of writing that differs from the one there."""
    # The parser's values are as they are written, so that only another way of writing differs.
    raw = {name: line.partition("=")[2] for name, line in lines.items()}
    return env_text.changed(text, dotenv.parse, raw, write=lambda name, value: f"{name}={value}")


def side_effects(before: Mapping[str, Any], after: Mapping[str, Any], service: str) -> list[str]:
    """What the new values do to the project's other services, each with what to do."""
    old, new = before.get("services") or {}, after.get("services") or {}
    touched = sorted(name for name in new if name != service and new[name] != old.get(name))
    if not touched:
        return []
    problem = (
        f"The variables that lead to couch2pg's also reach {', '.join(touched)} in the same compose file, which will change when "
        "started again. Give couch2pg variables of its own there if that isn't meant."
    )
    return [problem]


def _mentioned(compose: Compose) -> set[str]:
    """Every name that the project's files take from outside."""
    paths = [path for pattern in ("*.yml", "*.yaml") for path in compose.folder.glob(pattern)]
    paths += [compose.folder / name for name in compose.files]
    names: set[str] = set()
    for path in paths:
        if path.is_file():
            names.update(_NAMES.findall(path.read_text(encoding="utf-8", errors="replace")))
    return names


@contextmanager
def _beside(text: str) -> Iterator[Path]:
    """A file that only we can read, for Compose to read instead of ``.env``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "env"
        path.touch(mode=0o600)
        path.write_bytes(text.encode(errors="surrogateescape"))
        yield path
