# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors that couch2pg can log: how to recognise each, its meaning and its remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .lines import IMPORT_FAILED, UNRECOVERABLE, XMLFORMS_FAILED

# A command that asks for a password and prints it percent-encoded, as a URL needs it.
_ENCODED = """python3 -c 'import getpass, urllib.parse as u; print(u.quote(getpass.getpass(), safe=""))'"""
_TRAP = "After a restart couch2pg skips the refresh and logs 'Run completed', although this is still broken."


@dataclass(frozen=True)
class ErrorKind:
    """A kind of error: the evidence in its lines, its meaning and its remedy.

    remedy: a template, whose names in braces ``remedies.remedy`` replaces. only_in: the announcement that must precede the error;
    empty for any.
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
        "As a superuser of that server: SET password_encryption = 'md5'; ALTER ROLE {role} LOGIN PASSWORD 'PASSWORD'; (where the role is "
        "missing, CREATE in place of ALTER; couch2pg_give_login: true does both). Put this line first in pg_hba.conf there, "
        "and reload it (SELECT pg_reload_conf()): host {hba_database} {hba_role} all md5",
    ),
    _kind(
        "migration_checksum",
        rb"MD5 checksum failed for migration",
        "A migration table contains another checksum than couch2pg's file. The process ended.",
        "Run the same version of couch2pg as on the source. If it is the same, copy the content of the migration tables: on the source, "
        "pg_dump --data-only {migration_tables} {shell_database} >migrations.sql; on the target, psql --single-transaction "
        "--set=ON_ERROR_STOP=1 --command='TRUNCATE {truncated_tables}' --file=migrations.sql {shell_database}. Then start couch2pg "
        "again.",
    ),
    _kind(
        "gave_up",
        rb"Too many consecutive errors",
        "couch2pg gave up after COUCH2PG_RETRY_COUNT failed runs. The process ended.",
        "Correct the error that was logged before this one, then start couch2pg again.",
    ),
    _kind(
        "couchdb_no_database",
        # "not a server admin": couch2pg tries to create a missing database, and its user has no right to.
        rb"status: 404|Database does not exist|not a server admin",
        "CouchDB has no database with the name in COUCHDB_URL.",
        "curl --user {user} {couchdb}/_all_dbs lists those that it has. Correct COUCHDB_URL, which must be as on the source, letter by "
        "letter. Or switch off a database that this CouchDB lacks: {switches}. Then start couch2pg again.",
    ),
    _kind(
        "couchdb_unauthorized",
        # This function turns an answer of CouchDB into an error. An old couch2pg logs only its stack, a newer one the status, too, which
        # Node.js prints before or after the stack.
        rb"status: 401\b|error: 'unauthorized'|Name or password is incorrect"
        rb"|\A(?![\s\S]*\bstatus: \d)[\s\S]*generateErrorFromResponse",
        "CouchDB refused the credentials in COUCHDB_URL. The process ended at once.",
        'Find out the password that CouchDB accepts: curl --user {user} {couchdb}/_session asks for it, and must answer with "ok":true. '
        f"Set it in COUCHDB_URL, percent-encoded as this command prints it: {_ENCODED}. Then start couch2pg again.",
    ),
    _kind(
        "couchdb_forbidden",
        rb"\bstatus: 403\b",
        "CouchDB doesn't let the user in COUCHDB_URL read a database. couch2pg tries again with every run.",
        "curl --user {user} {couchdb}/{medic}/_all_docs?limit=0 (and so on for {others}) shows which one. Let an administrator of CouchDB "
        "add the user to its members: curl --user ADMIN {couchdb}/{medic}/_security | python3 -c {add_member} >security.json, then curl "
        "--user ADMIN --request PUT --header 'Content-Type: application/json' --data @security.json {couchdb}/{medic}/_security. Only an "
        "administrator may read _users. Or switch off a database that couch2pg must not read: {switches}. Then start couch2pg again.",
    ),
    _kind(
        "couchdb_error",
        rb"\bstatus: (?!404)[45]\d\d\b|invalid json response body",
        "CouchDB, or a proxy in front of it, answered with an error. couch2pg tries again with every run.",
        "Ask it what couch2pg asks, from couch2pg's host: curl --include --user {user} {couchdb}/{medic}. Where that fails, too, read the "
        "logs of CouchDB and of any proxy in front of it.",
    ),
    _kind(
        "couchdb_certificate",
        rb"(?:FetchError|request to https)[^\n]*(?:certificate|CERT_|self.signed|altnames)",
        "couch2pg's Node.js, which doesn't read the system's list of authorities, doesn't trust CouchDB's TLS certificate. couch2pg tries "
        "again with every run.",
        "{certificate} Then start couch2pg again.",
    ),
    _kind(
        "couchdb_away",
        rb"FetchError|request to https?://",
        "CouchDB didn't answer. couch2pg tries again with every run.",
        "On couch2pg's host, curl --head {couchdb} shows why (name service, firewall, VPN, a CouchDB that doesn't run). As soon as it "
        "answers, couch2pg continues with its next run.",
    ),
    _kind(
        "duplicate_key",
        rb"duplicate key value violates|code: '23505'",
        "A row of the table conflicts with a document that couch2pg inserts. couch2pg tries the same batch again with every run.",
        "Stop any other couch2pg that writes to this database, as SELECT client_addr, pid, query FROM pg_stat_activity WHERE datname = "
        "{literal_database} AND usename = {literal_role}; shows; couch2pg then continues by itself. {own_index}",
    ),
    _kind(
        "matview_unpopulated",
        rb"materialized view is not populated|has not been populated",
        f"refresh_matviews() failed on a materialized view that was never populated. The process ended. {_TRAP}",
        "In the database {shell_database}, as the view's owner or a superuser: REFRESH MATERIALIZED VIEW {object}; Then start couch2pg "
        "again.",
    ),
    _kind(
        "matview_no_unique_index",
        # A server with messages in another language is recognised by the code. A closed database has the same code, but another routine.
        rb"cannot refresh materialized view .* concurrently|code: '55000'(?![\s\S]*routine: 'CheckMyDatabase')",
        f"refresh_matviews() failed on a materialized view without a unique index. The process ended. {_TRAP}",
        "Create the unique index that the view has on the source: there, psql --no-align --tuples-only --command={indexes} "
        "{shell_database} >indexes.sql; here, psql --file=indexes.sql {shell_database}. The index must not have a WHERE clause. Then start "
        "couch2pg again.",
        XMLFORMS_FAILED,
    ),
    _kind(
        "matview_duplicates",
        rb"contains duplicate rows",
        f"refresh_matviews() failed on a materialized view whose rows are no longer unique. The process ended. {_TRAP}",
        "These commands show which values of its unique index come more than once: psql {shell_database} --command={duplicates} "
        "--no-align --tuples-only | psql {shell_database}. Correct those documents in CouchDB, or the view's query. Then start couch2pg "
        "again.",
        XMLFORMS_FAILED,
    ),
    _kind(
        "matview_other_owner",
        # PostgreSQL 17 and later ask for the right MAINTAIN, which the owner has.
        rb"must be owner of |permission denied for materialized view",
        f"refresh_matviews() failed on a materialized view of another role. The process ended. {_TRAP}",
        "In the database {shell_database}, as a superuser: {grant} Then start couch2pg again.",
        XMLFORMS_FAILED,
    ),
    _kind(
        "no_create_on_public",
        rb"permission denied for schema public",
        "couch2pg's role may not create tables in the schema public, which is the default since PostgreSQL 15. The process ended.",
        "In the database {shell_database}, as its owner or a superuser: GRANT USAGE, CREATE ON SCHEMA public TO {role}; Then start "
        "couch2pg again.",
    ),
    _kind(
        "migration_table_lost",
        rb"relation \"[^\"\n]*\" already exists|code: '42P07'",
        "A table that records couch2pg's migrations is missing or empty, so that couch2pg creates existing tables again. The process "
        "ended.",
        "Copy the content of this migration table: on the source, pg_dump --data-only {table_option} {shell_database} >migrations.sql; on "
        "the target, psql --single-transaction --set=ON_ERROR_STOP=1 --command={truncate} --file=migrations.sql {shell_database}. Then "
        "start couch2pg again.",
        UNRECOVERABLE,
    ),
    _kind(
        "refresh_missing",
        rb"function (?:public\.)?refresh_matviews\(\) does not exist",
        "The database has no function refresh_matviews(), so that no materialized view is refreshed.",
        'Create it as it is on the source: there, psql --no-align --tuples-only --command="SELECT '
        "pg_get_functiondef('public.refresh_matviews()'::regprocedure)\" {shell_database} >refresh.sql; here, psql --single-transaction "
        "--file=refresh.sql --command={own_refresh} {shell_database}. Then start couch2pg again.",
    ),
    _kind(
        "matview_missing",
        rb"code: '42P01'|relation \"[^\"]*\" does not exist",
        f"refresh_matviews() needs a relation that doesn't exist, or that a function names without its schema. {_TRAP}",
        "{names_without_schema}If {object} is missing, create it as it is on the source: there, pg_dump --schema-only {table_option} "
        "{shell_database} >relation.sql; here, psql --file=relation.sql {shell_database} (for a materialized view followed by REFRESH "
        "MATERIALIZED VIEW {object};). Then start couch2pg again.",
        XMLFORMS_FAILED,
    ),
    _kind(
        "table_missing",
        rb"code: '42P01'",
        "A table that couch2pg writes to doesn't exist in its database.",
        "Check that POSTGRESQL_URL names the restored database. If it does, copy the table: on the source, pg_dump {table_option} "
        "{shell_database} >table.sql; on the target, psql --single-transaction --set=ON_ERROR_STOP=1 --file=table.sql {shell_database}. "
        "couch2pg continues with its next run.",
    ),
    _kind(
        "bad_password",
        rb"code: '28P01'|password authentication failed",
        "PostgreSQL refused the password of couch2pg's role. The process ended.",
        "Correct the password in POSTGRESQL_URL or POSTGRES_PASSWORD, percent-encoded as this command prints it: "
        f"{_ENCODED}. Or give the role that password, as a superuser of that server: ALTER ROLE {{role}} PASSWORD 'PASSWORD'; (where "
        "pg_hba.conf says md5 for it, run SET password_encryption = 'md5'; first). Then start couch2pg again.",
    ),
    _kind(
        "no_database",
        rb"\b3D000\b|database \"[^\"\n]*\" does not exist",
        "PostgreSQL has no database with the name in POSTGRESQL_URL or POSTGRES_DB_NAME. The process ended.",
        "psql --list shows the databases of the server. If the name is wrong, correct it in POSTGRESQL_URL or POSTGRES_DB_NAME. If the "
        "restored database is still called {shell_incoming}, promote it (ansible-playbook cht.couch2pg.migrate -i inventory.yml). Then "
        "start couch2pg again.",
    ),
    _kind(
        "no_role",
        rb"role \"[^\"\n]*\" does not exist",
        "PostgreSQL has no role with the name in POSTGRESQL_URL or POSTGRES_USER_NAME. The process ended.",
        "Correct the name; or as a superuser of that server: CREATE ROLE {role} LOGIN PASSWORD 'PASSWORD'; (couch2pg_give_login: true "
        "does that). Then start couch2pg again.",
        UNRECOVERABLE,
    ),
    _kind(
        "no_login",
        rb"role \"[^\"\n]*\" is not permitted to log in",
        "couch2pg's role may not log in to PostgreSQL. The process ended.",
        "As a superuser of that server: ALTER ROLE {role} LOGIN; Then start couch2pg again.",
    ),
    _kind(
        "no_access",
        rb"code: '28000'|no pg_hba\.conf entry|pg_hba\.conf rejects connection",
        "PostgreSQL's pg_hba.conf has no line for couch2pg's role, database and address. The process ended.",
        "Put this line first in pg_hba.conf there (SHOW hba_file; says where it is), and reload it (SELECT pg_reload_conf()), then start "
        "couch2pg again: host {hba_database} {hba_role} {hba_address} md5",
    ),
    _kind(
        "permission_denied",
        rb"code: '42501'|permission denied for ",
        "couch2pg's role lacks a right in PostgreSQL.",
        "In the database {shell_database}, as a superuser: {grant} Then start couch2pg again.",
    ),
    _kind(
        "read_only",
        rb"code: '25006'|in a read-only transaction",
        "PostgreSQL lets couch2pg only read: the server is a standby, or the database or the role is set to read only.",
        "If SELECT pg_is_in_recovery(); says t there, POSTGRESQL_URL must name the primary server. Otherwise, as a superuser in the "
        "database postgres: ALTER ROLE {role} IN DATABASE {database} SET default_transaction_read_only = off; Then start couch2pg again.",
    ),
    _kind(
        "statement_timeout",
        rb"code: '(?:57014|25P04)'|canceling statement due to|due to transaction timeout",
        "PostgreSQL cancelled a statement of couch2pg: it exceeded a timeout, or somebody cancelled it.",
        "As that role or a superuser: ALTER ROLE {role} IN DATABASE {database} SET {timeout} = 0; Then start couch2pg again.",
    ),
    _kind(
        "postgres_full",
        rb"code: '53[12]00'|No space left on device",
        "PostgreSQL ran out of disk space or memory.",
        "Free or add disk space on the PostgreSQL host. Then start couch2pg again, because it also ends when a refresh fails.",
    ),
    _kind(
        "too_many_connections",
        rb"code: '53300'|too many (?:connections|clients)|remaining connection slots",
        "PostgreSQL refused another connection for couch2pg, because a limit is reached.",
        "{connections} Then start couch2pg again.",
    ),
    _kind(
        "database_closed",
        rb"is not currently accepting connections|code: '55000'",
        "The database of couch2pg allows no connections.",
        "As a superuser of that server: ALTER DATABASE {database} ALLOW_CONNECTIONS true; Then start couch2pg again.",
    ),
    _kind(
        "postgres_away",
        rb"ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ECONNRESET|code: '(?:57P0\d|08\w{3})'|[Cc]onnection terminated",
        "PostgreSQL didn't answer, or ended the connection.",
        "On couch2pg's host, pg_isready --host={shell_host} --port={port} shows whether it answers now. If not, start it, and check "
        "listen_addresses (SHOW listen_addresses;), the port and the firewalls in between. Then start couch2pg again.",
    ),
    _kind(
        "out_of_memory",
        rb"heap out of memory|Allocation failed",
        "Node.js ran out of memory. The process ended.",
        "Lower COUCH2PG_DOC_LIMIT and COUCH2PG_CHANGES_LIMIT, or set NODE_OPTIONS=--max-old-space-size=4096 (in MB) in couch2pg's "
        "settings. Then start couch2pg again.",
    ),
    _kind(
        "wrong_node_version",
        # A SyntaxError of JSON is about an answer, such as the HTML page of a proxy.
        rb"SyntaxError: (?![^\n]*JSON)|Cannot find module 'node:|No such built-in module|NODE_MODULE_VERSION"
        rb"|compiled against a different Node\.js version|ERR_OSSL_EVP_UNSUPPORTED",
        "couch2pg, or one of its packages, doesn't run on this version of Node.js. The process ended.",
        "Let the service run the Node.js version of the source (8, 10 or 12; node --version shows it there), and install the packages of "
        "the source with it, in couch2pg's folder: npm ci --production. Then start couch2pg again.",
    ),
    _kind(
        "not_installed",
        rb"Cannot find module",
        "couch2pg's application folder lacks a package. The process ended.",
        "In that folder, with the Node.js version that the service uses (8, 10 or 12): npm ci --production. Then start couch2pg again.",
    ),
    _kind(
        "entrypoint_no_couchdb",
        rb"No couchdb end point Found",
        "The Docker entrypoint tried for some time and got no answer 200 from CouchDB: it is unreachable, refused the credentials, or has "
        "no such database. The container ended.",
        "Run this in the container's network: curl --insecure --head --user {user} {couchdb}/{medic}/ It asks for the password, and "
        "CouchDB must answer 200 (401: the user or the password is wrong, 403: the user may not read this database, 404: the name of the "
        "database is wrong). Correct COUCHDB_URL. {container_again}",
    ),
    _kind(
        "entrypoint_no_postgres",
        rb"No  PostgreSQL DB Found",
        "The Docker entrypoint tried for some time and found no PostgreSQL on port 5432 of POSTGRES_SERVER_NAME. The container ended.",
        "In the container's network, pg_isready --host={shell_host} --port=5432 shows whether it answers; the entrypoint uses no other "
        "port. Correct POSTGRES_SERVER_NAME. {container_again}",
    ),
    _kind(
        "service_gave_up",
        rb"Start request repeated too quickly",
        "systemd no longer restarts couch2pg, because it ended too often.",
        "Correct the error that was logged before this one, then: systemctl reset-failed {unit} && systemctl start {unit}",
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
        "Run it as couch2pg does, and correct what it reports: psql --command={as_couch2pg} --command='SELECT refresh_matviews()' "
        "{shell_database}",
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
    """The object that an error names, such as a relation or role; empty without one. Never a part of a document.

    A name with quotes is as SQL writes it.
    """
    created_again = re.search(rb"relation \"([^\"\n]{1,63})\" already exists", evidence)
    if created_again:
        return _migration_table(created_again.group(1).decode("utf-8", errors="replace"))
    for pattern in _SUBJECTS:
        found = pattern.search(evidence)
        if found:
            return found.group(1).decode("utf-8", errors="replace")
    return ""


# The first match counts. So the message of an error, which names the faulty object, comes before the statement that failed.
_SUBJECTS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        rb"materialized view \"([^\"\n]{1,130})\" has not been populated",
        rb"cannot refresh materialized view \"([^\n]{1,130})\" concurrently",
        rb"relation \"([^\"\n]{1,130})\" does not exist",
        rb"for (schema \w{1,63})",
        rb"permission denied for [a-z ]{1,20} \"?([^\"\n]{1,130}?)\"?$",
        rb"REFRESH MATERIALIZED VIEW (?:CONCURRENTLY )?(?!in a read-only)((?:[\w.]{1,63}|\"[^\"\n]{1,63}\"){1,3})",
        rb"(?:materialized view|relation|constraint|table|function|user|role|database) \"([^\"\n]{1,130})\"",
        rb"(?:materialized view|relation|table) ([\w.]{1,130})$",
        rb"migration \[(\d{1,20})\]",
        rb"^([\w@.:\\-]{1,200}\.service): Start request",
    )
)


def _migration_table(relation: str) -> str:
    """The table that records the migration which creates ``relation``: couch2pg has three sets of migrations."""
    if relation.startswith(("couchdb_users_meta", "useview_")):
        return "users_meta_migrations"
    if relation.startswith(("contactview_", "raw_contacts", "form_", "couchdb_medic_")):
        return "xmlforms_migrations"
    return "couch2pg_migrations"
