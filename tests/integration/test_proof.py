# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was verified is what is promoted: this archive and no other, and nothing was changed since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.document import sequence_values
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.promote import promotion
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document
from support import seed
from support.by_phases import Phases
from support.cases import rarely
from support.clusters import Cluster
from support.migration import column, execute
from support.modules import run_module


@pytest.fixture(scope="module")
def dumped(
    source_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Phases]:
    """An archive on the source, which tests copy."""
    name = "proven"
    seed.seed(source_cluster, name, documents=seed.MINIMUM, huge=False)
    seed.create_role(target_cluster, seed.OWNER)
    phases = Phases(source_cluster, target_cluster, client_dir, tmp_path_factory.mktemp("dumped"), name)
    phases.run("dump")
    yield phases
    seed.drop_database(source_cluster, name)


@pytest.fixture
def phases(dumped: Phases, tmp_path: Path) -> Iterator[Phases]:
    """A migration of which the dump is done."""
    shutil.copytree(dumped.folder, tmp_path, dirs_exist_ok=True)
    move_results(tmp_path, dumped.folder)
    own = Phases(dumped.source, dumped.target, dumped.bin_dir, tmp_path, dumped.database)
    yield own
    like = f"SELECT datname FROM pg_database WHERE datname LIKE '{own.database}%'"
    for name in column(own.target, like):
        seed.drop_database(own.target, name)


def move_results(folder: Path, before: Path) -> None:
    """Let the copied state name the folder that it is in now."""
    for path in (folder / "state").rglob("*.json"):
        path.write_text(path.read_text(encoding="utf-8").replace(str(before), str(folder)), encoding="utf-8")
    record = folder / "state" / "test" / "record.json"
    found = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(dict(found, seal=document.seal(found))), encoding="utf-8")


@pytest.mark.long
def test_an_archive_of_another_day_is_refused(phases: Phases, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whole, under the same name, of the same migration_id: only the SHA-256 of its manifest tells it apart."""
    other = Phases(phases.source, phases.target, phases.bin_dir, tmp_path_factory.mktemp("other"), phases.database)
    row = 'INSERT INTO couchdb (doc) VALUES (\'{"_id": "of another day"}\')'
    execute(phases.source, row, phases.database)
    other.run("dump")
    phases.run("transfer", "restore", "refresh")
    phases.archive.rename(phases.archive.with_name("kept"))
    shutil.copytree(other.archive, phases.archive)
    for phase in ("transfer", "restore", "verify"):
        assert "is not the one that this migration dumped" in phases.fail(phase), phase
    assert "is not the finished archive of this job" in phases.fail("dump")
    shutil.rmtree(phases.archive)
    phases.archive.with_name("kept").rename(phases.archive)
    phases.run("dump", "transfer", "restore", "refresh", "verify", "promote")


@pytest.mark.long
def test_a_restored_database_that_was_dropped_is_restored_again(phases: Phases) -> None:
    """As messages once advised; it ended in a refusal of refresh."""
    phases.run("transfer", "restore", "refresh", "verify")
    execute(phases.target, f"DROP DATABASE {phases.incoming}")
    phases.run("restore", "refresh", "verify", "promote")


def test_every_phase_can_begin_again(phases: Phases) -> None:
    damaged = max((path for path in phases.archive.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    phases.run("transfer", "restore", "refresh", "verify")
    restarted = phases.restart("restore")
    assert restarted["dropped"] == phases.incoming
    assert not phases.restart("restore")["changed"]
    assert not phases.restart("transfer")["kept_as"]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    phases.run("dump")
    assert "couch2pg_restart_from=dump" in phases.fail("transfer")
    before = phases.record["phases"]["dump"]["result"]["manifest_sha256"]
    (phases.archive / "added by somebody").touch()
    restarted = phases.restart("dump")
    assert restarted["bytes"] > 0
    assert [path.name for path in Path(restarted["kept_as"]).iterdir()] == ["added by somebody"]
    phases.run("dump")
    assert phases.record["phases"]["dump"]["result"]["manifest_sha256"] != before
    phases.run("transfer", "restore", "refresh", "verify", "promote")
    refused = phases.restart("restore")
    assert (refused["failed"], refused["code"]) == (True, "promoted")
    assert phases.database in column(phases.target, "SELECT datname FROM pg_database")


@pytest.mark.long
def test_a_newer_dump_replaces_what_an_earlier_one_has_made(phases: Phases) -> None:
    """The operator moved the archive away, as a message advises, and runs the same command again."""
    phases.run("transfer", "restore", "refresh", "verify")
    phases.archive.rename(phases.archive.with_name("moved away"))
    phases.run("dump", "transfer")
    oid = phases.run("restore", "refresh")["oid"]
    assert phases.run("verify")["oid"] == oid
    # On two hosts the target still has the older archive: a restart of the transfer keeps it aside.
    newer = phases.archive.rename(phases.archive.with_name("newer"))
    phases.archive.with_name("moved away").rename(phases.archive)
    assert "couch2pg_restart_from=transfer" in phases.fail("restore")
    assert phases.restart("transfer")["kept_as"]
    newer.rename(phases.archive)
    assert phases.run("transfer", "restore", "refresh", "verify", "promote")["oid"] == oid


@pytest.mark.long
@pytest.mark.parametrize("way", ["rename", "restore"])
def test_a_verified_database_that_was_renamed(phases: Phases, way: str) -> None:
    """The message has both ways out."""
    phases.run("transfer", "restore", "refresh", "verify")
    execute(phases.target, f"ALTER DATABASE {phases.incoming} RENAME TO {phases.incoming}_old")
    message = phases.fail("promote")
    if way == "rename":
        execute(phases.target, message.split(" now: ")[1].split(" To restore")[0])
    else:
        assert message.endswith("couch2pg_restart_from=restore")
        assert not phases.restart("restore").get("failed")
        phases.run("restore", "refresh", "verify")
    phases.run("promote")


LOST_ROW = "DELETE FROM couchdb WHERE ctid = (SELECT min(ctid) FROM couchdb)"


def test_what_was_changed_since_the_restore_is_not_verified(phases: Phases) -> None:
    """Only a table that was written to is read again."""
    phases.run("transfer", "restore", "refresh")
    execute(phases.target, "UPDATE couchdb_progress SET seq = seq", phases.incoming)
    verified = phases.run("verify")
    assert (verified["counted"], verified["counted_again"]) == ("while restoring", ["public.couchdb_progress"])
    assert phases.run("verify")["changed"] is False
    execute(phases.target, LOST_ROW, phases.incoming)
    assert "rows of public.couchdb. It was not promoted" in phases.fail("promote")
    assert "public.couchdb has a different number of rows" in phases.fail("verify")
    assert "no successful verification" in phases.fail("promote")


@pytest.mark.parametrize(
    "harm",
    [
        "DROP INDEX couchdb_doc_type",
        "DROP TABLE couchdb_users_meta CASCADE",
        rarely("REVOKE SELECT ON couchdb FROM superset"),
        rarely("ALTER DATABASE {} SET work_mem = '7MB'"),
    ],
)
def test_what_was_changed_since_the_verification_is_not_promoted(phases: Phases, harm: str) -> None:
    phases.run("transfer", "restore", "refresh", "verify")
    execute(phases.target, harm.format(phases.incoming), phases.incoming)
    assert f"{phases.incoming}' was changed since it was verified" in phases.fail("promote")
    if "DATABASE" not in harm:
        phases.fail("verify")
    assert phases.database not in column(phases.target, "SELECT datname FROM pg_database")


def test_a_recount_after_the_promotion_is_refused(phases: Phases) -> None:
    """couch2pg writes since: a difference would say nothing, and the record would tell of a failed verification."""
    phases.run("transfer", "restore", "refresh", "verify", "promote")
    execute(phases.target, LOST_ROW, phases.database)
    again = phases.run("verify")
    assert again["changed"] is False
    refused = run_module("verify", {**phases.options_of("verify"), "recount": True})
    assert (refused["failed"], refused["code"]) == (True, "promoted")


def test_a_replaced_database_keeps_its_properties_for_itself(phases: Phases) -> None:
    """Those of an empty one are merged with the source's; those of one that holds something go with it."""
    seed.create_database(phases.target, phases.database, "postgres")
    execute(phases.target, f"ALTER DATABASE {phases.database} SET work_mem = '99MB'")
    execute(phases.target, "CREATE TABLE there AS SELECT 1 AS n", phases.database)
    restored = phases.run("transfer", "restore", replace_existing=True)
    assert restored["properties_differ"] == []
    phases.run("refresh", "verify")
    kept = phases.run("promote", replace_existing=True)["kept_as"]
    assert column(phases.target, "SELECT n FROM there", kept) == [1]
    properties = (
        "SELECT pg_get_userbyid(datdba) || shobj_description(d.oid, 'pg_database') || setconfig::text || (datacl IS NULL)::text "
        f"FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0 WHERE datname = '{phases.database}'"
    )
    assert column(phases.target, properties) == column(phases.source, properties)


@pytest.fixture
def in_the_last_moment(phases: Phases, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], dict[str, Any]]:
    """Promotes; a session executes a statement and ends, between the last look and the rename, in the first n attempts."""
    oid = phases.run("transfer", "restore", "refresh", "verify")["oid"]
    settings = ConnectionSettings(
        phases.database, phases.target.host, phases.target.port, password=phases.target.password
    )
    check = promotion.check_verified

    def promote(statement: str, attempts: int) -> dict[str, Any]:
        left = iter(range(attempts))

        def check_and_execute(incoming: ConnectionSettings, state: Path, verified: int) -> None:
            check(incoming, state, verified)
            if next(left, None) is not None:
                execute(phases.target, statement, phases.incoming)

        monkeypatch.setattr(promotion, "check_verified", check_and_execute)
        return promotion.promote(settings, phases.state, phases.database, phases.incoming, oid, None)

    return promote


def test_a_write_in_the_last_moment(phases: Phases, in_the_last_moment: Callable[[str, int], dict[str, Any]]) -> None:
    with pytest.raises(MigrationError, match="was changed since it was verified"):
        in_the_last_moment(LOST_ROW, 1)
    assert phases.incoming in column(phases.target, "SELECT datname FROM pg_database")


def test_autovacuum_in_the_last_moment(
    phases: Phases, in_the_last_moment: Callable[[str, int], dict[str, Any]]
) -> None:
    """The server counts what ANALYZE writes like any row."""
    with pytest.raises(MigrationError, match="again and again"):
        in_the_last_moment("ANALYZE couchdb", promotion.ATTEMPTS)
    assert phases.incoming in column(phases.target, "SELECT datname FROM pg_database")
    assert in_the_last_moment("ANALYZE couchdb", 2)["name"] == phases.database


@pytest.mark.long
def test_a_view_that_was_renamed_on_the_target(phases: Phases) -> None:
    """As a failed refresh advises: verify names the differences, which can be accepted. Later runs repeat when that was."""
    phases.run("transfer", "restore")
    execute(phases.target, "ALTER MATERIALIZED VIEW dashboard_ranking RENAME TO moved", phases.incoming)
    phases.run("refresh")
    message = phases.fail("verify")
    accepted = json.loads(message.split("set couch2pg_accept_differences: ")[1])
    assert any("dashboard_ranking" in name for name in accepted)
    phases.options["verify"] = {"accept_differences": accepted}
    verified = phases.run("verify")
    assert {entry["name"] for entry in verified["accepted"]} == set(accepted)
    again = phases.run("verify")
    assert (again["changed"], again["verified_at"]) == (False, verified["verified_at"])
    phases.run("promote")


@pytest.mark.long
def test_an_unlogged_table_after_a_crash(phases: Phases) -> None:
    """The server empties it; the message names the way out, which works."""
    phases.archive.rename(phases.archive.with_name("without"))
    make = "CREATE UNLOGGED TABLE cache AS SELECT 1 AS n; CREATE ROLE late_reader; GRANT SELECT ON cache TO late_reader"
    execute(phases.source, make, phases.database)
    late = "SELECT rolname FROM pg_roles WHERE rolname = 'late_reader'"
    try:
        assert "late_reader" in phases.run("dump", "transfer", "restore")["created_roles"]
        phases.run("refresh")
        phases.target.stop("immediate")
        phases.target.start()
        assert "couch2pg_restart_from=restore" in phases.fail("verify")
        phases.restart("restore")
        execute(phases.target, "ALTER ROLE superset LOGIN")
        # A role that an earlier attempt made and that isn't needed any more is dropped and no longer listed.
        assert "late_reader" not in phases.run("restore", missing_roles="revoke")["created_roles"]
        assert column(phases.target, late) == []
        phases.run("refresh", "verify", "promote")
    finally:
        execute(phases.source, "DROP TABLE cache; DROP ROLE late_reader", phases.database)


def test_sequences_of_extensions(
    target_cluster: Cluster, fresh_database: Callable[[Cluster], str], extension_folder: Path
) -> None:
    """pg_dump carries the value of one only where the extension asks for that, so only such a one is compared."""
    (extension_folder / "counter.control").write_text("default_version = '1'\n", encoding="utf-8")
    (extension_folder / "counter--1.sql").write_text(
        "CREATE SEQUENCE own; CREATE SEQUENCE carried; SELECT pg_catalog.pg_extension_config_dump('carried', '');\n",
        encoding="utf-8",
    )
    settings = ConnectionSettings(
        fresh_database(target_cluster), target_cluster.host, target_cluster.port, password=target_cluster.password
    )
    with Session(settings) as session:
        session.execute("CREATE EXTENSION counter SCHEMA public")
        session.execute("CREATE SEQUENCE public.plain")
        assert set(sequence_values(session)) == {"public.carried", "public.plain"}
