# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of a database as pg_dump prints it: one text for each object.

Texts of two databases can be compared when one program printed both from one server. Texts from two servers can't:
two servers may print the same expression differently.
"""

from __future__ import annotations

import re
import tempfile
import threading
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple

from ..common.errors import MigrationError
from ..host.files import FILE_MODE
from ..host.programs import Program
from ..postgres import limited_program
from ..postgres.connection import ConnectionSettings
from ..postgres.program_environment import program_environment


class Entry(NamedTuple):
    """Which object a text defines, in pg_dump's terms: ``table``, ``public.couchdb``."""

    kind: str
    object: str


# Several texts where pg_dump gives several objects one name: operators of different arguments.
Printed = Dict[Entry, List[str]]

_OPTIONS = ("--schema-only", "--no-subscriptions", "--no-password")
_HEADER = re.compile(
    r"-- Name: (?P<name>.*); Type: (?P<type>[A-Z ]+); Schema: (?P<schema>.*?); Owner: .*?(?:; Tablespace: (?P<tablespace>.*))?"
)
_RULE = "--"
_METHOD, _TABLESPACE = "-- Access method: ", "-- Tablespace: "
_ACCESS_METHOD = re.compile(r"SET default_table_access_method = (.*);")
# The key of \restrict is random: pg_dump prints another one each time.
_AROUND = re.compile(
    r"|--|-- PostgreSQL database dump complete|SET default_table(space|_access_method) = .*;|\\(un)?restrict .*"
)
# pg_dump names these by the object that they belong to, in words: ``TABLE couchdb``.
_BESIDE = ("ACL", "COMMENT", "SECURITY LABEL")
_KINDS = {"ACL": "grants", "DEFAULT ACL": "default privileges"}
SAID_LINES = 20


def print_schema(
    program: Program, settings: ConnectionSettings, work: Path, stop: threading.Event | None = None
) -> Printed:
    """The schema of the database that ``settings`` name, printed by ``program`` (pg_dump). ``work``: a private folder.

    Raises MigrationError ``pg_dump_failed``.
    """
    said: list[str] = []
    with tempfile.TemporaryDirectory(dir=work) as folder:
        output, passfile = Path(folder) / "schema.sql", Path(folder) / "passfile"
        passfile.touch(mode=FILE_MODE)
        passfile.write_text(settings.passfile_line(), encoding="utf-8")
        command = [program.path, *_OPTIONS, f"--dbname={settings.conninfo()}"]
        code = limited_program.run(
            settings, command, program_environment(settings, passfile), said.append, stop, output
        )
        if code == 0:
            with output.open(encoding="utf-8", errors="backslashreplace") as lines:
                return parse(line.rstrip("\n") for line in lines)
    if stop is not None and stop.is_set():
        raise MigrationError("pg_dump was stopped.", "stopped")
    reason = next((line for line in said if "error:" in line), said[0] if said else "it gave no reason")
    raise MigrationError(
        f"pg_dump could not print the schema of {settings.database!r}: {reason}. Fix the cause, then run again.",
        "pg_dump_failed",
        exit_code=code,
        messages=said[:SAID_LINES],
    )


def parse(lines: Iterable[str]) -> Printed:
    """The objects in what ``pg_dump --schema-only`` printed. Statements about the session belong to no object."""
    found: Printed = {}
    for entry, body in _bodies(lines):
        found.setdefault(entry, []).append(_text(body))
    return {entry: sorted(texts) for entry, texts in found.items()}


def _bodies(lines: Iterable[str]) -> Iterator[tuple[Entry, list[str]]]:
    """Each object with its properties and lines; one object at a time, because a schema may have many."""
    entry: Entry | None = None
    body: list[str] = []
    access_method = before = ""
    for line in lines:
        header = _HEADER.fullmatch(line) if before == _RULE else None
        if header:
            if entry is not None:
                yield entry, body
            entry, body = _entry(header), _properties(header, access_method)
        else:
            body.append(line)
        changed = _ACCESS_METHOD.fullmatch(line)
        access_method = changed[1] if changed else access_method
        before = line
    if entry is not None:
        yield entry, body


def _entry(header: re.Match[str]) -> Entry:
    kind, schema, name = header["type"], header["schema"], header["name"]
    if kind in _BESIDE:
        name = name if schema == "-" else f"{name} in {schema}"
    elif schema != "-":
        name = f"{schema}.{name}"
    return Entry(_KINDS.get(kind, kind.lower()), name)


def _properties(header: re.Match[str], access_method: str) -> list[str]:
    """The access method and tablespace of an object, which pg_dump prints before its statements."""
    found = []
    if header["type"] in ("TABLE", "MATERIALIZED VIEW"):
        found.append(f"{_METHOD}{access_method}")
    if header["tablespace"]:
        found.append(f"{_TABLESPACE}{header['tablespace']}")
    return found


def _text(body: list[str]) -> str:
    """The statements of one object, without the comments and the settings of the session around them."""
    if any(line.startswith("PARTITION BY ") for line in body):
        # A partitioned table has no storage, so pg_dump doesn't set the access method: the setting is still that of an earlier table.
        body = [line for line in body if not line.startswith(_METHOD)]
    properties = [line for line in body[:2] if line.startswith((_METHOD, _TABLESPACE))]
    first, last = len(properties), len(body)
    while first < last and body[first] in ("", _RULE):
        first += 1
    while last > first and _AROUND.fullmatch(body[last - 1]):
        last -= 1
    return "\n".join([*properties, *body[first:last]])
