# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classify the messages of pg_restore: harmless, or a failure with advice. An unknown message is a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypedDict

from ..common import restart
from ..common.errors import MigrationError


class Message(TypedDict, total=False):
    """A classified message of pg_restore.

    kind: the name of its rule; statement: the start of the command that failed; entry: the archive's entry.
    """

    kind: str
    harmless: bool
    message: str
    statement: str
    advice: str
    entry: str


@dataclass(frozen=True)
class Rule:
    """A kind of message: regular expressions for the message and, unless empty, for the command that failed.

    ``{0}``, ``{1}`` ... in ``advice`` are replaced by the groups of ``message``, then those of ``statement``.
    """

    name: str
    message: str
    harmless: bool
    advice: str
    statement: str = ""


OBJECT_MISSING, UNQUALIFIED, UNREADABLE = "object_missing", "unqualified_name", "archive_unreadable"
_CREATE_EXTENSION = r'^CREATE EXTENSION (?:IF NOT EXISTS )?"?([^";]+?)"? '

RULES = (
    Rule(
        "newer_setting",
        r'unrecognized configuration parameter "\w+"',
        True,
        "pg_dump is newer than this server and set a parameter that the server doesn't have; nothing depends on it.",
        r"^SET \w+ = ",
    ),
    Rule(
        "public_exists",
        r'schema "public" already exists',
        True,
        "Every new database contains this schema.",
        r"^CREATE SCHEMA \"?public\"?;",
    ),
    Rule(
        "extension_comment",
        r"must be owner of extension",
        True,
        "Only the extension's owner may set its comment, which is the same on every server.",
        r"^COMMENT ON EXTENSION",
    ),
    # pg_dump --quote-all-identifiers always writes this statement, and before PostgreSQL 15 only a superuser owns the schema.
    Rule(
        "public_comment",
        r"must be owner of schema \"?public",
        True,
        "Every new database has this comment.",
        r"^COMMENT ON SCHEMA \"?public\"? IS 'standard public schema'",
    ),
    Rule(
        "public_comment",
        r"must be owner of schema \"?public",
        False,
        "Only the owner of the schema may set its comment: before PostgreSQL 15 a superuser. Set couch2pg_login_user to a superuser of "
        "the target. Or give the schema its usual comment in the source's database: COMMENT ON SCHEMA public IS 'standard public schema';",
        r"^COMMENT ON SCHEMA \"?public\"?",
    ),
    Rule("disk_full", r"No space left on device|disk full", False, "Free disk space on the target, then run again."),
    Rule(
        "worker_killed",
        r"worker process died unexpectedly",
        False,
        "The kernel or somebody killed a worker of pg_restore; most often memory ran out (see journalctl -k). Nothing is lost: run again. "
        "If it happens again, set couch2pg_jobs or couch2pg_maintenance_work_mem lower.",
    ),
    # Before the rule for a lost connection, because some of these errors end the session.
    Rule(
        "extension_not_loaded",
        r"unrecognized configuration parameter|must be (?:pre)?loaded|be loaded via",
        False,
        "This extension needs its library from the start of the server. On the target, as a superuser: SHOW shared_preload_libraries; If "
        "it names none: ALTER SYSTEM SET shared_preload_libraries = '{0}'; If it names others, put them first, each in quotes of its own: "
        "ALTER SYSTEM SET shared_preload_libraries = ..., '{0}'; If the library has another name than the extension, SHOW "
        "shared_preload_libraries; on the source shows it. Restart the target's server, then run again. Or leave the extension out: "
        "couch2pg_leave_out: {{extensions: [{0}]}}.",
        _CREATE_EXTENSION,
    ),
    Rule(
        "too_many_connections",
        r'too many connections for role "(.*)"',
        False,
        'Set couch2pg_jobs lower, or raise the limit on the target, as a superuser: ALTER ROLE "{0}" CONNECTION LIMIT -1; Then run again.',
    ),
    Rule(
        "too_many_connections",
        r"too many (?:clients|connections)|remaining connection slots",
        False,
        "Set couch2pg_jobs lower, or end idle sessions on the target, or raise max_connections there (ALTER SYSTEM SET max_connections = "
        "...;) and restart the server, then run again.",
    ),
    Rule(
        "connection_lost",
        r"server closed the connection|terminating connection|connection to server .* failed|could not connect"
        r"|the database system is|lost synchronization",
        False,
        "The target's server closed the connection. Check its log, start it, then run again.",
    ),
    Rule(
        "extension_rights",
        r'permission denied to create extension "(.*)"|must be superuser to create extension "(.*)"',
        False,
        "Set couch2pg_login_user to a superuser of the target.",
    ),
    Rule(
        "owner_may_not_create",
        r"permission denied for schema (\S+)",
        False,
        "Only a superuser can give an object to a role that may not yet create in the schema {0}: grants are restored after all objects. "
        "Set couch2pg_login_user to a superuser of the target. Or give the object to the owner of the schema or of the database, in the "
        "source's database: ALTER {1} OWNER TO ...;",
        r"^ALTER (.*) OWNER TO (.*);",
    ),
    Rule(
        "permission",
        r"permission denied|must be owner of|must be member of|must be able to SET ROLE|must be superuser",
        False,
        "Set couch2pg_login_user to a superuser of the target, or to a member of the roles that own the objects.",
    ),
    # PostgreSQL takes a language without a handler in the archive for an extension of that name.
    Rule(
        "language_handler",
        r'extension "(.*)" is not available',
        False,
        "pg_dump doesn't carry a handler that PostgreSQL itself or an extension made. If nothing uses the language, drop it on the "
        'source (DROP LANGUAGE "{0}"); else give it a handler of your own there (CREATE FUNCTION ... RETURNS language_handler).',
        r"^CREATE (?:OR REPLACE )?(?:TRUSTED )?(?:PROCEDURAL )?LANGUAGE",
    ),
    Rule(
        "extension_missing",
        r'extension "(.*)" is not available|could not open extension control file .*/([^/]+)\.control',
        False,
        "Install the extension's package on the target's server, or leave the extension out: couch2pg_leave_out: "
        "{{extensions: [{0}]}}.",
    ),
    Rule(
        "extension_elsewhere",
        r"can only create extension in database (\S+)",
        False,
        "This extension works in one database of a server only, whose name is in the server's configuration ({0} on the target). "
        "Leave it out, with its rows: couch2pg_leave_out: {{extensions: [{1}]}}. After the promotion, write the name of the migrated "
        "database into that configuration (pg_cron: cron.database_name), restart the server, create the extension there, and enter its "
        "rows again (pg_cron: cron.schedule for each row of cron.job on the source).",
        _CREATE_EXTENSION,
    ),
    Rule(
        "label_provider_missing",
        r'security label provider "(.*?)" is not loaded',
        False,
        "Every session must load the library that knows these labels. SHOW shared_preload_libraries; or SHOW session_preload_libraries; "
        "on the source shows what it is called. When it is installed on the target, there, as a superuser: SHOW session_preload_libraries; "
        "If it names none: ALTER SYSTEM SET session_preload_libraries = 'LIBRARY'; If it names others, put them first, each in quotes of "
        "its own: ALTER SYSTEM SET session_preload_libraries = ..., 'LIBRARY'; Then SELECT pg_reload_conf(); and run again. Only if nobody "
        "needs the labels, remove them on the source, too. There, that ends what they do at once, such as the masking of columns or the "
        "control of access. Save them first, as statements: psql --no-align --tuples-only --command=\"SELECT format('SECURITY LABEL FOR "
        "%I ON %s %s IS %L;', provider, objtype, objname, label) FROM pg_seclabels WHERE provider = '{0}'\" DATABASE >labels.sql. Then, in "
        "the source's database, as a superuser: DELETE FROM pg_catalog.pg_seclabel WHERE provider = '{0}';",
    ),
    Rule(
        "library_missing",
        r'could not (?:access|load) (?:file|library) "(.*?)"|could not find function ".*?" in file "(.*?)"|incompatible library "(.*?)"',
        False,
        "Install the package that holds the library {0} on the target's server, in the version that the source has, then run again. Or "
        "drop the function on the source.",
    ),
    Rule(
        "without_icu",
        r'ICU is not supported in this build|collation "pg_catalog\.[\w-]+-x-icu" for encoding',
        False,
        "The target's server was built without ICU. Use PostgreSQL packages that have it.",
    ),
    Rule(
        "collation_missing",
        r'collation "pg_catalog\.(.*)" for encoding .* does not exist|could not create locale "(.*)"',
        False,
        "Install the locale {0} on the target's host (Debian: add it to /etc/locale.gen, run locale-gen), restart PostgreSQL, then "
        "run again.",
    ),
    Rule(
        "without_lz4",
        r"compression method lz4 not supported",
        False,
        "The target's server was built without lz4. Use PostgreSQL packages that have it, or change the columns on the "
        "source: ALTER TABLE ... ALTER COLUMN ... SET COMPRESSION pglz.",
    ),
    Rule(
        "without_xml",
        r"unsupported XML feature",
        False,
        "The target's server was built without libxml. Use PostgreSQL packages that have it.",
    ),
    Rule(
        "unlogged_partitioned",
        r"partitioned tables cannot be unlogged",
        False,
        "Before PostgreSQL 18 the word UNLOGGED meant nothing for a partitioned table, and pg_dump wrote it all the same. Install "
        "postgresql-client-18 or newer on the source's host, and set couch2pg_bin_dir to its folder: its pg_dump leaves the word out.",
    ),
    Rule(
        "anycompatible",
        r"function (array_(?:append|prepend|cat))\((any(?:array|element), any(?:array|element))\) does not exist",
        False,
        "PostgreSQL 14 changed this function's arguments to anycompatiblearray and anycompatible. Give the aggregate or "
        "operator a function that both versions have, on the source: CREATE FUNCTION public.same_{0}({1}) RETURNS anyarray "
        "IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.{0}($1, $2)'; then CREATE OR REPLACE AGGREGATE ... (SFUNC = "
        "public.same_{0}, ...); before PostgreSQL 12, DROP AGGREGATE ...; and CREATE AGGREGATE without OR REPLACE. Or drop it on the "
        "source, and create it after the migration for anycompatible instead of anyelement, with STYPE = anycompatiblearray.",
    ),
    Rule(
        "syntax",
        r"syntax error at|operator right argument type must be specified",
        False,
        "The target's PostgreSQL reads this definition no more: since 14, an operator can't follow its only argument, as in n ! (write "
        "factorial(n)). Write the definition in another way on the source, or drop it there, then run again.",
    ),
    *(
        Rule(
            "commutator_of_two",
            rf"operator \S+ is already the ({shared}) of operator",
            False,
            "Since PostgreSQL 17, an operator can be the {0} of only one other operator, and on the source this one shares its {0} with "
            f"another. On the source, create it again without its {{0}}, with the same {kept}, RESTRICT, JOIN, HASHES and MERGES: "
            "DROP OPERATOR {1} ({3}, {4}); CREATE OPERATOR {1} (PROCEDURE = {2}, LEFTARG = {3}, RIGHTARG = {4});",
            r"^CREATE OPERATOR (.+) \(\s+(?:FUNCTION|PROCEDURE) = (.+),\s+LEFTARG = (.+),\s+RIGHTARG = ([^\n]+?),?\n",
        )
        for shared, kept in (("commutator", "NEGATOR"), ("negator", "COMMUTATOR"))
    ),
    # PL/pgSQL names its functions with schema and arguments, SQL doesn't.
    Rule(
        UNQUALIFIED,
        r"does not exist(?:.|\n)*CONTEXT: +PL/pgSQL function (\S.*\)) line",
        False,
        "The function {0} uses a name without its schema, and has an empty search_path here. Let the restore set the "
        "function's search_path on the target, and run again: couch2pg_function_search_path: {{'{0}': 'public, pg_temp'}}. Where no "
        "extension brings the function, you can set it on the source instead: ALTER FUNCTION {0} SET search_path = public, pg_temp;",
    ),
    Rule(
        UNQUALIFIED,
        r"does not exist(?:.|\n)*CONTEXT: +SQL function \"(.+?)\"",
        False,
        "The function {0} uses a name without its schema, and has an empty search_path here. Let the restore set the "
        "function's search_path on the target, and run again: couch2pg_function_search_path, with the function's schema and the types of "
        "its arguments, as in {{'public.{0}(integer)': 'public, pg_temp'}}. Where no extension brings the function, you can set it on the "
        "source instead: ALTER FUNCTION ... SET search_path = public, pg_temp;",
    ),
    Rule(
        OBJECT_MISSING,
        r"does not exist",
        False,
        "The target's PostgreSQL or its extensions don't have this object, or the statement that creates it failed before. "
        "Rewrite or drop on the source what uses it.",
    ),
    Rule(
        "index_row_size",
        r"index row size \d+ exceeds",
        False,
        "The source compresses this long key with lz4 (default_toast_compression), and the target's server was built without it. Use "
        "PostgreSQL packages that have lz4. Or give the source another index (CREATE INDEX ... ON ... (md5(...)), then DROP INDEX of "
        "this one).",
    ),
    Rule(
        "duplicates",
        r"could not create (?:unique index|exclusion constraint)",
        False,
        "Rows on the source have equal keys, which the source's index does not show: a new version of the C library may have changed the "
        "order of text. Find them on the source without the index (SET enable_indexscan = off; SET enable_indexonlyscan = off; SET "
        "enable_bitmapscan = off;), correct them, and REINDEX the index there.",
    ),
    Rule(
        "orphans",
        r"violates foreign key constraint",
        False,
        "Rows on the source break their own foreign key. Correct these rows on the source.",
    ),
    Rule(
        "wrong_partition",
        r'new row for relation "(.*)" violates partition constraint',
        False,
        "Rows of the partition {0} on the source belong in another partition: a new version of the C library may have changed the order "
        "of text. This query there prints the condition that each row of it must meet: SELECT pg_get_partition_constraintdef(oid) FROM "
        "pg_class WHERE relname = '{0}'; Move the rows that do not meet it into the partitioned table, with the names of all columns that "
        'are not generated: WITH moved AS (DELETE FROM "{0}" WHERE NOT (CONDITION) RETURNING COLUMNS) INSERT INTO PARENT (COLUMNS) SELECT '
        "COLUMNS FROM moved;",
    ),
    Rule(
        "nulls",
        r"violates not-null constraint",
        False,
        "Rows on the source have no value in this column, which is NOT NULL there. Correct these rows on the source.",
    ),
    Rule(
        "domain_broken",
        r'value for domain (.+) violates check constraint "(.+)"',
        False,
        "Values on the source violate the constraint of their domain, or a function that it calls reads rows that are not restored yet. "
        "Correct these rows on the source, or make the constraint NOT VALID there, so that it is restored after the rows: "
        'ALTER DOMAIN {0} DROP CONSTRAINT "{1}"; ALTER DOMAIN {0} ADD CONSTRAINT "{1}" CHECK (...) NOT VALID;',
    ),
    Rule(
        "check_broken",
        r"violates check constraint|is violated by some row",
        False,
        "Rows on the source violate their constraint, or a function that it calls reads rows that are not restored yet. Correct these rows "
        "on the source, or make the constraint NOT VALID there, so that it is restored after the rows (ALTER TABLE ... DROP CONSTRAINT "
        "..., ADD CONSTRAINT ... CHECK (...) NOT VALID).",
    ),
    Rule(
        "without_compression",
        r"archive is compressed|from compressed archive",
        False,
        "This pg_restore was built without the archive's compression. Set couch2pg_bin_dir to the folder of one that has it, then run "
        "again. Or compress in another way on the source: couch2pg_compression: gzip:1.",
    ),
    Rule(
        UNREADABLE,
        r"could not (?:read from|open) input file|could not close data file|could not uncompress",
        False,
        "The archive can't be read, although its checksums were right when the restore began: see what the kernel says about its disk "
        "(dmesg), then run again, which checks the archive first.",
    ),
)

# After an interrupted attempt, the objects that it created exist; verification checks whether they are right.
RESUMED_RULES = (
    Rule(
        "built_before",
        r"already exists$|multiple primary keys for table .* are not allowed$",
        True,
        "An earlier attempt of this restore has created it.",
    ),
)


def written_for_newer(pg_dump_major: int, server_major: int) -> tuple[Rule, ...]:
    """The rule for statements that a server older than pg_dump can't read; none where the server isn't older."""
    if pg_dump_major <= server_major:
        return ()
    return (
        Rule(
            "newer_pg_dump",
            r"syntax error at",
            False,
            f"pg_dump {pg_dump_major} writes for servers of its own version, and the target's is {server_major}. Install "
            f"postgresql-client-{server_major} on the host where pg_dump runs (the source's; with the methods stream and physical, the "
            f"target's), and set couch2pg_bin_dir for this host to its folder: /usr/lib/postgresql/{server_major}/bin on Debian, "
            f"/usr/pgsql-{server_major}/bin on Red Hat. If that is refused, too, write the definition in another way on the source.",
        ),
    )


SHOWN_CHARACTERS = 120
UNKNOWN = Rule("unknown", "", False, "Remove the cause, on the source or on the target, then run again.")

# The variables that the advice names and that change the archive.
_OF_DUMP = ("couch2pg_leave_out", "couch2pg_compression")
_ERROR = re.compile(r"^pg_restore: (?:\[[^]]*\] )?(?:error|fatal|FATAL|\[archiver[^]]*\]): ?(.*)$")
_STATEMENT = "Command was: "
_ENTRY = re.compile(r"^pg_restore: from TOC entry (.*)$")
# The key of a broken constraint; other details may hold whole rows.
_KEY = re.compile(r"^DETAIL: +(Key .*)$", re.MULTILINE)
# Progress lines and context of messages, which are not messages themselves.
_BESIDE = re.compile(
    r"^pg_restore: (while |from TOC entry|warning: errors ignored|creating |processing |launching |finished |"
    r"executing |connecting |implied |entering |disabling |enabling |setting |skipping |dropping |"
    r"re-enabling |transferring |dumping |table |detected |found |saving |opening |reading )"
)


class Listener:
    """Reads pg_restore's standard error line by line and collects its messages in ``found``.

    resumed: an earlier attempt was interrupted, so messages about existing objects are harmless.
    more: rules of this archive and this server, such as those of ``written_for_newer``; they come first.
    """

    def __init__(self, resumed: bool = False, more: tuple[Rule, ...] = ()) -> None:
        self._rules = (RESUMED_RULES if resumed else ()) + more + RULES
        self.found: list[Message] = []
        # The entry of the archive's list that the message is about; empty before the first one.
        self._entry = ""
        self._message: list[str] = []
        self._statement: list[str] = []
        self._in_statement = False

    def line(self, line: str) -> None:
        """Read one line; a continuation line is added to the message before it."""
        if line.startswith("pg_restore: "):
            error = _ERROR.match(line)
            warning = line.startswith("pg_restore: warning: ")
            if error is None and (not warning or _BESIDE.match(line)):
                self.flush()
                entry = _ENTRY.match(line)
                self._entry = entry.group(1) if entry else self._entry
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
        """Finish the current message."""
        if self._message:
            found = classify("\n".join(self._message), "\n".join(self._statement), self._rules)
            found["entry"] = self._entry
            self.found.append(found)
        self._message, self._statement, self._in_statement = [], [], False

    @property
    def failures(self) -> list[Message]:
        """The messages that are not known to be harmless."""
        return [message for message in self.found if not message["harmless"]]


def classify(message: str, statement: str, rules: tuple[Rule, ...] = RULES) -> Message:
    """Classify a message by the first matching rule."""
    for rule in (*rules, UNKNOWN):
        match, command = re.search(rule.message, message), re.search(rule.statement, statement)
        if match and command:
            break
    groups = [group for found in (match, command) if found for group in found.groups() if group]
    return {
        "kind": rule.name,
        "harmless": rule.harmless,
        "message": re.sub(r"^could not execute query: (ERROR: +)?", "", message.strip()),
        # A statement can contain a whole document; its start identifies it.
        "statement": statement[:300],
        "advice": rule.advice.format(*groups),
    }


def of_function(reason: str, context: str | None) -> str:
    """The advice for a function that uses a name without its schema; empty when ``reason`` and the error's context show another cause."""
    found = classify(f"{reason}\nCONTEXT:  {context}", "")
    return found["advice"] if found["kind"] == UNQUALIFIED else ""


def advised(error: MigrationError) -> MigrationError:
    """The error of a COPY that this collection ran, with the advice that the same message of pg_restore would get."""
    context = error.details.get("context")
    found = classify(f"{error.message}\nCONTEXT:  {context}" if context else error.message, "")
    if error.code != "sql" or found["kind"] == UNKNOWN.name:
        return error
    return MigrationError(f"{error.message} {found['advice']}{then(found)}", error.code, **error.details)


def then(message: Message) -> str:
    """The sentence after the advice for a message: dump again, if the advice changes the source. The archive lacks such a change."""
    variable = next((name for name in _OF_DUMP if name in message["advice"]), "")
    if not variable and "source" not in message["advice"]:
        return ""
    return f" After a change on the source{f', or with {variable}' * bool(variable)}, dump again: {restart.command('dump')}"


def sentence(message: Message) -> str:
    """What failed, why, and what to do, for an error message."""
    key = _KEY.search(message["message"])
    reason = message["message"].splitlines()[0].rstrip(".") + (f" ({key.group(1).rstrip('.')})" if key else "")
    statement = " ".join(message["statement"].split()).rstrip(";")
    shown = statement if len(statement) <= SHOWN_CHARACTERS else statement[: SHOWN_CHARACTERS - 3] + "..."
    return f"{shown + ': ' if shown else ''}{reason}. {message['advice']}"
