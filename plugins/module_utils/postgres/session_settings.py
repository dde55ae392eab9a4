# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of this collection's sessions and programs. They override those of the server, the database and the role."""

from __future__ import annotations

import re
from typing import Any, Mapping

from .identifiers import literal, quote

# How a value looks as text.
_OUTPUT = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    # Text of type money is read and written in the session's locale, and pg_dump doesn't set one.
    "lc_monetary": "C",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "xmlbinary": "base64",
    "xmloption": "content",
    "quote_all_identifiers": "off",
}
# How a statement is read and what it may do.
_MEANING = {
    "search_path": "",
    "row_security": "off",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "restrict_nonsystem_relation_kind": "",
    "icu_validation_level": "warning",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "default_tablespace": "",
    "default_table_access_method": "heap",
    "default_with_oids": "off",
    "synchronous_commit": "on",
    "session_replication_role": "origin",
    # Event triggers are for the statements of the source's users, not for those of this collection. Older servers: event_triggers.py.
    "event_triggers": "off",
    "allow_system_table_mods": "off",
    "ignore_checksum_failure": "off",
    "zero_damaged_pages": "off",
}
# What could end a session that works for hours.
_LIFE = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "exit_on_error": "off",
    # The server notices within minutes that a client is gone, and releases its snapshot.
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "15",
    "tcp_keepalives_count": "8",
    "tcp_user_timeout": "0",
}
# What the server reports.
_MESSAGES = {
    "lc_messages": "C",
    "client_min_messages": "notice",
    # The progress of pg_dump and pg_restore is read from there.
    "track_activities": "on",
    # The counts show whether rows were changed after they were verified.
    "track_counts": "on",
}
# The speed of statements.
_SPEED = {
    # Compiling a query takes half a second, more than most queries of this collection take.
    "jit": "off",
    # Without TID scans, the server would read the whole table to find a part of it.
    "enable_tidscan": "on",
}
PINNED = {**_OUTPUT, **_MEANING, **_LIFE, **_MESSAGES, **_SPEED}

# A CHECK constraint may depend on these: rows must be loaded under the settings of the restored database.
CHECKED = ("TimeZone", "DateStyle")
# Scripts of extensions (postgis_topology) read the session's first search_path; pg_restore sets its own after that.
NOT_FOR_RESTORE = (*CHECKED, "search_path")

# Sets what this server knows and this role may set; returns what was set. Run it under an empty search_path.
PIN = """
SELECT s.name, pg_catalog.set_config(s.name, p.value, false) AS value
FROM pg_catalog.pg_settings AS s JOIN unnest(%s::text[], %s::text[]) AS p(name, value) ON p.name = s.name
WHERE s.context = 'user' OR s.context = 'superuser' AND {may_set}
"""
_SUPERUSER = "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user)"
PARAMETER_PRIVILEGES_SINCE = 150000

# PostgreSQL stores the values of these as lists that are quoted already.
_LISTS = ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries")
_LIST_PART = re.compile(r'"(?:[^"]|"")*"|[^\s,"]+')

# If ALTER ROLE has set ``role`` for a superuser, the superuser lacks its rights. For another role, it may be what gives it its rights.
NO_ROLE = "SELECT pg_catalog.set_config('role', 'none', false) FROM pg_catalog.pg_roles WHERE rolname = session_user AND rolsuper"


def pin_statement(version: int) -> str:
    """``PIN`` for a server of this version (``server_version_num``)."""
    privilege = "pg_catalog.has_parameter_privilege(s.name, 'SET')"
    return PIN.format(may_set=privilege if version >= PARAMETER_PRIVILEGES_SINCE else _SUPERUSER)


def as_options(settings: Mapping[str, Any]) -> str:
    """The value of PGOPTIONS that starts every session of a program with ``settings``."""
    return " ".join(f"-c {name}=" + re.sub(r"([\\\s])", r"\\\1", str(value)) for name, value in settings.items())


def set_clause(setting: str) -> str:
    """``SET name TO value`` for a ``name=value`` of pg_db_role_setting."""
    name, value = setting.split("=", 1)
    values = list_parts(value) if name in _LISTS else [value]
    return f"SET {quote(name)} TO {', '.join(map(literal, values or ['']))}"


def list_parts(value: str) -> list[str]:
    """The names in the value of a setting that is a list, without their quotes."""
    return [_unquoted(part) for part in _LIST_PART.findall(value)]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
