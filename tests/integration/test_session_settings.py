# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role or a database sets changes nothing in our sessions and programs, on either side."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import login_settings, role_plan, session_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.database import find_database, roles
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.identifiers import quote
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import SHORT_LOCK_SECONDS, Session
from ansible_collections.cht.couch2pg.plugins.module_utils.restore import target_database
from support import by_phases, seed
from support.clusters import Cluster
from support.migration import column, execute
from support.phases import Phases
from support.preflight import finding, look

# A superuser of the tests' own, on both sides: other tests log in as postgres at the same time.
ROLE = "odd_settings"
COUCH2PG = """
CREATE TABLE couchdb (doc jsonb);
INSERT INTO couchdb SELECT jsonb_build_object('_id', n) FROM generate_series(1, 20) AS n;
CREATE TABLE couchdb_progress (seq varchar, source varchar);
"""
# Whatever a role can set that would change text, refuse a statement, end a session, or make it slow.
ODD = {
    "client_encoding": "LATIN1",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "3s",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "3s",
    "idle_session_timeout": "3s",
    "transaction_timeout": "4s",
    "row_security": "on",
    "search_path": "nowhere",
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "xmlbinary": "hex",
    "xmloption": "document",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "session_replication_role": "replica",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
    "client_min_messages": "error",
    "exit_on_error": "on",
    "synchronous_commit": "off",
    "jit": "on",
    "enable_tidscan": "off",
    "role": "couch2pg",
}
OLDER_THAN = {"jit": 11, "transaction_timeout": 17, "idle_session_timeout": 14, "restrict_nonsystem_relation_kind": 12}
VALUES = """
CREATE TABLE "таблица" (v text, at timestamptz, day date, took interval, float8 float8, bytes bytea, many text[]);
INSERT INTO "таблица" VALUES ('žluťoučký \\ кůň', '2026-02-03 04:05:06.789+02', '2026-02-03', '-1 day +02:03', 0.1 + 0.2,
    '\\x00ff5c', ARRAY['NULL', NULL]);
CREATE VIEW nulls AS SELECT v IS NULL AS missing FROM "таблица";
"""
# Settings that neither change what is read or written nor end a session.
HARMLESS = (
    "Customized Options",
    "Query Tuning",
    "Reporting and Logging",
    "Resource Usage",
    "Statistics",
    "Write-Ahead Log",
    "Lock Management",
    "Vacuuming",
    "Autovacuum",
    "Developer Options",
    "Error Handling",
    "Replication",
)
KNOWN = {
    # Set by our own connection, or for one transaction only.
    "client_encoding",
    "client_connection_check_interval",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    # Where the server finds files; for what it does with queries of the operator's own.
    "dynamic_library_path",
    "extension_control_path",
    "local_preload_libraries",
    "session_preload_libraries",
    "gin_fuzzy_search_limit",
    "gin_pending_list_limit",
    "createrole_self_grant",
    "default_text_search_config",
    "lc_numeric",
    "lc_time",
    "timezone_abbreviations",
    "password_encryption",
    "scram_iterations",
    # pg_restore switches it off; nothing else creates functions.
    "check_function_bodies",
    "escape_string_warning",
    "lo_compat_privileges",
    "default_toast_compression",
    "temp_tablespaces",
    "md5_password_warnings",
    "synchronize_seqscans",
}


@pytest.fixture
def odd_role(source_cluster: Cluster, target_cluster: Cluster) -> Iterator[str]:
    """A superuser whose every session would go wrong."""
    for cluster in (source_cluster, target_cluster):
        seed.create_role(cluster, "couch2pg")
        seed.create_role(cluster, ROLE)
        execute(cluster, f"ALTER ROLE {ROLE} SUPERUSER")
        for name, value in ODD.items():
            if cluster.binaries.major >= OLDER_THAN.get(name, 0):
                execute(cluster, f"ALTER ROLE {ROLE} SET {name} = {value if name == 'search_path' else repr(value)}")
    yield ROLE
    for cluster in (source_cluster, target_cluster):
        execute(cluster, f"DROP ROLE {ROLE}")


@pytest.fixture
def phases(
    source_cluster: Cluster, target_cluster: Cluster, client_dir: Path, database_name: str, tmp_path: Path
) -> Iterator[Phases]:
    """A small couch2pg database on the source, nothing on the target."""
    for cluster in (source_cluster, target_cluster):
        seed.create_role(cluster, seed.OWNER)
    seed.create_database(source_cluster, database_name)
    execute(source_cluster, f"SET ROLE couch2pg; {COUCH2PG}", database_name)
    made = Phases(source_cluster, target_cluster, database_name, client_dir, tmp_path)
    yield made
    for cluster in (source_cluster, target_cluster):
        for name in column(cluster, f"SELECT datname FROM pg_database WHERE datname LIKE '{database_name}%'"):
            seed.drop_database(cluster, name)


def settings_of(cluster: Cluster, database: str, user: str = "postgres") -> ConnectionSettings:
    return ConnectionSettings(database, cluster.host, cluster.port, user, cluster.password_of(user))


def test_a_role_with_odd_settings(phases: Phases, odd_role: str) -> None:
    """Cases latin1-role and frozen-source: the database is frozen, too."""
    execute(phases.source, VALUES, phases.database)
    execute(phases.source, f"ALTER DATABASE {phases.database} SET default_transaction_read_only = on")
    phases.user = odd_role
    assert not phases.dump().get("failed")
    assert not phases.restore().get("failed")
    # The same phases again, after it was reset on the source.
    execute(phases.source, f"ALTER DATABASE {phases.database} RESET default_transaction_read_only")
    phases.all()
    query = 'SELECT v || took || many::text FROM "таблица"'
    assert column(phases.target, query, phases.database) == column(phases.source, query, phases.database)
    assert column(phases.target, "SHOW default_transaction_read_only", phases.database) == ["on"]


def test_what_would_disturb_the_restore_comes_with_the_promotion(
    source_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path, database_name: str
) -> None:
    """A frozen source, one that lets nobody in, one whose writes are not counted; restored by a role that is no superuser."""
    for cluster in (source_cluster, target_cluster):
        seed.create_role(cluster, seed.OWNER)
    seed.create_database(source_cluster, database_name)
    execute(source_cluster, f"SET ROLE couch2pg; {COUCH2PG}", database_name)
    frozen = (
        f"ALTER DATABASE {database_name} SET default_transaction_read_only = on",
        f"ALTER DATABASE {database_name} SET track_counts = off",
        f"ALTER ROLE couch2pg IN DATABASE {database_name} SET default_transaction_read_only = true",
        f"ALTER DATABASE {database_name} CONNECTION LIMIT 0",
    )
    for statement in frozen:
        execute(source_cluster, statement)
    password = seed.create_role(target_cluster, "guest")
    # A managed service has no superuser; only one may set track_counts for a database, so preflight reports it, restore leaves it out.
    execute(target_cluster, "ALTER ROLE guest CREATEDB CREATEROLE; GRANT couch2pg TO guest WITH ADMIN OPTION")
    guest = {"login_user": "guest", "login_password": password}
    phases = by_phases.Phases(source_cluster, target_cluster, client_dir, tmp_path, database_name)
    phases.options = dict.fromkeys(("restore", "refresh", "verify", "promote"), guest)
    try:
        restored = phases.run("dump", "transfer", "restore", jobs=3)
        assert restored["settings_left_out"] == ["track_counts=off"]
        phases.run("refresh", "verify", "promote")
        assert find(target_cluster, database_name) == find(source_cluster, database_name, without="track_counts=off")
        place = {
            "migration_id": "m",
            "state_dir": str(tmp_path),
            "staging_dir": str(tmp_path),
            "bin_dir": str(client_dir),
        }
        warned = finding(look(place, source_cluster, database_name), "read-only")
        assert warned["status"] == "warning"
        for statement in warned["message"].split("run on the target: ")[1].split("; "):
            execute(target_cluster, statement)
        connection = target_cluster.connect(database_name, seed.OWNER)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO couchdb VALUES (NULL)")
        connection.close()
    finally:
        for cluster in (source_cluster, target_cluster):
            for name in (database_name, phases.incoming):
                seed.drop_database(cluster, name)
        execute(target_cluster, "DROP OWNED BY guest; DROP ROLE guest")


def find(cluster: Cluster, database: str, without: str = "") -> tuple[list[str], Any, int]:
    """Settings, those of roles, and connection limit of a database."""
    with Session(settings_of(cluster, "postgres")) as session:
        found = find_database(session, database)
    assert found is not None
    kept = [text for text in found["settings"] or [] if text != without]
    return kept, found["role_settings"], found["connection_limit"]


@pytest.mark.long
def test_writes_that_are_not_counted(phases: Phases) -> None:
    """By the settings of the source's database until the promotion; those of the target's server are the operator's to change."""
    execute(phases.source, f"ALTER DATABASE {phases.database} SET track_counts = off")
    for result in (phases.dump(), phases.restore(), phases.refresh(), phases.verify()):
        assert not result.get("failed"), result
    execute(phases.target, "ALTER SYSTEM SET track_counts = off")
    execute(phases.target, "SELECT pg_reload_conf()")
    execute(phases.target, "ALTER ROLE couch2pg SET track_counts = off")
    try:
        for _statements in range(2):
            message = phases.promote()["msg"]
            assert "track_counts is off" in message
            for statement in message.split("run: ")[1].split("; then")[0].split("; "):
                execute(phases.target, statement)
        phases.verify()
        assert not phases.promote().get("failed")
    finally:
        execute(phases.target, "ALTER SYSTEM RESET track_counts")
        execute(phases.target, "SELECT pg_reload_conf()")
    assert column(phases.target, "SHOW track_counts", phases.database) == ["off"]


def test_a_library_that_the_target_lacks(phases: Phases) -> None:
    """With it, no session could be opened in the restored database."""
    with Session(settings_of(phases.source, "postgres")) as session:
        source = find_database(session, phases.database)
    assert source is not None
    settings = ["local_preload_libraries=nosuch, other", "work_mem=5MB"]
    source.update(settings=settings, role_settings={"couch2pg": ["session_preload_libraries=nosuch"]})
    with Session(settings_of(phases.target, "postgres")) as session:
        left_out = target_database.create(session, phases.incoming, source).left_out
        assert set(target_database.refused_settings(session, settings)) == {settings[0]}
    assert left_out == [settings[0], "session_preload_libraries=nosuch"]
    assert column(phases.target, "SHOW work_mem", phases.incoming) == ["5MB"]


@pytest.mark.parametrize("majors", ["source", "target"])
def test_pinned(phases: Phases, odd_role: str, majors: str) -> None:
    cluster = phases.source if majors == "source" else phases.target
    with Session(settings_of(cluster, "postgres", odd_role)) as session:
        found = {name: session.value("SELECT pg_catalog.current_setting(%s)", [name]) for name in session.pinned}
        assert session.value("SELECT current_user::text") == odd_role
        assert session.value("SHOW client_encoding") == "UTF8"
    ours = {**session_settings.PINNED, "role": "none", "lock_timeout": f"{SHORT_LOCK_SECONDS}s"}
    expected = {name: value for name, value in ours.items() if name in found}
    assert found == expected
    assert (found["jit"], found["enable_tidscan"]) == ("off", "on")
    assert {*ODD} - {"client_encoding"} - found.keys() <= {
        name for name, since in OLDER_THAN.items() if cluster.binaries.major < since
    }


def test_a_role_without_rights_pins_what_it_may(source_cluster: Cluster) -> None:
    seed.create_role(source_cluster, seed.OWNER)
    with Session(settings_of(source_cluster, "postgres", seed.OWNER)) as session:
        assert session.pinned["statement_timeout"] == "0"
        assert "lc_messages" not in session.pinned


def test_every_setting_that_a_role_can_have_is_known(target_cluster: Cluster) -> None:
    """A new release of PostgreSQL brings new ones: each must be pinned, or be known as harmless."""
    rows = """
        SELECT name, category FROM pg_settings
        WHERE context IN ('user', 'superuser', 'backend', 'superuser-backend') AND category NOT LIKE 'Preset%'"""
    with Session(settings_of(target_cluster, "postgres")) as session:
        unknown = [
            row
            for row in session.rows(rows)
            if row["name"] not in {*session_settings.PINNED, *KNOWN} and not row["category"].startswith(HARMLESS)
        ]
    assert not unknown


@pytest.fixture
def clerk(source_cluster: Cluster, target_cluster: Cluster) -> str:
    for cluster in (source_cluster, target_cluster):
        seed.create_role(cluster, "clerk")
    return "clerk"


def test_the_settings_of_a_login(phases: Phases, clerk: str) -> None:
    """In PostgreSQL's own precedence, and without those of the role that asks."""
    database = phases.database
    for statement in (
        f"ALTER DATABASE {database} SET work_mem = '11MB'",
        f"ALTER DATABASE {database} SET TimeZone = 'Africa/Nairobi'",
        f"ALTER ROLE {clerk} SET work_mem = '12MB'",
        f"ALTER ROLE {clerk} SET statement_timeout = '13min'",
        f"ALTER ROLE {clerk} IN DATABASE {database} SET work_mem = '14MB'",
        f"ALTER ROLE postgres IN DATABASE {database} SET DateStyle = 'German'",
        f"ALTER ROLE postgres IN DATABASE {database} SET search_path = elsewhere",
        f'ALTER ROLE {clerk} SET search_path = "Odd, Name", public',
    ):
        execute(phases.source, statement)
    names = ["work_mem", "TimeZone", "statement_timeout", "DateStyle", "search_path", "maintenance_work_mem"]
    query = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
    connection = phases.source.connect(database, clerk)
    with connection.cursor() as cursor:
        cursor.execute(query.replace("current_setting", "pg_catalog.current_setting"))
        theirs: Any = cursor.fetchone()
    connection.close()
    with Session(settings_of(phases.source, database)) as session:
        login_settings.assume(session, clerk)
        ours = session.row("SELECT " + ", ".join(f"current_setting('{name}') AS \"{name}\"" for name in names))
    execute(phases.source, f"ALTER ROLE {clerk} RESET ALL")
    assert list(ours.values()) == list(theirs)
    assert ours["work_mem"] == "14MB"


def test_the_statements_that_complete_a_role_work(source_cluster: Cluster, target_cluster: Cluster) -> None:
    """A number with a unit, a list of names, a list that is one value, an empty value; what it is granted."""
    name = 'o"dd clerk'
    seed.create_role(source_cluster, name)
    seed.create_role(target_cluster, name)
    quoted = quote(name)
    for setting in (
        "work_mem = '12MB'",
        """search_path = "Odd, ""Name", '', "$user", public""",
        "DateStyle = 'SQL, DMY'",
        "application_name = 'it''s'",
        "temp_tablespaces = ''",
    ):
        execute(source_cluster, f"ALTER ROLE {quoted} SET {setting}")
    execute(source_cluster, f"ALTER ROLE {quoted} CONNECTION LIMIT 4 CREATEDB VALID UNTIL '2031-02-03 04:05+03'")
    for cluster in (source_cluster, target_cluster):
        seed.create_role(cluster, seed.OWNER)
    execute(source_cluster, f"GRANT {seed.OWNER} TO {quoted} WITH INHERIT FALSE, SET FALSE, ADMIN TRUE")
    execute(target_cluster, f"ALTER ROLE {quoted} NOLOGIN")
    execute(source_cluster, f"GRANT SET ON PARAMETER log_statement TO {quoted}")
    execute(source_cluster, f"GRANT SET, ALTER SYSTEM ON PARAMETER deadlock_timeout TO {quoted} WITH GRANT OPTION")
    try:
        with Session(settings_of(source_cluster, "postgres")) as source:
            wanted = roles(source, {name})
        with Session(settings_of(target_cluster, "postgres")) as target:
            for statement in role_plan.lacking(target, wanted, role_plan.RolePlan()):
                target.execute(statement)
            assert roles(target, {name}) == wanted
    finally:
        for cluster in (source_cluster, target_cluster):
            execute(cluster, f"DROP OWNED BY {quoted}")
            execute(cluster, f"DROP ROLE {quoted}")


EVENT_TRIGGERS = """
CREATE TABLE ddl_log (at timestamptz DEFAULT now(), tag text);
CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN INSERT INTO public.ddl_log (tag) VALUES (tg_tag); END $$;
CREATE EVENT TRIGGER ddl ON ddl_command_end EXECUTE FUNCTION log_ddl();
CREATE FUNCTION forbid_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no drop'; END $$;
CREATE EVENT TRIGGER no_drop ON sql_drop EXECUTE FUNCTION forbid_drop();
CREATE MATERIALIZED VIEW tags AS SELECT doc ->> 'tag' AS tag FROM couchdb;
CREATE UNIQUE INDEX ON tags (tag);
CREATE FUNCTION refresh_matviews() RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN REFRESH MATERIALIZED VIEW CONCURRENTLY public.tags; END $$;
ALTER FUNCTION refresh_matviews() OWNER TO couch2pg; ALTER MATERIALIZED VIEW tags OWNER TO couch2pg;
TRUNCATE ddl_log; INSERT INTO ddl_log (tag) VALUES ('of the source');
CREATE EVENT TRIGGER no_change ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION forbid_drop();
CREATE EVENT TRIGGER no_owners ON ddl_command_start
    WHEN TAG IN ('ALTER FUNCTION', 'ALTER MATERIALIZED VIEW', 'ALTER DEFAULT PRIVILEGES', 'GRANT', 'REVOKE', 'DROP OWNED')
    EXECUTE FUNCTION forbid_drop();
ALTER EVENT TRIGGER no_owners ENABLE ALWAYS; ALTER EVENT TRIGGER ddl ENABLE ALWAYS;
"""


@pytest.mark.parametrize("target", ["target_cluster", "source_cluster"])
def test_event_triggers(phases: Phases, request: pytest.FixtureRequest, clerk: str, target: str) -> None:
    """Case event-triggers: none of our statements fires those of the source. An older server has no setting for that."""
    execute(phases.source, EVENT_TRIGGERS, phases.database)
    phases.target = request.getfixturevalue(target)
    for result in (
        phases.dump(),
        # On one server, the incoming database stands beside the source.
        phases.restore(role_map={"couch2pg": clerk}, replace_existing=phases.target is phases.source),
        phases.refresh(),
        phases.verify(recount=True),
    ):
        assert not result.get("failed"), result
    assert column(phases.target, "SELECT tag FROM ddl_log", phases.incoming) == ["of the source"]
    execute(phases.target, "CREATE TABLE later ()", phases.incoming)
    assert column(phases.target, "SELECT tag FROM ddl_log", phases.incoming) == ["of the source", "CREATE TABLE"]


LOGIN_TRIGGERS = """
CREATE TABLE logins (at timestamptz DEFAULT now());
CREATE FUNCTION log_login() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.logins DEFAULT VALUES; END $$;
CREATE EVENT TRIGGER logged ON login EXECUTE FUNCTION log_login();
CREATE FUNCTION refuse_login() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed'; END $$;
CREATE EVENT TRIGGER refused ON login EXECUTE FUNCTION refuse_login();
"""


def test_event_triggers_on_login(target_cluster: Cluster, client_dir: Path, tmp_path: Path, database_name: str) -> None:
    """From 17 on. They neither stop our sessions nor write rows, on the source and on the target (here the same server)."""
    seed.create_role(target_cluster, seed.OWNER)
    seed.create_database(target_cluster, database_name)
    execute(target_cluster, COUCH2PG + LOGIN_TRIGGERS, database_name)
    phases = Phases(target_cluster, target_cluster, database_name, client_dir, tmp_path)
    try:
        for result in (
            phases.dump(),
            phases.restore(replace_existing=True),
            phases.refresh(),
            phases.verify(recount=True),
        ):
            assert not result.get("failed"), result
        for database in (phases.incoming, database_name):
            with Session(settings_of(target_cluster, database)) as session:
                assert session.value("SELECT count(*) FROM public.logins") == 0
                assert session.value("SELECT current_setting('session_replication_role')") == "origin"
                login_settings.assume(session, seed.OWNER)
                assert session.value("SELECT current_setting('session_replication_role')") == "origin"
    finally:
        for database in (phases.incoming, database_name):
            seed.drop_database(target_cluster, database)


@pytest.mark.parametrize("user", ["postgres", seed.OWNER])
def test_settings_that_count_before_a_session_can_change_them(
    source_cluster: Cluster, fresh_database: Callable[[Cluster], str], user: str
) -> None:
    """psycopg2 quotes strings as the server reads them when it connects; and the first statement must not run into a timeout."""
    name = fresh_database(source_cluster)
    seed.create_role(source_cluster, seed.OWNER)
    for setting in ("standard_conforming_strings = off", "statement_timeout = '1ms'"):
        execute(source_cluster, f"ALTER DATABASE {name} SET {setting}")
    text = r"""{"a\"b": "\\"} ' \' \\"""
    with Session(settings_of(source_cluster, name, user)) as session:
        assert session.value("SELECT %s", [text]) == text
        session.execute("SELECT pg_catalog.pg_sleep(0.1)")
        login_settings.assume(session, seed.OWNER, ["statement_timeout"])
        assert session.value("SHOW standard_conforming_strings") == "off"
        assert session.value("SELECT %s", [text]) == text
        login_settings.assume(session, seed.OWNER)
        assert session.value("SELECT pg_catalog.current_setting('statement_timeout')") == "1ms"
