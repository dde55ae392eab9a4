# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log of couch2pg tells: the recorded logs of the real one, and every line that its table names."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.byte_lines import LINE_LIMIT, Lines
from ansible_collections.cht.couch2pg.plugins.module_utils.common.redaction import Redactor
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log import lines as kinds
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.errors import KINDS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.reader import LogSummary, summarise

RECORDED = Path(__file__).resolve().parents[3] / "recorded" / "couch2pg"
TIME = "2026-11-23T20:38:48.039Z"


def recorded(*names: str) -> list[bytes]:
    """The lines of recorded logs, one after the other."""
    return [line for name in names for line in (RECORDED / f"{name}.log").read_bytes().splitlines()]


def read(*lines: str | bytes) -> LogSummary:
    return summarise([line.encode() if isinstance(line, str) else line for line in lines], Redactor())


def info(text: str) -> str:
    return f"[{TIME} INFO]:  {text}"


def error(text: str) -> str:
    return f"[{TIME} ERROR]:  {text}"


# The log, errors by kind, starts, exits, runs (started, completed, errored), changes.
LOGS = [
    ("run-first", [], 1, 0, (1, 1, 0), 2041),
    ("run-nothing-new", [], 1, 0, (1, 1, 0), 0),
    ("couchdb-401", ["couchdb_unauthorized"], 1, 1, (1, 0, 0), 0),
    # It answers with an error, which couch2pg survives.
    ("couchdb-500", ["couchdb_error"], 1, 0, (2, 0, 2), 0),
    ("couchdb-away", ["couchdb_away"], 1, 0, (1, 0, 1), 0),
    ("duplicate-key", ["duplicate_key"], 1, 0, (1, 0, 1), 10),
    ("matview-unpopulated", ["matview_unpopulated"], 1, 1, (1, 0, 0), 3),
    ("matview-missing-restarted", [], 1, 0, (1, 1, 0), 0),
    ("migration-checksum", ["migration_checksum"], 1, 1, (0, 0, 0), 0),
    ("no-create-on-public", ["no_create_on_public"], 1, 1, (0, 0, 0), 0),
    ("postgres-bad-password", ["bad_password"], 1, 1, (0, 0, 0), 0),
    ("postgres-scram", ["scram"], 1, 1, (0, 0, 0), 0),
    ("couchdb-401-terse", ["couchdb_unauthorized"], 0, 1, (1, 0, 0), 0),
    ("migration-table-lost", ["migration_table_lost"], 1, 1, (0, 0, 0), 0),
    ("postgres-no-database", ["no_database"], 1, 1, (0, 0, 0), 0),
    # It ends without a word, and is started again: only its settings are logged, each time.
    ("stock-node20-twice", [], 1, 1, (0, 0, 0), 0),
    ("stock-node12", ["wrong_node_version"], 1, 1, (0, 0, 0), 0),
]


def test_no_recorded_log_is_forgotten() -> None:
    assert sorted(path.stem for path in RECORDED.glob("*.log")) == sorted(entry[0] for entry in LOGS)


@pytest.mark.parametrize(("name", "errors", "starts", "exits", "runs", "changes"), LOGS)
def test_recorded_logs(
    name: str, errors: list[str], starts: int, exits: int, runs: tuple[int, int, int], changes: int
) -> None:
    summary = read(*recorded(name))
    assert [seen.kind for seen in summary.errors] == errors
    assert (summary.starts, summary.exits) == (starts, exits)
    assert (summary.runs_started, summary.runs_completed, summary.runs_errored) == runs
    assert summary.changes == changes
    assert (summary.unknown, summary.unknown_samples) == (0, ())
    assert summary.lines == len(recorded(name)) == sum(summary.kinds.values())


PREFIXES = (
    "Nov 23 20:38:48 app.example couch2pg[12]: ",
    "2026-11-23T20:38:48.123+03:00 app couch2pg: ",
    "couch2pg-1  | ",
    "2026-11-23T20:38:48.123456789Z ",
    "Nov 23 20:38:48 app docker[1]: couch2pg_1  | 2026-11-23T20:38:48.123456789Z ",
)


@pytest.mark.parametrize("name", [entry[0] for entry in LOGS])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_changes_nothing(prefix: str, name: str) -> None:
    """Twice, so that a restart without a word shows, too."""
    plain, prefixed = recorded(name, name), [prefix.encode() + line for line in recorded(name, name)]
    expected, found = (dict(read(*lines).as_dict(), last_lines=()) for lines in (plain, prefixed))
    assert found == expected


def test_a_restart_without_a_word_after_an_error() -> None:
    """The settings come while the error before them is still open."""
    options = [f"[{TIME} DEBUG]:  {{", "  debug: true,", "  }"]
    summary = read(error(FORMS), error("error: division by zero"), *options, *options, *options)
    assert summary.exits == 2


@pytest.mark.parametrize("fraction", ["", ".1", ".123456"])
def test_a_time_of_another_length(fraction: str) -> None:
    log = [line.replace(b".039Z", f"{fraction}Z".encode()) for line in recorded("stock-node20-twice")]
    assert read(*log).exits == read(*recorded("stock-node20-twice")).exits == 1


def test_a_good_run_in_detail() -> None:
    summary = read(*recorded("run-first"))
    (run,) = summary.runs
    assert (run.started, run.ended) == ("2026-11-23T20:54:05.923Z", "2026-11-23T20:54:08.819Z")
    assert (run.outcome, run.changes, run.refreshed) == ("completed", 2041, True)
    assert summary.last_completed == run.ended
    assert summary.next_run == "Mon Nov 23 2026 21:54:08 GMT+0000"
    assert summary.last_lines[-1].startswith(f"[{run.ended} INFO]:  Run completed.")
    assert not summary.refresh_in_doubt


@pytest.mark.parametrize(
    ("name", "line", "subjects"),
    [
        ("couchdb-401", "error: 'Name or password is incorrect.'", ()),
        ("matview-unpopulated", "error: CONCURRENTLY cannot be used when", ("contactview_metadata",)),
        ("migration-checksum", "Error: MD5 checksum failed for migration", ("201606200952",)),
        ("postgres-bad-password", "error: password authentication failed", ("cht_couch2pg",)),
        ("duplicate-key", "error: duplicate key value violates", ("couchdb_doc_uuid",)),
        ("no-create-on-public", "error: permission denied for schema", ("schema public",)),
        ("postgres-scram", "Error: Unknown authenticationOk message type", ()),
    ],
)
def test_an_error_shows_its_telling_line_and_what_it_is_about(name: str, line: str, subjects: tuple[str, ...]) -> None:
    (seen,) = read(*recorded(name)).errors
    assert seen.first_line.startswith(line)
    assert seen.subjects == subjects
    assert seen.meaning
    assert seen.remedy


def test_the_worst_trap() -> None:
    """Restarted after a failed refresh, it completes a run without one: the log alone would look healthy."""
    clean = read(*recorded("matview-missing-restarted"))
    assert (clean.errors, clean.runs_completed, clean.refreshes, clean.refresh_in_doubt) == ((), 1, 0, False)
    whole = read(*recorded("matview-unpopulated", "matview-missing-restarted"))
    assert whole.runs[-1].outcome == "completed"
    assert (whole.starts, whole.exits) == (2, 1)
    assert whole.refresh_in_doubt
    assert "skips the refresh" in whole.errors[0].meaning
    assert not read(*recorded("matview-unpopulated", "run-first")).refresh_in_doubt


def fails(announcement: str, first: str, *more: str) -> list[str]:
    return [error(announcement), error(first), "    at Connection.parseE (/app/connection.js:604:11) {", *more, "}"]


def answered(name: str, status: int, reason: str) -> list[str]:
    """CouchDB's answer as Node.js 12 prints it: the status comes before the stack, which is the same for all of them."""
    return [
        error(IMPORT),
        error("{"),
        f"  error: '{name}',",
        f"  reason: '{reason}',",
        f"  status: {status},",
        f"  name: '{name}',",
        f"  message: '{reason}',",
        "  stack: 'Error\\n' +",
        "    '    at Object.generateErrorFromResponse (/app/node_modules/pouchdb-errors/lib/index.js:104:18)\\n' +",
        "    '    at processTicksAndRejections (internal/process/task_queues.js:97:5)'",
        "}",
    ]


IMPORT, FORMS, FATAL = "Couch2PG import failed", "XMLForms support failed", "An unrecoverable error occurred"
ERRORS = [
    ("couchdb_away", fails(IMPORT, "FetchError: request to http://c/medic/ failed, reason: getaddrinfo ENOTFOUND c")),
    ("couchdb_certificate", fails(IMPORT, "FetchError: request to https://c/ failed, reason: self signed certificate")),
    ("couchdb_unauthorized", answered("unauthorized", 401, "Name or password is incorrect.")),
    ("couchdb_forbidden", answered("forbidden", 403, "You are not allowed to access this db.")),
    ("couchdb_no_database", answered("not_found", 404, "Database does not exist.")),
    ("couchdb_error", answered("too_many_requests", 429, "slow down")),
    ("couchdb_error", answered("internal_server_error", 500, "No DB shards could be opened.")),
    (
        "couchdb_error",
        fails(IMPORT, "FetchError: invalid json response body at http://c/medic/ reason: Unexpected token <"),
    ),
    ("read_only", fails(IMPORT, "error: cannot execute INSERT in a read-only transaction", "  code: '25006',")),
    ("statement_timeout", fails(FORMS, "error: canceling statement due to statement timeout", "  code: '57014',")),
    (
        "database_closed",
        fails(
            FORMS,
            'error: database "cht" is not currently accepting connections',
            "  code: '55000',",
            "  routine: 'CheckMyDatabase'",
        ),
    ),
    ("duplicate_key", fails(IMPORT, 'error: duplicate key value violates unique constraint "couchdb_doc_uuid"')),
    ("table_missing", fails(IMPORT, 'error: relation "couchdb" does not exist', "  code: '42P01',")),
    ("postgres_away", fails(IMPORT, "error: terminating connection due to administrator command", "  code: '57P01',")),
    ("postgres_full", fails(IMPORT, "error: could not extend file: No space left on device", "  code: '53100',")),
    ("import_failed", fails(IMPORT, "TypeError: Cannot read property 'x' of undefined")),
    ("import_failed", fails(IMPORT, "SyntaxError: Unexpected token < in JSON at position 0")),
    (
        "matview_unpopulated",
        fails(FORMS, "error: CONCURRENTLY cannot be used when the materialized view is not populated"),
    ),
    ("matview_unpopulated", fails(FORMS, 'error: materialized view "a" has not been populated', "  code: '55000',")),
    (
        "matview_no_unique_index",
        fails(FORMS, 'error: cannot refresh materialized view "public.a" concurrently', "  code: '55000',"),
    ),
    ("matview_missing", fails(FORMS, 'error: relation "useview_a" does not exist', "  code: '42P01',")),
    ("matview_other_owner", fails(FORMS, "error: must be owner of materialized view a", "  code: '42501',")),
    (
        "matview_duplicates",
        fails(FORMS, 'error: new data for materialized view "a" contains duplicate rows without any'),
    ),
    ("permission_denied", fails(FORMS, "error: permission denied for table couchdb", "  code: '42501',")),
    ("xmlforms_failed", fails(FORMS, "error: division by zero", "  code: '22012',")),
    ("gave_up", [*fails(FATAL, "Error: Too many consecutive errors"), error("exiting")]),
    ("postgres_away", [*fails(FATAL, "Error: connect ECONNREFUSED 127.0.0.1:5432"), error("exiting")]),
    ("bad_password", [*fails(FATAL, 'error: password authentication failed for user "c"'), error("exiting")]),
    ("no_database", [*fails(FATAL, 'error: database "cht" does not exist', "  code: '3D000',"), error("exiting")]),
    (
        "no_database",
        [*fails(FATAL, "error: la base de donn\u00e9es n'existe pas", "  code: '3D000',"), error("exiting")],
    ),
    ("no_database", [*fails(FATAL, 'error: database "cht" does not exist'), error("exiting")]),
    ("migration_table_lost", [*fails(FATAL, 'error: relation "couchdb" already exists'), error("exiting")]),
    ("refresh_missing", fails(FORMS, "error: function refresh_matviews() does not exist", "  code: '42883',")),
    (
        "couchdb_unauthorized",
        [error(FATAL), error("Error"), "    at Object.generateErrorFromResponse (/app/pouchdb-errors/index.js:104:18)"],
    ),
    (
        "wrong_node_version",
        [error(FATAL), error("/app/pg/lib/client.js:390"), "    x?.y", "", "SyntaxError: Unexpected token '.'"],
    ),
    ("wrong_node_version", ["/app/index.js:1", "  x?.y", "  ^", "", "SyntaxError: Unexpected token '?'"]),
    ("wrong_node_version", fails(FATAL, "Error: Cannot find module 'node:fs'")),
    ("no_access", [*fails(FATAL, "error: pg_hba.conf rejects connection for host"), error("exiting")]),
    ("no_role", [*fails(FATAL, 'error: role "c" does not exist', "  code: '28000',"), error("exiting")]),
    ("no_login", [*fails(FATAL, 'error: role "c" is not permitted to log in', "  code: '28000',"), error("exiting")]),
    ("too_many_connections", [*fails(FATAL, 'error: too many connections for role "c"'), error("exiting")]),
    ("too_many_connections", [*fails(FATAL, "error: d\u00e9sol\u00e9", "  code: '53300',"), error("exiting")]),
    ("couchdb_no_database", answered("unauthorized", 401, "You are not a server admin.")),
    ("matview_other_owner", fails(FORMS, "error: permission denied for materialized view a", "  code: '42501',")),
    ("no_access", [*fails(FATAL, 'error: no pg_hba.conf entry for host "10.0.0.1", user "c"'), error("exiting")]),
    ("no_create_on_public", [*fails(FATAL, "error: permission denied for schema public"), error("exiting")]),
    ("migration_checksum", [*fails(FATAL, "Error: MD5 checksum failed for migration [20]"), error("exiting")]),
    ("unrecoverable", [*fails(FATAL, "TypeError: Assignment to constant variable."), error("exiting")]),
    (
        "scram",
        ["/app/pg/lib/connection.js:426", "  throw", "", "Error: Unknown authenticationOk message typeMessage {"],
    ),
    ("not_installed", ["internal/modules/cjs/loader:818", "  throw err;", "  ^", "", "Error: Cannot find module 'pg'"]),
    ("out_of_memory", ["FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"]),
    ("entrypoint_no_couchdb", ["Waiting for cht couchdb", "No couchdb end point Found"]),
    ("entrypoint_no_postgres", ["Waiting for PostgreSQL...", "No  PostgreSQL DB Found"]),
    ("service_gave_up", ["couch2pg.service: Start request repeated too quickly."]),
    ("error", [error("something else")]),
]


@pytest.mark.parametrize(("kind", "lines"), ERRORS)
def test_every_error_is_known_by_its_lines(kind: str, lines: list[str]) -> None:
    summary = read(*lines)
    assert [(seen.kind, seen.count) for seen in summary.errors] == [(kind, 1)]
    assert summary.unknown == 0


@pytest.mark.parametrize(("status", "exits"), [(401, 1), (403, 0), (404, 0), (429, 0), (500, 0)])
def test_only_refused_credentials_end_the_process(status: int, exits: int) -> None:
    """After every other answer of CouchDB it refreshes the views and tries again: that is no restart."""
    banner, run = info("Adapter is running in NORMAL mode"), info("Beginning couch2pg and xmlforms run at now")
    summary = read(banner, run, *answered("name", status, "reason"))
    assert (summary.starts, summary.exits) == (1, exits)
    if status != 401:
        summary = read(banner, *2 * [run, *answered("name", status, "reason"), info("Run errored. Next run at now")])
        assert (summary.starts, summary.exits, summary.runs_errored) == (1, 0, 2)


def test_a_read_only_refresh_names_no_view() -> None:
    (seen,) = read(*fails(FORMS, "error: cannot execute REFRESH MATERIALIZED VIEW in a read-only transaction")).errors
    assert (seen.kind, seen.subjects) == ("read_only", ())


def test_no_kind_of_error_is_without_a_test() -> None:
    assert {kind.name for kind in KINDS} == {kind for kind, _lines in ERRORS}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (info("Beginning couch2pg and xmlforms run at Mon Nov 23 2026"), kinds.RUN_STARTED),
        (info("There are 1497 changes to process"), kinds.CHANGES),
        (info("Refreshing materialised views"), kinds.REFRESH),
        (info("Run completed. Next run at Mon Nov 23 2026"), kinds.RUN_COMPLETED),
        (info("Run errored. Next run at Mon Nov 23 2026"), kinds.RUN_ERRORED),
        (info("Adapter is running in NORMAL mode"), kinds.ADAPTER),
        (info("of another version"), kinds.INFO),
        (error("exiting"), kinds.EXITING),
        (f"[{TIME} DEBUG]:  There are 0 deletions and 4 new / changed documents", kinds.DEBUG),
        (f"[{TIME} WARN]:  slow", kinds.WARNING),
        ("[8:54:05 PM] migrating up to 201803202020", kinds.MIGRATION),
        ("Package pg version 8.x.x not tested", kinds.DRIVER_NOTICE),
        ("Starting couch2pg process", kinds.BANNER),
        ("Set postgres URL to postgres://c:p@db:5432/cht", kinds.ENTRYPOINT),
        ("START Checking for cht couchdb at https://medic:p@c/medic", kinds.ENTRYPOINT),
        ("curl: (7) Failed to connect to c port 443: Connection refused", kinds.ENTRYPOINT_WAITS),
        ("Launching couch2pg", kinds.ENTRYPOINT),
        ("    at Socket.emit (events.js:314:20)", kinds.CONTINUATION),
        ("}", kinds.CONTINUATION),
        ("", kinds.CONTINUATION),
        ("Node.js v20.11.0", kinds.CONTINUATION),
        ("(node:12) [DEP0005] DeprecationWarning: Buffer() is deprecated", kinds.WARNING),
        ("(node:12) UnhandledPromiseRejectionWarning: Error: x", kinds.THROWN),
        ("TypeError [ERR_INVALID_URL]: Invalid URL: http://", kinds.THROWN),
        ("Started couch2pg.service - couch2pg.", kinds.SERVICE_STARTED),
        ("couch2pg.service: Main process exited, code=exited, status=1/FAILURE", kinds.SERVICE_ENDED),
        ("couch2pg.service: Scheduled restart job, restart counter is at 5.", kinds.SERVICE_RESTARTS),
        ("couch2pg.service: Failed with result 'exit-code'.", kinds.SERVICE),
        ("couch2pg_1  | " + info("Refreshing materialised views"), kinds.REFRESH),
        ("Nov 23 20:38:48 app couch2pg[12]: " + info("Refreshing materialised views"), kinds.REFRESH),
        ("2026-11-23T20:38:48.1+03:00 app couch2pg[12]: " + info("Refreshing materialised views"), kinds.REFRESH),
        ("something that nobody knows", kinds.UNKNOWN),
        ("There are 5 changes to process", kinds.UNKNOWN),
    ],
)
def test_lines(line: str, kind: str) -> None:
    assert kinds.classify(kinds.without_prefix(line.encode())).kind == kind


def test_a_restart_loop_shows() -> None:
    loop = read(*recorded(*["postgres-bad-password"] * 7))
    assert (loop.starts, loop.exits, loop.errors[0].count) == (7, 7, 7)
    crashes = read(*recorded(*["postgres-scram"] * 4))
    assert (crashes.starts, crashes.exits, crashes.errors[0].count) == (4, 4, 4)
    refused = read(*recorded(*["couchdb-401"] * 3))
    assert (refused.starts, refused.exits) == (3, 3)


def test_a_process_that_was_killed_shows_by_the_next_start() -> None:
    summary = read(*recorded("run-nothing-new")[:-5], *recorded("run-nothing-new"))
    assert (summary.starts, summary.exits) == (2, 1)
    assert [run.outcome for run in summary.runs] == ["unfinished", "completed"]


def test_systemd_and_couch2pg_count_the_same_end_once() -> None:
    died = [*recorded("matview-unpopulated"), b"couch2pg.service: Main process exited, code=exited, status=1/FAILURE"]
    again = [
        b"couch2pg.service: Scheduled restart job, restart counter is at 3.",
        b"Started couch2pg.service - couch2pg.",
    ]
    summary = read("Started couch2pg.service - couch2pg.", *died, *again, *recorded("matview-missing-restarted"))
    assert (summary.starts, summary.exits, summary.restart_counter) == (2, 1, 3)


def test_a_log_from_the_middle_of_a_run() -> None:
    lines = recorded("run-first")
    middle = next(place for place, line in enumerate(lines) if b"There are 400 changes" in line)
    summary = read(*lines[middle:])
    assert (summary.starts, summary.exits, summary.runs_started, summary.runs_completed) == (0, 0, 0, 1)
    assert (summary.changes, summary.runs[0].changes, summary.runs[0].started) == (544, 544, "")


def test_only_the_last_runs_are_kept() -> None:
    run = [info("Beginning couch2pg and xmlforms run"), info("There are 3 changes to process"), info("Run completed.")]
    summary = read(*run * 500)
    assert (summary.runs_completed, summary.changes, len(summary.runs)) == (500, 1500, 20)


@pytest.mark.parametrize(
    ("relation", "table"),
    [
        ("couchdb_progress", "couch2pg_migrations"),
        ("contactview_metadata", "xmlforms_migrations"),
        ("couchdb_users_meta", "users_meta_migrations"),
    ],
)
def test_the_lost_migration_table_is_named(relation: str, table: str) -> None:
    summary = read(*fails(FATAL, f'error: relation "{relation}" already exists', "  code: '42P07',"))
    assert summary.errors[0].subjects == (table,)


@pytest.mark.parametrize(
    "line",
    [
        "Error: getaddrinfo ENOTFOUND pl4nted secret",
        "FetchError: request to http://c/ failed, reason: getaddrinfo EAI_AGAIN pl4nted",
        "curl: (6) Could not resolve host: pl4nted secret",
        'psql: error: could not translate host name "pl4nted secret" to address',
        "Error: connect medic:pl4nted with a secret@couch.example.org failed",
        "Error: password=pl4nted with a secret",
    ],
)
def test_a_planted_password_is_masked_without_knowing_it(line: str) -> None:
    summary = read(error(IMPORT), error(line), line)
    assert "pl4nted" not in str(summary.as_dict())
    assert " secret" not in str(summary.as_dict()["last_lines"])


def test_what_is_shown_is_redacted() -> None:
    secret = "s3cr@t / with:all%"
    lines = [
        "Starting couch2pg process",
        f"Set postgres URL to postgres://couch2pg:{secret}@db:5432/cht",
        f"START Checking for cht couchdb at https://medic:{secret}@c/medic",
        'unknown {"name": "Amina Okello", "phone": "+256772123456"}',
        *fails(IMPORT, 'error: invalid input syntax for type date: "Amina Okello"', '  name: "Amina Okello",'),
    ]
    summary = read(*lines)
    assert summary.unknown_samples == ("unknown {... 2 fields}",)
    assert summary.errors[0].first_line == 'error: invalid input syntax for type date: "..."'
    shown = str(summary.as_dict())
    for word in ("s3cr", "with:all", "Amina", "Okello", "2567"):
        assert word not in shown


def test_any_bytes_are_read() -> None:
    lines = [
        b"\x00\xff" * 9,
        b"[" * 70000,
        b"\r",
        info("There are 7 changes to process").encode() + b"\r",
        b"{" * 70000,
    ]
    summary = read(*lines)
    assert (summary.lines, summary.changes) == (5, 7)


def test_lines_out_of_chunks() -> None:
    whole = b"".join(line + b"\n" for line in recorded("run-first"))
    for size in (1, 7, 64, 100_000):
        chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert list(Lines(chunks)) == recorded("run-first")


def test_an_unfinished_line_is_left_for_later() -> None:
    lines = Lines([b"one\ntw", b"o", b""])
    assert (list(lines), lines.unfinished) == ([b"one"], 3)
    assert list(Lines([b"one\ntw", b"o"], unfinished_too=True)) == [b"one", b"two"]
    assert list(Lines([b"one\n", b"\n"], unfinished_too=True)) == [b"one", b""]
    assert list(Lines([])) == []


def test_of_an_endless_line_only_the_beginning_is_kept() -> None:
    (line, after) = Lines([b"x" * 100_000] * 20 + [b"\nafter\n"])
    assert (line, after) == (b"x" * LINE_LIMIT, b"after")
