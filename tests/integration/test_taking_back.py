# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases renamed back and dropped on a real server: only the very one that is meant, and not while somebody uses it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import psycopg2
import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import dropping, replaced_server
from ansible_collections.cht.couch2pg.plugins.module_utils.common import restart
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import changes
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import (
    Session,
    running_server,
    server_identity,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.promote import promotion
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document
from ansible_collections.cht.couch2pg.plugins.module_utils.record.promoted import PROMOTED
from ansible_collections.cht.couch2pg.plugins.module_utils.record.rolled_back import REVERSED
from ansible_collections.cht.couch2pg.plugins.module_utils.record.verified import remember_verified
from psycopg2.extras import LogicalReplicationConnection
from support import binaries, places, seed
from support.clusters import Cluster
from support.migration import column, execute
from support.modules import login, run_module

NAME = "back"


class Place:
    """A database on the source's server, the state of a migration, and modules that are run on them."""

    def __init__(self, cluster: Cluster, database: str, folder: Path) -> None:
        self.cluster, self.database, self.folder = cluster, database, folder
        self.state = folder / NAME
        self.state.mkdir()
        self.settings = ConnectionSettings(database, cluster.host, cluster.port, password=cluster.password)
        with Session(self.settings.maintenance) as session:
            self.identity = server_identity(session)
            self.running = running_server(session)
        self.oid = self.oid_of(database)

    def oid_of(self, name: str) -> int:
        return int(column(self.cluster, f"SELECT oid::bigint FROM pg_database WHERE datname = '{name}'")[0])

    def run(self, module: str, check: bool = False, **options: Any) -> dict[str, Any]:
        place = {"migration_id": NAME, "state_dir": str(self.folder), **login(self.cluster, self.database)}
        return run_module(module, {**place, **options}, check=check)

    def drop(self, check: bool = False, **options: Any) -> dict[str, Any]:
        return self.run("database_drop", check, **{"identity": self.identity, "oid": self.oid, **options})

    def names(self) -> set[str]:
        return set(column(self.cluster, f"SELECT datname FROM pg_database WHERE datname LIKE '{self.database}%'"))

    def promote(self, existing: bool) -> None:
        """Promote as the migration does: the database with the name was another one before."""
        incoming = f"{self.database}_incoming"
        seed.create_database(self.cluster, incoming)
        self.oid = self.oid_of(incoming)
        there: dict[str, Any] | None = {"name": self.database}
        if not existing:
            seed.drop_database(self.cluster, self.database)
            there = None
        with Session(self.settings.to(incoming)) as session:
            remember_verified(self.state, self.identity, self.oid, changes.read_state(session))
        promotion.promote(self.settings, self.state, self.database, incoming, self.oid, there)


@pytest.fixture
def place(
    source_cluster: Cluster, fresh_database: Callable[[Cluster], str], database_name: str, tmp_path: Path
) -> Iterator[Place]:
    yield Place(source_cluster, fresh_database(source_cluster), tmp_path)
    for name in column(source_cluster, f"SELECT datname FROM pg_database WHERE datname LIKE '{database_name}%'"):
        execute(source_cluster, f'ALTER DATABASE "{name}" IS_TEMPLATE false')
        seed.drop_database(source_cluster, name)


def test_the_database_is_dropped_once(place: Place) -> None:
    predicted = place.drop(check=True)
    assert predicted["changed"]
    assert predicted["dropped"] is None
    assert place.names() == {place.database}
    done = place.drop()
    assert done["changed"]
    assert done["bytes"] > 0
    assert place.names() == set()
    assert not place.drop()["changed"]
    # One that somebody makes later under the same name is another one.
    seed.create_database(place.cluster, place.database)
    assert not place.drop()["changed"]
    assert place.names() == {place.database}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda place: {"oid": place.oid_of("postgres")},
        lambda _place: {"oid": 4_000_000_000},
        lambda _place: {"identity": "7712218066094472355"},
        lambda _place: {"database": "postgres"},
        # After the method physical, the target's server has the source's identity and oid.
        lambda place: {"not_server": place.running},
    ],
)
def test_no_other_database_is_dropped(place: Place, wrong: Callable[[Place], dict[str, Any]]) -> None:
    refused = place.drop(**wrong(place))
    assert refused["code"] == "stale_evidence"
    assert place.names() == {place.database}


def test_nobody_is_thrown_out_who_was_not_named(place: Place) -> None:
    connection = place.cluster.connect(place.database)
    refused = place.drop(allowed_sessions=["exporter"])
    assert refused["code"] == "database_in_use"
    assert "is still used by postgres" in refused["msg"]
    assert place.names() == {place.database}
    assert not connection.closed
    ended = place.drop(allowed_sessions=["postgres"])
    assert ended["sessions"] == [{"role": "postgres", "application_name": ""}]
    assert place.names() == set()


def follow(place: Place, refused: dict[str, Any], database: str) -> None:
    """Run the statements of a message, one after the other."""
    statements = re.findall(r"(?:ALTER|DROP|SELECT|ROLLBACK) [^;]+;", refused["msg"])
    assert statements, refused["msg"]
    for statement in statements:
        execute(place.cluster, statement, database)


def test_what_can_not_be_dropped_is_as_it_was(place: Place) -> None:
    """Until the operator has done what the message says."""
    name = place.database
    execute(place.cluster, f'ALTER DATABASE "{name}" IS_TEMPLATE true')
    subscription = (
        """CREATE SUBSCRIPTION "Follows" CONNECTION 'host=no-such-host.invalid' PUBLICATION p WITH (connect = false)"""
    )
    execute(place.cluster, subscription, name)
    for check in (True, False):
        refused = place.drop(check=check)
        assert refused["code"] == "not_droppable", refused
    assert place.names() == {name}
    place.cluster.connect(name).close()
    follow(place, refused, name)
    assert place.drop()["changed"]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Place]:
    """A database on a server that allows prepared transactions and logical replication."""
    folder = Path(tempfile.mkdtemp(prefix="busy-", dir=places.work_folder("clusters")))
    settings = {"max_prepared_transactions": "2", "wal_level": "logical"}
    with Cluster.create(folder, binaries.binaries(16), settings=settings) as cluster:
        seed.create_role(cluster, seed.OWNER)
        seed.create_database(cluster, "busy")
        yield Place(cluster, "busy", tmp_path)


def test_what_holds_a_database_is_named_and_ended_by_what_is_said(busy: Place) -> None:
    """A session, a program that follows it by logical replication, and a prepared transaction, which has no session."""
    busy.promote(existing=False)
    name = busy.database

    # A slot waits for the end of every transaction, so it comes first.
    execute(busy.cluster, "SELECT pg_create_logical_replication_slot('follows', 'pgoutput')", name)
    execute(busy.cluster, "BEGIN; CREATE TABLE held (n int); PREPARE TRANSACTION 'It''s held'", name)
    connection = busy.cluster.connect(name)
    follower = psycopg2.connect(
        **busy.settings.libpq(),
        password=busy.cluster.password,
        application_name="follower",
        connection_factory=LogicalReplicationConnection,
    )
    follower.cursor().start_replication("follows", options={"proto_version": "1", "publication_names": "p"})
    for step in (busy.run, busy.drop):
        refused = step("rollback") if step == busy.run else step()
        assert refused["code"] == "database_in_use", refused
        for user in (
            "postgres (no name, 127.0.0.1)",
            "postgres (follower, 127.0.0.1)",
            "postgres (prepared transaction 'It''s held', local)",
        ):
            assert user in refused["msg"]
        assert busy.names() == {name}
    follow(busy, refused, name)
    assert busy.run("rollback")["changed"]
    (kept,) = busy.names()
    assert kept.startswith(f"{name}_rolled_back_")
    for each in (connection, follower):
        each.close()


def test_a_drop_that_was_killed_is_resumed(place: Place) -> None:
    last = f"{place.database}_dropping_20261123T221530"
    write_json(place.state / dropping.DROPPED, {"oid": place.oid, "identity": place.identity, "name": last})
    execute(place.cluster, f'ALTER DATABASE "{place.database}" WITH ALLOW_CONNECTIONS false')
    execute(place.cluster, f'ALTER DATABASE "{place.database}" RENAME TO "{last}"')
    assert place.drop(check=True)["begun"]
    # Where a last archive is wanted, it has to be open once more.
    assert place.drop(give_back=True)["changed"]
    place.cluster.connect(place.database).close()
    assert not place.drop(give_back=True)["changed"]
    execute(place.cluster, f'ALTER DATABASE "{place.database}" RENAME TO "{last}"')
    assert place.drop()["changed"]
    assert place.names() == set()


@pytest.mark.parametrize("existing", [True, False])
def test_names_are_given_back(place: Place, existing: bool) -> None:
    before = place.oid
    place.promote(existing)
    assert place.oid_of(place.database) == place.oid
    names = place.names()
    predicted = place.run("rollback", check=True)
    assert predicted["kept_as"] is None
    assert place.names() == names
    done = place.run("rollback")
    assert place.oid_of(done["kept_as"]) == place.oid
    assert place.names() == {done["kept_as"]} | ({place.database} if existing else set())
    if existing:
        assert place.oid_of(place.database) == before
    again = place.run("rollback")
    assert not again["changed"]
    assert again["kept_as"] == done["kept_as"]


def test_a_database_in_use_keeps_its_name(place: Place) -> None:
    place.promote(existing=True)
    names = place.names()
    connection = place.cluster.connect(place.database)
    refused = place.run("rollback")
    assert refused["code"] == "database_in_use"
    assert place.names() == names
    connection.close()
    # Killed before the commit: no database has the recorded name.
    stored = {
        "oid": place.oid,
        "identity": place.identity,
        "name": place.database,
        "kept_as": f"{place.database}_never",
    }
    write_json(place.state / REVERSED, stored)
    assert place.run("rollback")["changed"]


def test_a_database_of_a_stranger_is_not_dropped_with_a_rehearsal(place: Place) -> None:
    options = {"which": "rehearsal", "migration_id": f"{NAME}_rehearsal_20261123T221530"}
    assert place.run("database_drop", which="rehearsal")["code"] == "not_a_rehearsal"
    refused = place.run("database_drop", **options)
    assert refused["code"] == "not_ours", refused
    keep, drop = re.findall(r"\(((?:ALTER|DROP) [^)]+)\)", refused["msg"])
    execute(place.cluster, keep)
    assert not place.run("database_drop", **options)["changed"]
    assert place.names() == {f"{place.database}_kept"}
    seed.create_database(place.cluster, place.database)
    execute(place.cluster, drop)
    assert not place.run("database_drop", **options)["changed"]
    assert place.names() == {f"{place.database}_kept"}


def test_a_replaced_server_that_runs_is_not_removed(busy: Place) -> None:
    """Stopped as it is said, it is."""
    cluster, data = busy.cluster, busy.cluster.data_directory
    replaced = data.with_name("data_replaced_20261123T221530")
    write_json(busy.state / PROMOTED, {"replaced": str(replaced)})
    data.rename(replaced)
    try:
        with pytest.raises(MigrationError) as caught:
            replaced_server.find(busy.state)
        assert caught.value.code == "server_running"
        words = shlex.split(caught.value.message.split("stop it: ")[1].replace(" Then run again.", ""))
        assert words[:2] == ["sudo", "-u"]
        account = places.server_account().run_as()
        subprocess.run(
            words[3:], cwd="/", env=cluster.binaries.environment(), stdout=subprocess.DEVNULL, check=True, **account
        )
        assert replaced_server.find(busy.state) == replaced
    finally:
        replaced.rename(data)
        cluster.start()


def test_what_was_not_promoted_here_is_not_taken_back(place: Place) -> None:
    assert place.run("rollback")["code"] == "not_promoted"
    place.promote(existing=False)
    execute(place.cluster, f'ALTER DATABASE "{place.database}" RENAME TO "{place.database}_by_hand"')
    # Another database may have its name meanwhile.
    seed.create_database(place.cluster, place.database)
    renamed = place.run("rollback")
    assert renamed["code"] == "stale_evidence"
    follow(place, renamed, "postgres")
    assert place.run("rollback")["changed"]


def test_a_renamed_database_is_dropped_when_it_has_its_name_again(place: Place) -> None:
    execute(place.cluster, f'ALTER DATABASE "{place.database}" RENAME TO "{place.database}_by_hand"')
    refused = place.drop()
    assert refused["code"] == "stale_evidence"
    follow(place, refused, "postgres")
    assert place.drop()["changed"]


def permission(place: Place) -> dict[str, Any]:
    return place.run("migration_info", needs=["verified", "promoted", "not_rolled_back"])


def test_the_record_must_be_of_what_is_there(place: Place) -> None:
    place.promote(existing=False)
    assert permission(place)["code"] == "record_missing"
    promoted = {"oid": place.oid, "identity": place.identity, "name": place.database, "kept_as": None}
    path = place.state / record_document.NAME
    for phase, result in (("dump", {"server_identity": "1", "database_oid": 2}), ("verify", {"oid": place.oid})):
        record_document.add(path, NAME, place.database, phase, record_document.make_entry("host", result), write=True)
    lacking = permission(place)
    assert lacking["code"] == "not_permitted"
    assert len(lacking["details"]["reasons"]) == 1
    record_document.add(path, NAME, place.database, "promote", record_document.make_entry("host", promoted), write=True)
    permitted = permission(place)["permission"]
    assert permitted["source"]["oid"] == 2
    assert permitted["target"]["name"] == place.database
    assert place.run("migration_info", needs=["cut_over"])["code"] == "not_permitted"

    # Another database has the name now.
    execute(place.cluster, f'ALTER DATABASE "{place.database}" RENAME TO "{place.database}_by_hand"')
    seed.create_database(place.cluster, place.database)
    stale = permission(place)
    assert stale["code"] == "stale_evidence"
    assert f"migrate again under another name: {restart.migrate_as(NAME)}" in stale["msg"]
    assert f"It is called '{place.database}_by_hand' now: ALTER DATABASE" in stale["msg"]

    document = json.loads(path.read_text(encoding="utf-8"))
    document["phases"]["promote"]["result"]["oid"] = place.oid_of(place.database)
    document["phases"]["verify"]["result"]["oid"] = place.oid_of(place.database)
    path.write_text(json.dumps(document), encoding="utf-8")
    assert permission(place)["code"] == "record_altered"


def test_what_was_kept_is_listed(place: Place) -> None:
    kept = f"{place.database}_replaced_20261123T221530"
    for name in (kept, f"{place.database}_rehearsal", f"{place.database}_of_somebody"):
        seed.create_database(place.cluster, name)
    for file in ("couch2pg_target.json", "couch2pg-bundle.tar.gz"):
        (place.state / file).touch()
    found = place.run("migration_info", staging_dir=str(place.folder / "none"))["leftovers"]
    assert {entry["database"] for entry in found["databases"]} == {kept, f"{place.database}_rehearsal"}
    assert all(entry["bytes"] > 0 for entry in found["databases"])
    assert found["archives"] == []
    assert {Path(path).name for path in found["credential_files"]} == {path.name for path in place.state.iterdir()}
    assert len(found["lines"]) == 4
