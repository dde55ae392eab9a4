# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of lines in couch2pg's log: of couch2pg itself, its Docker entrypoint, Node.js, and the service manager."""

from __future__ import annotations

import re
from typing import NamedTuple

# Lines of a process before its first run.
BANNER, ADAPTER, MIGRATION, DRIVER_NOTICE = "banner", "adapter", "migration", "driver_notice"
# The settings, as an object over several DEBUG lines: at the start of the process, and after each run.
OPTIONS = "options"
# Lines of a run.
RUN_STARTED, CHANGES, REFRESH = "run_started", "changes", "refresh"
RUN_COMPLETED, RUN_ERRORED = "run_completed", "run_errored"
# Lines that announce an error. The error itself is the next ERROR line, and the indented lines below.
IMPORT_FAILED, XMLFORMS_FAILED, UNRECOVERABLE = "import_failed", "xmlforms_failed", "unrecoverable"
ERROR, THROWN, CRASH, EXITING = "error", "thrown", "crash", "exiting"
ENTRYPOINT, ENTRYPOINT_WAITS, ENTRYPOINT_FAILED = "entrypoint", "entrypoint_waits", "entrypoint_failed"
SERVICE_STARTED, SERVICE_ENDED, SERVICE_RESTARTS = "service_started", "service_ended", "service_restarts"
SERVICE_GAVE_UP, SERVICE = "service_gave_up", "service"
DEBUG, INFO, WARNING, CONTINUATION, UNKNOWN = "debug", "info", "warning", "continuation", "unknown"

ANNOUNCEMENTS = (IMPORT_FAILED, XMLFORMS_FAILED, UNRECOVERABLE)


class Line(NamedTuple):
    """A line: its kind, its text after the time, its time, and its number (of changes or restarts)."""

    kind: str
    text: bytes
    time: str = ""
    number: int = 0


_OWN = re.compile(rb"\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) (TRACE|DEBUG|INFO|WARN|ERROR)\]: *(.*)", re.DOTALL)
# Versions before 3 log "Run complete.".
_STARTS = (
    (b"There are ", CHANGES),
    (b"Beginning couch2pg", RUN_STARTED),
    (b"Run complete", RUN_COMPLETED),
    (b"Run errored", RUN_ERRORED),
    (b"Refreshing materialised views", REFRESH),
    (b"Adapter is running", ADAPTER),
    (b"Couch2PG import failed", IMPORT_FAILED),
    (b"XMLForms support failed", XMLFORMS_FAILED),
    (b"An unrecoverable error occurred", UNRECOVERABLE),
    (b"exiting", EXITING),
)
_LEVELS = {b"TRACE": DEBUG, b"DEBUG": DEBUG, b"INFO": INFO, b"WARN": WARNING, b"ERROR": ERROR}
_CHANGES = re.compile(rb"There are (\d{1,18}) changes to process")

_FOREIGN_STARTS = (
    (b"Package pg version", DRIVER_NOTICE),
    (b"Please raise issue to support pg", DRIVER_NOTICE),
    (b"Starting couch2pg process", BANNER),
    (b"Set postgres URL to ", ENTRYPOINT),
    (b"START Checking for cht couchdb at ", ENTRYPOINT),
    (b"check_if_postgres_is_ready", ENTRYPOINT),
    (b"couchdb  is ready", ENTRYPOINT),
    (b"Postgres is ready", ENTRYPOINT),
    (b"Launching couch2pg", ENTRYPOINT),
    (b"Did you forget to run", WARNING),
    (b"Waiting for cht couchdb", ENTRYPOINT_WAITS),
    (b"Waiting for PostgreSQL", ENTRYPOINT_WAITS),
    (b"curl: (", ENTRYPOINT_WAITS),
    (b"No couchdb end point Found", ENTRYPOINT_FAILED),
    (b"No  PostgreSQL DB Found", ENTRYPOINT_FAILED),
    (b"FATAL ERROR: ", CRASH),
    (b"Started ", SERVICE_STARTED),
    (b"Starting ", SERVICE),
    (b"Stopping ", SERVICE),
    (b"Stopped ", SERVICE),
)
_FOREIGN = (
    (re.compile(rb"\[\d{1,2}:\d\d:\d\d(?: [AP]M)?\] "), MIGRATION),
    (re.compile(rb"\(node:\d+\) Unhandled\w+: "), THROWN),
    (re.compile(rb"\(node:\d+\) |\(Use `node "), WARNING),
    (re.compile(rb"(?:Uncaught )?(?:\w+ ?\[\w+\]|\w*[Ee]rror): "), THROWN),
    (re.compile(rb"(?:file://)?/[^\n:]*\.[cm]?js:\d+$|(?:node:)?internal/[\w/]+:\d+$"), CRASH),
    (re.compile(rb"Node\.js v\d"), CONTINUATION),
    (re.compile(rb"[\w@.:\\-]+\.service: Main process exited"), SERVICE_ENDED),
    (re.compile(rb"[\w@.:\\-]+\.service: Scheduled restart job, restart counter is at (\d{1,9})"), SERVICE_RESTARTS),
    (re.compile(rb"[\w@.:\\-]+\.service: Start request repeated too quickly"), SERVICE_GAVE_UP),
    (re.compile(rb"[\w@.:\\-]+\.service: "), SERVICE),
)
# For speed: one match shows that a line fits none of these patterns, which is true for nearly all unknown lines.
_ANY_FOREIGN = re.compile(
    b"|".join([*(re.escape(start) for start, _kind in _FOREIGN_STARTS), *(found.pattern for found, _kind in _FOREIGN)])
)
# The prefix that syslog, `docker compose logs` or `docker logs --timestamps` puts before couch2pg's own text.
_PREFIX = re.compile(
    rb"(?:(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*) [\w.-]+ [^\s:\[]+(?:\[\d+\])?: "
    rb"|[\w.-]+ +\| ?"
    rb"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z )+"
)
# Matches what classify calls DEBUG.
is_debug = re.compile(rb"\[[^\s\]]+ (?:DEBUG|TRACE)\]:").match
_CONTINUED = (b" ", b"\t", b"}", b"]", b")", b"{", b"^")


def without_prefix(line: bytes) -> bytes:
    """couch2pg's own text in a line."""
    if line.startswith((b"[", b" ")):
        return line
    prefix = _PREFIX.match(line)
    return line[prefix.end() :] if prefix else line


def classify(text: bytes) -> Line:
    """The kind of a line without its prefix. Accepts any bytes."""
    return _own(text) or _foreign(text) or Line(UNKNOWN, text)


def _own(line: bytes) -> Line | None:
    found = _OWN.match(line) if line.startswith(b"[") else None
    if found is None:
        return None
    time, level, text = found.groups()
    if level in (b"INFO", b"ERROR"):
        for start, kind in _STARTS:
            if text.startswith(start):
                number = _CHANGES.match(text) if kind == CHANGES else None
                return Line(kind, text, time.decode(), int(number.group(1)) if number else 0)
    return Line(_LEVELS[level], text, time.decode())


def _foreign(line: bytes) -> Line | None:
    if not line.strip() or line.startswith(_CONTINUED):
        return Line(CONTINUATION, line)
    if not _ANY_FOREIGN.match(line):
        return None
    for start, kind in _FOREIGN_STARTS:
        if line.startswith(start):
            return Line(kind, line)
    for pattern, kind in _FOREIGN:
        found = pattern.match(line)
        if found:
            return Line(kind, line, number=int(found.group(1)) if pattern.groups else 0)
    return None
