# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_restore says is harmless only when it is known to be."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.messages import Listener, sentence

TRANSACTION_TIMEOUT = """\
pg_restore: while INITIALIZING:
pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"
Command was: SET transaction_timeout = 0;
"""
UNQUALIFIED = """\
pg_restore: from TOC entry 3456; 0 16500 INDEX odd couch2pg
pg_restore: error: could not execute query: ERROR:  relation "couchdb" does not exist
LINE 2:   SELECT count(*) FROM couchdb
                               ^
QUERY:  SELECT count(*) FROM couchdb
CONTEXT:  SQL function "unsafe" during startup
Command was: CREATE INDEX odd ON public.t USING btree (public.unsafe(a));


"""


def listen(text: str) -> Listener:
    listener = Listener()
    for line in text.splitlines():
        listener.line(line)
    listener.flush()
    return listener


def test_progress_is_no_message() -> None:
    listener = listen(
        'pg_restore: connecting to database for restore\npg_restore: creating TABLE "public.couchdb"\n'
        'pg_restore: processing data for table "public.couchdb"\npg_restore: warning: errors ignored on restore: 1\n'
    )
    assert listener.found == []


def test_a_setting_of_a_newer_pg_dump_is_harmless() -> None:
    (message,) = listen(TRANSACTION_TIMEOUT).found
    assert (message["kind"], message["harmless"]) == ("newer_setting", True)


def test_a_message_has_its_statement_and_advice() -> None:
    (message,) = listen(TRANSACTION_TIMEOUT + UNQUALIFIED).failures
    assert message["kind"] == "unqualified_name"
    assert message["statement"].startswith("CREATE INDEX odd")
    assert message["message"].startswith('relation "couchdb" does not exist')
    assert "search_path" in message["advice"]


def test_an_extension_of_one_database_of_the_server() -> None:
    """As pg_cron, whose message this is, and the statement of pg_dump 15 and of older ones."""
    for name in ('"pg_cron"', "pg_cron"):
        (message,) = listen(
            "pg_restore: error: could not execute query: ERROR:  can only create extension in database scheduled\n"
            "DETAIL:  Jobs must be scheduled from the database configured in cron.database_name.\n"
            f"Command was: CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA public;\n"
        ).failures
        assert message["kind"] == "extension_elsewhere"
        assert "couch2pg_leave_out: {extensions: [pg_cron]}. After the promotion, write the name" in message["advice"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("could not execute query: ERROR:  could not extend file: No space left on device", "disk_full"),
        ("could not execute query: ERROR:  permission denied for schema public", "permission"),
        (
            'connection to server at "127.0.0.1", port 5432 failed: FATAL:  too many connections for role "cht"',
            "too_many_connections",
        ),
        ("could not execute query: server closed the connection unexpectedly", "connection_lost"),
        ('could not execute query: ERROR:  extension "hstore" is not available', "extension_missing"),
        ('could not open input file "/srv/a/archive/3001.dat": No such file or directory', "archive_unreadable"),
        (
            "could not read from input file: /srv/a/archive/3001.dat.gz: invalid distance too far back",
            "archive_unreadable",
        ),
        (
            "cannot restore from compressed archive (this build does not support compression with zstd)",
            "without_compression",
        ),
        # The server's words, and not the archive.
        ('could not execute query: ERROR:  could not open file "base/5/1259": Permission denied', "unknown"),
        ("a worker process died unexpectedly", "worker_killed"),
        ("could not execute query: ERROR:  something nobody has seen before", "unknown"),
        ('could not execute query: ERROR:  could not access file "$libdir/own": No such file', "library_missing"),
        ('could not execute query: ERROR:  permission denied to create extension "file_fdw"', "extension_rights"),
        ("could not execute query: ERROR:  compression method lz4 not supported", "without_lz4"),
        ("could not execute query: ERROR:  partitioned tables cannot be unlogged", "unlogged_partitioned"),
        ("could not execute query: ERROR:  index row size 2808 exceeds btree version 4 maximum 2704", "index_row_size"),
        ("could not execute query: ERROR:  unsupported XML feature", "without_xml"),
        # No function is to blame, and none could get a search_path.
        ("could not execute query: ERROR:  function pg_start_backup(text) does not exist", "object_missing"),
    ],
)
def test_every_other_message_fails(text: str, kind: str) -> None:
    (message,) = listen(f"pg_restore: error: {text}\n").failures
    assert message["kind"] == kind
    assert message["advice"]


def test_the_same_words_from_another_statement_are_no_excuse() -> None:
    text = TRANSACTION_TIMEOUT.replace("SET transaction_timeout = 0;", "ALTER ROLE a SET transaction_timeout = 0;")
    assert len(listen(text).failures) == 1


def test_an_unknown_warning_fails() -> None:
    assert [message["kind"] for message in listen("pg_restore: warning: what is this\n").failures] == ["unknown"]


def test_a_unique_index_that_cannot_be_built_names_the_key() -> None:
    (message,) = listen(
        "pg_restore: from TOC entry 3456; 1259 16500 INDEX i_id couch2pg\n"
        'pg_restore: error: could not execute query: ERROR:  could not create unique index "i_id"\n'
        "DETAIL:  Key (id)=(1) is duplicated.\nCommand was: CREATE UNIQUE INDEX i_id ON public.i USING btree (id);\n"
    ).failures
    assert message["entry"] == "3456; 1259 16500 INDEX i_id couch2pg"
    text = sentence(message)
    assert 'could not create unique index "i_id" (Key (id)=(1) is duplicated).' in text
    assert "Find them on the source without the index" in text


def test_the_function_that_needs_a_search_path_is_named() -> None:
    (message,) = listen(UNQUALIFIED).failures
    assert message["advice"].startswith("The function unsafe uses a name without its schema")


def advice_for(message: str, statement: str) -> str:
    (found,) = listen(
        f"pg_restore: error: could not execute query: ERROR:  {message}\nCommand was: {statement}\n"
    ).failures
    return found["advice"]


@pytest.mark.parametrize(
    ("message", "statement", "setting"),
    [
        (
            "pg_cron can only be loaded via shared_preload_libraries",
            "CREATE EXTENSION IF NOT EXISTS pg_cron WITH SCHEMA public;",
            "shared_preload_libraries",
        ),
        (
            'security label provider "anon" is not loaded',
            "SECURITY LABEL FOR anon ON COLUMN public.couchdb.doc IS 'x';",
            "session_preload_libraries",
        ),
    ],
)
def test_what_is_loaded_is_shown_before_the_statement_that_replaces_it(
    message: str, statement: str, setting: str
) -> None:
    before, _found, after = advice_for(message, statement).partition(f"ALTER SYSTEM SET {setting} = '")
    assert f"superuser: SHOW {setting};" in before
    # Pasted as it is, the statement for a server that loads others is an error.
    assert f"ALTER SYSTEM SET {setting} = ..., '" in after


def test_labels_are_saved_before_they_are_removed() -> None:
    advice = advice_for('security label provider "anon" is not loaded', "SECURITY LABEL FOR anon ON TABLE t IS 'x';")
    load, _only, remove = advice.partition("Only if nobody needs the labels")
    assert "ALTER SYSTEM" in load
    save, _delete, _rest = remove.partition("DELETE FROM pg_catalog.pg_seclabel WHERE provider = 'anon';")
    assert "FROM pg_seclabels WHERE provider = 'anon'" in save


@pytest.mark.parametrize(("at_fault", "kept"), [("commutator", "NEGATOR"), ("negator", "COMMUTATOR")])
def test_an_operator_keeps_what_is_not_at_fault(at_fault: str, kept: str) -> None:
    advice = advice_for(
        f"operator + is already the {at_fault} of operator -",
        "CREATE OPERATOR public.- (\n    FUNCTION = public.minus,\n    LEFTARG = interval,\n    RIGHTARG = numeric,\n"
        f"    {at_fault.upper()} = OPERATOR(public.+)\n);",
    )
    assert f"without its {at_fault}, with the same {kept}, RESTRICT, JOIN, HASHES and MERGES" in advice
    statement = "CREATE OPERATOR public.- (PROCEDURE = public.minus, LEFTARG = interval, RIGHTARG = numeric);"
    assert advice.endswith(f"DROP OPERATOR public.- (interval, numeric); {statement}")
