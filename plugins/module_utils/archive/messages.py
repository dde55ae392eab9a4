# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_restore says, sorted: harmless, or a failure with what to do. A message that isn't known is a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """A kind of message. ``statement`` must match the command that pg_restore shows with it."""

    name: str
    message: str
    harmless: bool
    advice: str
    statement: str = ""


RULES = (
    Rule(
        "newer_setting",
        r'unrecognized configuration parameter "\w+"',
        True,
        "pg_dump is newer than this server and set a parameter that it doesn't have; nothing depends on it.",
        r"^SET \w+ = ",
    ),
    Rule(
        "public_exists",
        r'schema "public" already exists',
        True,
        "Every database has this schema from the start.",
        r"^CREATE SCHEMA \"?public\"?;",
    ),
    Rule(
        "extension_comment",
        r"must be owner of extension",
        True,
        "The comment of an extension belongs to the extension's owner; it is the same on every server.",
        r"^COMMENT ON EXTENSION",
    ),
    Rule("disk_full", r"No space left on device|disk full", False, "Free disk space on the target, then run again."),
    Rule(
        "connection_lost",
        r"server closed the connection|terminating connection|connection to server .* failed|could not connect"
        r"|the database system is|lost synchronization",
        False,
        "The target's server went away; see its log, start it, then run again.",
    ),
    Rule(
        "role_missing",
        r'role ".*" does not exist',
        False,
        "Create the role on the target, or set missing_roles to create.",
    ),
    Rule(
        "permission",
        r"permission denied|must be owner of|must be member of|must be able to SET ROLE",
        False,
        "Restore as a superuser of the target (login_user: postgres), or as a member of the owning roles.",
    ),
    Rule(
        "extension_missing",
        r"extension \".*\" is not available|could not open extension control file",
        False,
        "Install the extension's package on the target's server.",
    ),
    Rule(
        "collation_missing",
        r"collation \".*\" for encoding .* does not exist",
        False,
        "Install the locale on the target's server.",
    ),
    Rule(
        "unqualified_name",
        r"(relation|function|type|operator) .* does not exist|does not exist: .*",
        False,
        "A function names an object without its schema, and restore runs with an empty search_path: set search_path on the "
        "function on the source (ALTER FUNCTION ... SET search_path = public), then dump again.",
    ),
    Rule(
        "archive_unreadable",
        r"unsupported version|could not read from input file|invalid compression|not appear to be a valid archive"
        r"|could not open|could not uncompress|not built with support",
        False,
        "This pg_restore can't read the archive: use one as new as the pg_dump that made it, and check the archive.",
    ),
)

# Where an earlier attempt was interrupted, what it has built is there; whether it is the right thing, verification says.
RESUMED_RULES = (
    Rule(
        "built_before",
        r"already exists$|multiple primary keys for table .* are not allowed$",
        True,
        "An earlier attempt of this restore has built it.",
    ),
)

UNKNOWN = Rule(
    "unknown", "", False, "This message isn't known to be harmless; look at it before you trust this database."
)

_ERROR = re.compile(r"^pg_restore: (?:\[[^]]*\] )?(?:error|fatal|FATAL|\[archiver[^]]*\]): ?(.*)$")
_STATEMENT = "Command was: "
# Said beside messages, never a message of its own.
_BESIDE = re.compile(
    r"^pg_restore: (while |from TOC entry|warning: errors ignored|creating |processing |launching |finished |"
    r"executing |connecting |implied |entering |disabling |enabling |setting |skipping |dropping |"
    r"re-enabling |transferring |dumping |table |detected |found |saving |opening |reading )"
)


class Listener:
    """Reads pg_restore's standard error line by line and keeps what it found wrong."""

    def __init__(self, resumed: bool = False) -> None:
        self._rules = (RESUMED_RULES if resumed else ()) + RULES
        self.found: list[dict[str, Any]] = []
        self._message: list[str] = []
        self._statement: list[str] = []
        self._in_statement = False

    def line(self, line: str) -> None:
        """One more line; lines that go on with the message before are put with it."""
        if line.startswith("pg_restore: "):
            error = _ERROR.match(line)
            warning = line.startswith("pg_restore: warning: ")
            if error is None and (not warning or _BESIDE.match(line)):
                self.flush()
                return
            self.flush()
            self._message = [error.group(1) if error else line.split("warning: ", 1)[1]]
        elif line.startswith(_STATEMENT) and self._message:
            self._in_statement = True
            self._statement = [line[len(_STATEMENT) :]]
        elif self._in_statement:
            self._statement.append(line)
        elif self._message:
            self._message.append(line)

    def flush(self) -> None:
        """The message before is complete."""
        if self._message:
            self.found.append(classify("\n".join(self._message), "\n".join(self._statement), self._rules))
        self._message, self._statement, self._in_statement = [], [], False

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The messages that are not known to be harmless."""
        return [message for message in self.found if not message["harmless"]]


def classify(message: str, statement: str, rules: tuple[Rule, ...] = RULES) -> dict[str, Any]:
    """A message with its kind and what to do."""
    rule = next(
        (
            rule
            for rule in rules
            if re.search(rule.message, message) and (not rule.statement or re.search(rule.statement, statement))
        ),
        UNKNOWN,
    )
    return {
        "kind": rule.name,
        "harmless": rule.harmless,
        "message": re.sub(r"^could not execute query: (ERROR: +)?", "", message.strip()),
        # A statement can hold a whole document; its beginning says which one it is.
        "statement": statement[:300],
        "advice": rule.advice,
    }
