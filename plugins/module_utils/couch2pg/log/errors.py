# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors that couch2pg can log: how each is recognised, what it means, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .lines import IMPORT_FAILED, UNRECOVERABLE, XMLFORMS_FAILED

_TRAP = "After a restart couch2pg skips the refresh and logs 'Run completed' with this still broken."


@dataclass(frozen=True)
class ErrorKind:
    """An error by name: the evidence that it leaves, in which announcement (any, if empty), its meaning and its remedy."""

    name: str
    evidence: re.Pattern[bytes]
    meaning: str
    remedy: str
    only_in: str = ""


def _kind(name: str, evidence: bytes, meaning: str, remedy: str, only_in: str = "") -> ErrorKind:
    return ErrorKind(name, re.compile(evidence), meaning, remedy, only_in)


# The first that fits is the one; messages come before codes that others share.
KINDS = (
    _kind(
        "scram",
        rb"Unknown authenticationOk message type",
        "PostgreSQL asked for SCRAM, and couch2pg's driver knows only md5; the process ended.",
        "Set password_encryption = 'md5', give the role its password again (ALTER ROLE ... PASSWORD ...), let its "
        "line in pg_hba.conf say md5, and reload PostgreSQL.",
    ),
    _kind(
        "migration_checksum",
        rb"MD5 checksum failed for migration",
        "A migration table holds another checksum than couch2pg's own file; the process ended.",
        "Run the same version of couch2pg as on the source, and compare couch2pg_migrations, xmlforms_migrations and "
        "users_meta_migrations with the source's.",
    ),
    _kind(
        "gave_up",
        rb"Too many consecutive errors",
        "couch2pg gave up after COUCH2PG_RETRY_COUNT failed runs; the process ended.",
        "Mend the error that was logged before this one, then start couch2pg again.",
    ),
    _kind(
        "couchdb_unauthorized",
        rb"status: 40[13]\b|error: 'unauthorized'|Name or password is incorrect",
        "CouchDB refused the credentials in COUCHDB_URL; the process ended at once.",
        "Compare the user and password in COUCHDB_URL with the source's (special characters are percent-encoded), and "
        "try them from this host with curl.",
    ),
    _kind(
        "couchdb_certificate",
        rb"(?:FetchError|request to https)[^\n]*(?:certificate|CERT_|self.signed|altnames)",
        "couch2pg's Node.js doesn't trust CouchDB's TLS certificate; it tries again with every run.",
        "Give couch2pg the authority's certificate in NODE_EXTRA_CA_CERTS: Node.js doesn't read the system's list.",
    ),
    _kind(
        "couchdb_away",
        rb"FetchError|request to https?://",
        "CouchDB didn't answer; couch2pg tries again with every run.",
        "See that CouchDB runs, and that this host resolves its name and reaches its port (name service, firewall, VPN).",
    ),
    _kind(
        "couchdb_no_database",
        rb"status: 404|Database does not exist",
        "CouchDB has no database of the name that COUCHDB_URL leads to.",
        "Compare COUCHDB_URL with the source's, letter by letter; switch off with SYNC_DB_* what this CouchDB doesn't have.",
    ),
    _kind(
        "duplicate_key",
        rb"duplicate key value violates|code: '23505'",
        "A document to be inserted is in the table already; couch2pg tries the same batch again with every run.",
        "See that no second couch2pg writes to this database. If it stays, delete the row that the log names from the "
        "table: couch2pg downloads it again.",
    ),
    _kind(
        "matview_unpopulated",
        rb"materialized view is not populated|has not been populated",
        f"refresh_matviews() met a materialized view that was never populated; the process ended. {_TRAP}",
        "Run REFRESH MATERIALIZED VIEW (without CONCURRENTLY) on each one that pg_matviews shows with ispopulated = false, "
        "or cht.couch2pg.matview_refresh.",
    ),
    _kind(
        "matview_no_unique_index",
        rb"cannot refresh materialized view .* concurrently|code: '55000'",
        f"refresh_matviews() met a materialized view without a unique index; the process ended. {_TRAP}",
        "Create the unique index that the view has on the source (CREATE UNIQUE INDEX ... ON the view), without a WHERE.",
        XMLFORMS_FAILED,
    ),
    _kind(
        "matview_duplicates",
        rb"contains duplicate rows",
        f"refresh_matviews() met a materialized view whose rows are no longer unique; the process ended. {_TRAP}",
        "Mend the view's query, or the data that it reads, so that the columns of its unique index are unique again.",
        XMLFORMS_FAILED,
    ),
    _kind(
        "matview_other_owner",
        rb"must be owner of ",
        f"refresh_matviews() met a materialized view that belongs to another role; the process ended. {_TRAP}",
        "Make couch2pg's role its owner: ALTER MATERIALIZED VIEW ... OWNER TO couch2pg's role.",
    ),
    _kind(
        "no_create_on_public",
        rb"permission denied for schema public",
        "couch2pg's role may not use or create tables in schema public, as is usual from PostgreSQL 15 on; the process ended.",
        "As the database's owner or a superuser: GRANT USAGE, CREATE ON SCHEMA public TO couch2pg's role, or make that "
        "role the database's owner.",
    ),
    _kind(
        "matview_missing",
        rb"code: '42P01'|relation \"[^\"]*\" does not exist",
        f"refresh_matviews() met a relation that doesn't exist, or that a function names without its schema. {_TRAP}",
        "Create it as it is on the source; in functions, write the schema before every table (public.couchdb).",
        XMLFORMS_FAILED,
    ),
    _kind(
        "table_missing",
        rb"code: '42P01'",
        "A table that couch2pg writes to doesn't exist.",
        "See that POSTGRESQL_URL names the restored database, and that every table of the source is in its schema public.",
    ),
    _kind(
        "bad_password",
        rb"code: '28P01'|password authentication failed",
        "PostgreSQL refused the password of couch2pg's role; the process ended.",
        "Compare the password in POSTGRESQL_URL (percent-encoded) or POSTGRES_PASSWORD (as it is) with the role's; "
        "ALTER ROLE ... PASSWORD sets it again.",
    ),
    _kind(
        "no_database",
        rb"code: '3D000'",
        "PostgreSQL has no database of the name in POSTGRESQL_URL or POSTGRES_DB_NAME; the process ended.",
        "Correct the name, or promote the restored database to it.",
    ),
    _kind(
        "no_access",
        rb"code: '28000'|no pg_hba\.conf entry",
        "PostgreSQL lets couch2pg's role not in from this address, or has no such role; the process ended.",
        "Add a line for this role, database and address to pg_hba.conf, with md5, and reload PostgreSQL; see that the role exists.",
    ),
    _kind(
        "permission_denied",
        rb"code: '42501'|permission denied for ",
        "couch2pg's role lacks a right in PostgreSQL.",
        "Make the role the owner of the object that the log names, or grant it what it has on the source.",
    ),
    _kind(
        "postgres_full",
        rb"code: '53[12]00'|No space left on device",
        "PostgreSQL ran out of disk or memory.",
        "Free or add disk space on the PostgreSQL host; couch2pg goes on with its next run.",
    ),
    _kind(
        "postgres_away",
        rb"ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ECONNRESET|code: '(?:57P0\d|53300|08\w{3})'"
        rb"|[Cc]onnection terminated",
        "PostgreSQL didn't answer, or ended the connection.",
        "See that PostgreSQL runs, listens on that address (listen_addresses) and has connections left, and that this host "
        "reaches its port.",
    ),
    _kind(
        "out_of_memory",
        rb"heap out of memory|Allocation failed",
        "Node.js ran out of memory; the process ended.",
        "Lower COUCH2PG_DOC_LIMIT and COUCH2PG_CHANGES_LIMIT, or raise NODE_OPTIONS=--max-old-space-size.",
    ),
    _kind(
        "not_installed",
        rb"Cannot find module",
        "couch2pg's application folder lacks a package; the process ended.",
        "Run npm ci in the application folder with the Node.js version that the service uses (8, 10 or 12).",
    ),
    _kind(
        "entrypoint_no_couchdb",
        rb"No couchdb end point Found",
        "The Docker entrypoint got no answer 200 from CouchDB in 21 tries (away, or credentials refused); the container ended.",
        "Try COUCHDB_URL with curl from inside the container's network, with the same user and password.",
    ),
    _kind(
        "entrypoint_no_postgres",
        rb"No  PostgreSQL DB Found",
        "The Docker entrypoint found no PostgreSQL on port 5432 of POSTGRES_SERVER_NAME in 21 tries; the container ended.",
        "Correct POSTGRES_SERVER_NAME; the entrypoint always uses port 5432; see that the container may reach it.",
    ),
    _kind(
        "service_gave_up",
        rb"Start request repeated too quickly",
        "systemd no longer restarts couch2pg, which ended too often.",
        "Mend the error that was logged before, then: systemctl reset-failed, systemctl start.",
    ),
    _kind(
        IMPORT_FAILED,
        rb"",
        "The import of a database failed for a reason that isn't in the table of known ones.",
        "Read the log around this line; couch2pg tries again with every run.",
        IMPORT_FAILED,
    ),
    _kind(
        XMLFORMS_FAILED,
        rb"",
        f"The refresh of the materialized views failed for a reason that isn't in the table of known ones. {_TRAP}",
        "As couch2pg's role, run SELECT refresh_matviews() and mend what it names.",
        XMLFORMS_FAILED,
    ),
    _kind(
        UNRECOVERABLE,
        rb"",
        "couch2pg ended for a reason that isn't in the table of known ones.",
        "Read the log around this line.",
        UNRECOVERABLE,
    ),
    _kind("error", rb"", "An error that isn't in the table of known ones.", "Read the log around this line."),
)
# What couch2pg stumbles over after a failed refresh; it says nothing new.
_CONSEQUENCE = re.compile(rb"TypeError: Assignment to constant variable")


def recognise(announcement: str, evidence: bytes) -> ErrorKind:
    """The kind of an error that was announced so (or not at all: ``""``), with its lines."""
    return next(
        kind for kind in KINDS if kind.only_in in ("", announcement) and kind.evidence.search(evidence) is not None
    )


def is_consequence(evidence: bytes) -> bool:
    """Whether these lines only follow from the error before them."""
    return _CONSEQUENCE.search(evidence) is not None


def subject(evidence: bytes) -> str:
    """The relation or role that an error names, if any; never a document."""
    for pattern in (
        rb"REFRESH MATERIALIZED VIEW (?:CONCURRENTLY )?((?:[\w.]{1,63}|\"[^\"\n]{1,63}\"){1,3})",
        rb"(?:materialized view|relation|constraint|table|function|user|role|database) \"([^\"\n]{1,130})\"",
        rb"(?:materialized view|relation|table) ([\w.]{1,130})$",
        rb"for (schema \w{1,63})",
        rb"migration \[(\d{1,20})\]",
    ):
        found = re.search(pattern, evidence, re.MULTILINE)
        if found:
            return found.group(1).decode("utf-8", errors="replace")
    return ""
