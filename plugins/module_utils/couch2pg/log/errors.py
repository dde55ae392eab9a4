# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors that couch2pg can log: how to recognise each, its meaning and its remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .lines import IMPORT_FAILED, UNRECOVERABLE, XMLFORMS_FAILED

_TRAP = "After a restart couch2pg skips the refresh and logs 'Run completed', although this is still broken."


@dataclass(frozen=True)
class ErrorKind:
    """A kind of error: the evidence in its lines, its meaning and its remedy.

    only_in: the announcement that must precede the error; empty for any.
    """

    name: str
    evidence: re.Pattern[bytes]
    meaning: str
    remedy: str
    only_in: str = ""


def _kind(name: str, evidence: bytes, meaning: str, remedy: str, only_in: str = "") -> ErrorKind:
    return ErrorKind(name, re.compile(evidence), meaning, remedy, only_in)


# The first match counts. So a message comes before a code that other errors share.
KINDS = (
    _kind(
        "scram",
        rb"Unknown authenticationOk message type",
        "PostgreSQL asked for SCRAM, but couch2pg's driver knows only md5. It also asks for SCRAM where the role doesn't exist. The "
        "process ended.",
        "Create the role if it is missing. Where COUCH2PG is the role: SET password_encryption = 'md5'; ALTER ROLE COUCH2PG PASSWORD "
        "'...'; (couch2pg_give_login: true does that). Add at the top of pg_hba.conf: host all COUCH2PG all md5, and reload it: "
        "SELECT pg_reload_conf();",
    ),
    _kind(
        "migration_checksum",
        rb"MD5 checksum failed for migration",
        "A migration table contains another checksum than couch2pg's file. The process ended.",
        "Run the same version of couch2pg as on the source, and compare couch2pg_migrations, xmlforms_migrations and "
        "users_meta_migrations with the source's.",
    ),
    _kind(
        "gave_up",
        rb"Too many consecutive errors",
        "couch2pg gave up after COUCH2PG_RETRY_COUNT failed runs. The process ended.",
        "Correct the error that was logged before this one, then start couch2pg again.",
    ),
    _kind(
        "couchdb_unauthorized",
        # This function turns an answer of CouchDB into an error. An old couch2pg logs only its stack, a newer one the status, too, which
        # Node.js prints before or after the stack.
        rb"status: 401\b|error: 'unauthorized'|Name or password is incorrect"
        rb"|\A(?![\s\S]*\bstatus: \d)[\s\S]*generateErrorFromResponse",
        "CouchDB refused the credentials in COUCHDB_URL. The process ended at once.",
        "Compare the user and password in COUCHDB_URL with the source's (special characters are percent-encoded), and "
        "try them from this host with curl.",
    ),
    _kind(
        "couchdb_forbidden",
        rb"\bstatus: 403\b",
        "CouchDB doesn't let the user in COUCHDB_URL read a database. couch2pg tries again with every run.",
        "Make the user an administrator or a member of every database that couch2pg follows, or switch off those that it must not read "
        "with SYNC_DB_*.",
    ),
    _kind(
        "couchdb_error",
        rb"\bstatus: (?!404)[45]\d\d\b|invalid json response body",
        "CouchDB, or a proxy in front of it, answered with an error. couch2pg tries again with every run.",
        "Read the status and the reason in couch2pg's log, and the logs of CouchDB and of any proxy in front of it at that time.",
    ),
    _kind(
        "couchdb_certificate",
        rb"(?:FetchError|request to https)[^\n]*(?:certificate|CERT_|self.signed|altnames)",
        "couch2pg's Node.js doesn't trust CouchDB's TLS certificate. couch2pg tries again with every run.",
        "Set NODE_EXTRA_CA_CERTS to a file with the authority's certificate: Node.js doesn't read the system's list.",
    ),
    _kind(
        "couchdb_away",
        rb"FetchError|request to https?://",
        "CouchDB didn't answer. couch2pg tries again with every run.",
        "Check that CouchDB runs, and that this host resolves its name and reaches its port (name service, firewall, VPN).",
    ),
    _kind(
        "couchdb_no_database",
        rb"status: 404|Database does not exist",
        "CouchDB has no database with the name in COUCHDB_URL.",
        "Compare COUCHDB_URL with the source's, letter by letter. Switch off databases that this CouchDB lacks with SYNC_DB_*.",
    ),
    _kind(
        "duplicate_key",
        rb"duplicate key value violates|code: '23505'",
        "The table already contains a document that couch2pg inserts. couch2pg tries the same batch again with every run.",
        "Check that no other couch2pg writes to this database. If the error stays, delete the row that the log names: "
        "couch2pg downloads it again.",
    ),
    _kind(
        "matview_unpopulated",
        rb"materialized view is not populated|has not been populated",
        f"refresh_matviews() failed on a materialized view that was never populated. The process ended. {_TRAP}",
        "Run REFRESH MATERIALIZED VIEW (without CONCURRENTLY) on each one that pg_matviews shows with ispopulated = false, "
        "or cht.couch2pg.matview_refresh.",
    ),
    _kind(
        "matview_no_unique_index",
        # A server that speaks another language is known by the code, which a closed database has, too.
        rb"cannot refresh materialized view .* concurrently|code: '55000'(?![\s\S]*routine: 'CheckMyDatabase')",
        f"refresh_matviews() failed on a materialized view without a unique index. The process ended. {_TRAP}",
        "Create the unique index that the view has on the source (CREATE UNIQUE INDEX ... ON the view), without a WHERE.",
        XMLFORMS_FAILED,
    ),
    _kind(
        "matview_duplicates",
        rb"contains duplicate rows",
        f"refresh_matviews() failed on a materialized view whose rows are no longer unique. The process ended. {_TRAP}",
        "Correct the view's query, or the data that it reads, so that the columns of its unique index are unique again.",
        XMLFORMS_FAILED,
    ),
    _kind(
        "matview_other_owner",
        rb"must be owner of ",
        f"refresh_matviews() failed on a materialized view of another role. The process ended. {_TRAP}",
        "ALTER MATERIALIZED VIEW ... OWNER TO couch2pg's role.",
    ),
    _kind(
        "no_create_on_public",
        rb"permission denied for schema public",
        "couch2pg's role may not create tables in the schema public, which is the default since PostgreSQL 15. The process ended.",
        "As the database's owner or a superuser: GRANT USAGE, CREATE ON SCHEMA public TO couch2pg's role, or make that "
        "role the database's owner.",
    ),
    _kind(
        "migration_table_lost",
        rb"relation \"[^\"\n]*\" already exists|code: '42P07'",
        "A table that records couch2pg's migrations is missing or empty, so that couch2pg creates existing tables again. The process "
        "ended.",
        "Copy the content of this migration table from the source (pg_dump --data-only --table), then start couch2pg again.",
        UNRECOVERABLE,
    ),
    _kind(
        "refresh_missing",
        rb"function (?:public\.)?refresh_matviews\(\) does not exist",
        "The database has no function refresh_matviews(), so that no materialized view is refreshed.",
        "Create the function refresh_matviews() in the schema public as it is on the source.",
    ),
    _kind(
        "matview_missing",
        rb"code: '42P01'|relation \"[^\"]*\" does not exist",
        f"refresh_matviews() needs a relation that doesn't exist, or that a function names without its schema. {_TRAP}",
        "Create it as it is on the source. In functions, write the schema before every table (public.couchdb).",
        XMLFORMS_FAILED,
    ),
    _kind(
        "table_missing",
        rb"code: '42P01'",
        "A table that couch2pg writes to doesn't exist.",
        "Check that POSTGRESQL_URL names the restored database, and that its schema public has every table of the source.",
    ),
    _kind(
        "bad_password",
        rb"code: '28P01'|password authentication failed",
        "PostgreSQL refused the password of couch2pg's role. The process ended.",
        "Compare the password in POSTGRESQL_URL (percent-encoded) or POSTGRES_PASSWORD (percent-encoded) with the role's. "
        "ALTER ROLE ... PASSWORD sets it again.",
    ),
    _kind(
        "no_database",
        rb"\b3D000\b|database \"[^\"\n]*\" does not exist",
        "PostgreSQL has no database with the name in POSTGRESQL_URL or POSTGRES_DB_NAME. The process ended.",
        "Correct the name, or promote the restored database to it.",
    ),
    _kind(
        "no_access",
        rb"code: '28000'|no pg_hba\.conf entry",
        "PostgreSQL refuses couch2pg's role from this address, or has no such role. The process ended.",
        "Check that the role exists. Add a line for this role, database and address with the method md5 to pg_hba.conf, and reload "
        "PostgreSQL.",
    ),
    _kind(
        "permission_denied",
        rb"code: '42501'|permission denied for ",
        "couch2pg's role lacks a right in PostgreSQL.",
        "Make the role the owner of the object that the log names, or grant the right that it has on the source.",
    ),
    _kind(
        "read_only",
        rb"code: '25006'|in a read-only transaction",
        "PostgreSQL lets couch2pg only read: the server is a standby, or the database or the role is set to read only.",
        "Check that POSTGRESQL_URL names the primary server, and default_transaction_read_only of the database and of couch2pg's role.",
    ),
    _kind(
        "statement_timeout",
        rb"code: '57014'|canceling statement due to",
        "PostgreSQL cancelled a statement of couch2pg: it exceeded a timeout, or somebody cancelled it.",
        "Check statement_timeout of couch2pg's role and of the database: ALTER ROLE ... SET statement_timeout = 0.",
    ),
    _kind(
        "postgres_full",
        rb"code: '53[12]00'|No space left on device",
        "PostgreSQL ran out of disk space or memory.",
        "Free or add disk space on the PostgreSQL host. couch2pg continues with its next run.",
    ),
    _kind(
        "postgres_away",
        rb"ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ECONNRESET|code: '(?:57P0\d|53300|08\w{3})'"
        rb"|[Cc]onnection terminated|code: '55000'",
        "PostgreSQL didn't answer, or ended the connection.",
        "Check that PostgreSQL runs, listens on that address (listen_addresses) and has free connections, that the database accepts "
        "connections (datallowconn in pg_database), and that this host reaches its port.",
    ),
    _kind(
        "out_of_memory",
        rb"heap out of memory|Allocation failed",
        "Node.js ran out of memory. The process ended.",
        "Lower COUCH2PG_DOC_LIMIT and COUCH2PG_CHANGES_LIMIT, or raise NODE_OPTIONS=--max-old-space-size.",
    ),
    _kind(
        "wrong_node_version",
        # A SyntaxError of JSON is about an answer, such as the HTML page of a proxy.
        rb"SyntaxError: (?![^\n]*JSON)|Cannot find module 'node:|No such built-in module|NODE_MODULE_VERSION"
        rb"|compiled against a different Node\.js version|ERR_OSSL_EVP_UNSUPPORTED",
        "couch2pg, or one of its packages, doesn't run on this version of Node.js. The process ended.",
        "Run couch2pg with the Node.js version of the source (8, 10 or 12), and install its packages with that version (npm ci).",
    ),
    _kind(
        "not_installed",
        rb"Cannot find module",
        "couch2pg's application folder lacks a package. The process ended.",
        "Run npm ci in the application folder with the Node.js version that the service uses (8, 10 or 12).",
    ),
    _kind(
        "entrypoint_no_couchdb",
        rb"No couchdb end point Found",
        "The Docker entrypoint got no answer 200 from CouchDB in 21 tries: CouchDB is unreachable, or refused the credentials. The "
        "container ended.",
        "Try COUCHDB_URL with curl in the container's network, with the same user and password.",
    ),
    _kind(
        "entrypoint_no_postgres",
        rb"No  PostgreSQL DB Found",
        "The Docker entrypoint found no PostgreSQL on port 5432 of POSTGRES_SERVER_NAME in 21 tries. The container ended.",
        "Correct POSTGRES_SERVER_NAME, and check that the container reaches port 5432, which the entrypoint always uses.",
    ),
    _kind(
        "service_gave_up",
        rb"Start request repeated too quickly",
        "systemd no longer restarts couch2pg, because it ended too often.",
        "Correct the error that was logged before this one, then run systemctl reset-failed and systemctl start.",
    ),
    _kind(
        IMPORT_FAILED,
        rb"",
        "The import of a database failed for an unknown reason.",
        "Read the log around this line. couch2pg tries again with every run.",
        IMPORT_FAILED,
    ),
    _kind(
        XMLFORMS_FAILED,
        rb"",
        f"The refresh of the materialized views failed for an unknown reason. {_TRAP}",
        "As couch2pg's role, run SELECT refresh_matviews(), and correct what it reports.",
        XMLFORMS_FAILED,
    ),
    _kind(
        UNRECOVERABLE,
        rb"",
        "couch2pg ended for an unknown reason.",
        "Read the log around this line.",
        UNRECOVERABLE,
    ),
    _kind("error", rb"", "An unknown error.", "Read the log around this line."),
)
# An error in couch2pg's own handling of a failed refresh, without new information.
_CONSEQUENCE = re.compile(rb"TypeError: Assignment to constant variable")


def recognise(announcement: str, evidence: bytes) -> ErrorKind:
    """The kind of an error with these lines after ``announcement``, which is empty without one."""
    return next(
        kind for kind in KINDS if kind.only_in in ("", announcement) and kind.evidence.search(evidence) is not None
    )


def is_consequence(evidence: bytes) -> bool:
    """Whether these lines are only a consequence of the error before them."""
    return _CONSEQUENCE.search(evidence) is not None


def subject(evidence: bytes) -> str:
    """The object that an error names, such as a relation or role; empty without one. Never a part of a document."""
    created_again = re.search(rb"relation \"([^\"\n]{1,63})\" already exists", evidence)
    if created_again:
        return _migration_table(created_again.group(1).decode("utf-8", errors="replace"))
    for pattern in (
        rb"REFRESH MATERIALIZED VIEW (?:CONCURRENTLY )?(?!in a read-only)((?:[\w.]{1,63}|\"[^\"\n]{1,63}\"){1,3})",
        rb"(?:materialized view|relation|constraint|table|function|user|role|database) \"([^\"\n]{1,130})\"",
        rb"(?:materialized view|relation|table) ([\w.]{1,130})$",
        rb"for (schema \w{1,63})",
        rb"migration \[(\d{1,20})\]",
    ):
        found = re.search(pattern, evidence, re.MULTILINE)
        if found:
            return found.group(1).decode("utf-8", errors="replace")
    return ""


def _migration_table(relation: str) -> str:
    """The table that records the migration which creates ``relation``: couch2pg has three sets of migrations."""
    if relation.startswith(("couchdb_users_meta", "useview_")):
        return "users_meta_migrations"
    if relation.startswith(("contactview_", "raw_contacts", "form_", "couchdb_medic_")):
        return "xmlforms_migrations"
    return "couch2pg_migrations"
