# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remedies of errors in couch2pg's log as commands and statements to paste, with the names in the log and in couch2pg's settings."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Callable

from ...couchdb import certificate
from ...host.compose import command_line, program_name
from ...host.files import expand
from ...postgres.connection_errors import INCOMING
from ...postgres.hba_line import hba_name
from ...postgres.identifiers import literal, quote, with_suffix
from ..log_place import LogPlace
from ..settings import Settings
from .errors import ErrorKind, subject

_MIGRATION_TABLES = ("couch2pg_migrations", "xmlforms_migrations", "users_meta_migrations")
_SWITCHES = (
    ("{}-sentinel", "SYNC_DB_SENTINEL"),
    ("{}-users-meta", "SYNC_DB_USER_META"),
    ("{}-logs", "SYNC_DB_LOGS"),
    ("_users", "SYNC_DB_USERS"),
)
# Kinds of objects whose owner ALTER ... OWNER TO changes.
_OWNED = ("materialized view", "foreign table", "table", "view", "sequence")
_REFUSED = re.compile(
    rb"(?:must be owner of|permission denied for) ([a-z ]{1,20}) \"?[^\"\n]{1,130}?\"?$", re.MULTILINE
)
_ROLE = re.compile(rb"(?:\buser|\brole) \"([^\"\n]{1,63})\"")
_DATABASE = re.compile(rb"\bdatabase \"([^\"\n]{1,63})\"")
_FROM = re.compile(rb"for host \"([\da-fA-F.:]{1,45})\"")
# The innermost function comes first.
_FUNCTION = re.compile(rb"(?:SQL|PL/\w+) function \"?(?!refresh_matviews\b)([\w.]{1,130}(?:\([^()\n]{0,500}\))?)")
_INDEXES = "SELECT pg_get_indexdef(indexrelid) || ';' FROM pg_index WHERE indisunique AND indrelid = {}::regclass"
# A query for each unique index, with its columns and the query of its view.
_DUPLICATES = (
    "SELECT format('SELECT %1$s, count(*) FROM (%2$s) AS q GROUP BY %1$s HAVING count(*) > 1;', "
    "string_agg(pg_get_indexdef(indexrelid, n, true), ', '), rtrim(pg_get_viewdef(indrelid), ';')) "
    "FROM pg_index, generate_series(1, indnatts) AS n WHERE indisunique AND indrelid = {}::regclass GROUP BY indexrelid, indrelid"
)
_MEMBER = (
    'import json, sys; s = json.load(sys.stdin); s.setdefault("members", {{}}).setdefault("names", [])'
    ".append({}); print(json.dumps(s))"
)

_CONTAINER_AGAIN = (
    "A container keeps the variables that it was made with, so let Compose make another for this service only: "
)
_UP = ("up", "--detach", "--no-deps")
_ANY_SERVICE = "SERVICE, in the folder of the compose file and with couch2pg's name under services for SERVICE"


@dataclass(frozen=True)
class Names:
    """The names in couch2pg's settings. A word in capitals stands for a name that is unknown.

    couchdb: ``scheme://host[:port]``. medic: the database in COUCHDB_URL. certificate: the file of NODE_EXTRA_CA_CERTS, or empty.
    container_again: the command with which Compose makes couch2pg's container again, or empty.
    """

    role: str = "COUCH2PG"
    database: str = "DATABASE"
    host: str = "HOST"
    port: str = "PORT"
    couchdb: str = "COUCHDB"
    medic: str = "medic"
    user: str = "USER"
    certificate: str = ""
    container_again: str = ""

    @classmethod
    def of(cls, settings: Settings, log: LogPlace) -> Names:
        """The names in ``settings`` and in the place of the log. Raises MigrationError when a URL in them is unusable."""
        place, url = settings.postgres, settings.couchdb
        return cls(
            role=place.user,
            database=place.database,
            host=place.host,
            port=str(place.port),
            couchdb=url.server,
            medic=url.path.strip("/"),
            user=url.user,
            certificate=settings.variables.get(certificate.VARIABLE, ""),
            container_again=_container_again(log),
        )


def remedy(kind: ErrorKind, evidence: bytes, names: Names, redact: Callable[[str], str]) -> str:
    """The remedy for an error of ``kind`` with these lines. redact: masks secrets in names that the lines contain."""

    def named(pattern: re.Pattern[bytes], otherwise: str) -> str:
        found = pattern.search(evidence)
        return redact(found.group(1).decode("utf-8", errors="replace")) if found else otherwise

    role, database = named(_ROLE, names.role), named(_DATABASE, names.database)
    about = redact(subject(evidence))
    table = _sql_name(re.sub("^schema ", "", about)) if about else "NAME"
    address = named(_FROM, "")
    # Not redacted: redaction would take a unit such as couch2pg@cht.service for an e-mail address.
    unit = subject(evidence) if kind.name == "service_gave_up" else ""
    function = named(_FUNCTION, "")
    others = [name.format(names.medic) for name, _switch in _SWITCHES]
    words = {
        "role": quote(role),
        "database": quote(database),
        "literal_role": literal(role),
        "literal_database": literal(database),
        "shell_database": shlex.quote(database),
        "shell_incoming": shlex.quote(with_suffix(database, INCOMING)),
        "shell_host": shlex.quote(names.host),
        "port": names.port,
        "hba_role": hba_name(role),
        "hba_database": hba_name(database),
        "hba_address": f"{address}/{128 if ':' in address else 32}" if address else "all",
        "user": shlex.quote(names.user),
        "couchdb": names.couchdb,
        "medic": names.medic,
        "others": ", ".join(others),
        "switches": ", ".join(f"{switch}=false ({name})" for name, (_name, switch) in zip(others, _SWITCHES)),
        "add_member": shlex.quote(_MEMBER.format(_python_text(names.user))),
        "certificate": certificate.remedy(evidence.decode("utf-8", errors="replace"), names.certificate),
        "object": table,
        "table_option": shlex.quote(f"--table={table}"),
        "truncate": shlex.quote(f"TRUNCATE {table}"),
        "migration_tables": " ".join(f"--table=public.{name}" for name in _MIGRATION_TABLES),
        "truncated_tables": ", ".join(f"public.{name}" for name in _MIGRATION_TABLES),
        "indexes": shlex.quote(_INDEXES.format(literal(table))),
        "duplicates": shlex.quote(_DUPLICATES.format(literal(table))),
        "own_refresh": shlex.quote(f"ALTER FUNCTION public.refresh_matviews() OWNER TO {quote(role)}"),
        "as_couch2pg": shlex.quote(f"SET ROLE {quote(role)}"),
        "own_index": ""
        if about in ("", "couchdb_doc_uuid")
        else f"If no other couch2pg runs, the index {table} refuses this document. If the source does not have this index, drop it in the "
        f"database {shlex.quote(database)}: DROP INDEX {table}; (of a constraint: ALTER TABLE ... DROP CONSTRAINT {table};)",
        "grant": _grant(named(_REFUSED, ""), table, role),
        "names_without_schema": f"If {table} exists, the function {function} names it without its schema; in the database "
        f"{shlex.quote(database)}: ALTER FUNCTION {function} SET search_path = public; "
        if function
        else "",
        "timeout": _timeout(evidence),
        "connections": _connections(evidence, role, database),
        "container_again": _CONTAINER_AGAIN
        + (names.container_again or " ".join([*program_name(), *_UP, _ANY_SERVICE])),
        "unit": shlex.quote(unit or "couch2pg.service"),
    }
    return kind.remedy.format_map(words).rstrip()


def _container_again(log: LogPlace) -> str:
    """The command with which Compose makes the container of this log again; empty for a log that is not of kind compose.

    The command names the service, because otherwise Compose would make the containers of all services again.
    """
    if log["kind"] != "compose":
        return ""
    options = [f"--file={name}" for name in log.get("compose_files") or ()]
    options += [f"--env-file={name}" for name in log.get("env_files") or ()]
    return command_line(expand(log["project_dir"]), *options, *_UP, log["service"])


def _sql_name(about: str) -> str:
    """The SQL name of a relation in a message. A name with quotes is SQL already. Without quotes, a dot separates schema and name."""
    if '"' in about:
        return about
    parts = about.split(".") if re.fullmatch(r"[\w$]+\.[\w$]+", about) else [about]
    return ".".join(map(quote, parts))


def _grant(kind: str, name: str, role: str) -> str:
    """The statement that lets the role use an object of this kind."""
    if kind in _OWNED:
        return f"ALTER {kind.upper()} {name} OWNER TO {quote(role)};"
    if kind in ("function", "procedure"):
        return f"GRANT EXECUTE ON {kind.upper()} {name} TO {quote(role)};"
    if kind == "schema":
        return f"GRANT USAGE, CREATE ON SCHEMA {name} TO {quote(role)};"
    if kind == "database":
        return f"GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {name} TO {quote(role)};"
    return (
        f"make {quote(role)} the owner of the object that the log names, or grant the right that it has on the source."
    )


def _timeout(evidence: bytes) -> str:
    """The setting that ended a statement."""
    known = {
        b"due to lock timeout": "lock_timeout",
        b"due to transaction timeout": "transaction_timeout",
        b"25P04": "transaction_timeout",
    }
    return next((setting for words, setting in known.items() if words in evidence), "statement_timeout")


def _connections(evidence: bytes, role: str, database: str) -> str:
    """How to get more connections."""
    if b"too many connections for role" in evidence:
        return f"As a superuser of that server: ALTER ROLE {quote(role)} CONNECTION LIMIT -1;"
    if b"too many connections for database" in evidence:
        return f"As a superuser of that server: ALTER DATABASE {quote(database)} CONNECTION LIMIT -1;"
    return (
        "SELECT usename, client_addr, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2 ORDER BY 3 DESC; "
        "shows who has the connections. End some of them. Or raise the limit as a superuser (SHOW max_connections; prints it): ALTER "
        "SYSTEM SET max_connections = HIGHER_NUMBER; and restart PostgreSQL."
    )


def _python_text(text: str) -> str:
    """``text`` as a Python string in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
