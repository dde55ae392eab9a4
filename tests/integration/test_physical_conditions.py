# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method physical: preflight names what the copy of a whole server needs, and the remedy that it prints works."""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import compression, replication, server_programs
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support import binaries, places
from support.clusters import Cluster
from support.migration import column, execute
from support.modules import login, run_module
from support.preflight import failures, finding, look, look_at_target

Fresh = Callable[[Cluster], str]
COMMANDS = {"stop": ["true"], "start": ["true"]}


@pytest.fixture
def place(place: dict[str, Any]) -> dict[str, Any]:
    """Options of both sides."""
    return {**place, "method": "physical"}


@pytest.fixture
def copier(source_cluster: Cluster) -> Iterator[str]:
    """A role that is no superuser, with the source's password."""
    execute(
        source_cluster,
        f"CREATE ROLE copier LOGIN PASSWORD '{source_cluster.password}' IN ROLE pg_read_all_data",
    )
    source_cluster.remember("copier", source_cluster.password)
    yield "copier"
    execute(source_cluster, "DROP ROLE copier")


def test_the_source_lets_itself_be_copied(
    source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any], copier: str
) -> None:
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    refused = finding(look(place, source_cluster, name, login_user=copier), "replication")
    assert refused["details"]["code"] == "rights"
    execute(source_cluster, re.findall(r'ALTER ROLE "\w+" REPLICATION;', refused["message"])[0])
    looked = look(place, source_cluster, name, login_user=copier)
    assert "replication" not in failures(looked)
    refused = finding(looked, "rights of the copy")
    assert (refused["status"], refused["details"]["code"]) == ("failure", "copy_rights")
    printed = re.findall(r"GRANT [^;]+;", refused["message"])
    assert len(printed) == 2
    execute(source_cluster, " ".join(printed), name)
    fine = look(place, source_cluster, name, login_user=copier)
    assert finding(fine, "rights of the copy")["status"] == "ok"
    assert finding(fine, "replication")["status"] == "ok"
    assert finding(fine, "files of the server")["status"] == "ok"
    execute(source_cluster, 'CREATE UNLOGGED TABLE scratch (id serial); CREATE UNLOGGED SEQUENCE "A b"', name)
    unlogged = finding(look(place, source_cluster, name), "files of the server")
    run_for_each_database(source_cluster, unlogged["message"])
    assert "files of the server" not in failures(look(place, source_cluster, name))
    assert {"machine", "control", "bytes", "wal", "roles"} <= fine["facts"]["physical"].keys()
    execute(source_cluster, f"DROP OWNED BY {copier}", name)
    # Another method asks for none of that.
    assert "physical" not in look({**place, "method": "archive"}, source_cluster, name)["facts"]


def run_for_each_database(cluster: Cluster, message: str) -> list[str]:
    """Run the statements that the message prints for each database; returns the names of these."""
    printed = re.findall(r"in '(\w+)': ((?:ALTER [^;]+; )+)", message)
    for database, statements in printed:
        execute(cluster, statements, database)
    return [database for database, _statements in printed]


def test_unlogged_tables_of_other_databases(
    source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """The copy is one of the whole server, and nothing compares the rows of other databases."""
    name = fresh_database(source_cluster)
    other, closed = f"{name}_other", f"{name}_closed"
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb); CREATE UNLOGGED TABLE scratch (id int)", name)
    for database in (other, closed):
        execute(source_cluster, f"CREATE DATABASE {database}")
    try:
        execute(source_cluster, "CREATE UNLOGGED TABLE sessions (id int)", other)
        execute(source_cluster, f"ALTER DATABASE {closed} ALLOW_CONNECTIONS false")
        refused = finding(look(place, source_cluster, name), "files of the server")
        assert (refused["status"], refused["details"]["code"]) == ("failure", "unlogged")
        assert refused["details"]["unlogged"] == {name: ["public.scratch"], other: ["public.sessions"]}
        assert f"public.sessions (database {other})" in refused["message"]
        assert sorted(run_for_each_database(source_cluster, refused["message"])) == [name, other]
        unread = finding(look(place, source_cluster, name), "files of the server")
        assert (unread["status"], unread["details"]["unread"]) == ("warning", [closed])
        assert f"allow no connections or refuse this login: {closed}." in unread["message"]
    finally:
        for database in (other, closed):
            execute(source_cluster, f"DROP DATABASE {database}")
    assert finding(look(place, source_cluster, name), "files of the server")["status"] == "ok"


def test_a_compression_that_the_source_does_not_have(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """This one was built without zstd and lz4; what the finding offers works."""
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    facts = look(place, source_cluster, name)["facts"]

    def about(choice: str) -> dict[str, Any]:
        given = {**place, "commands": COMMANDS, "backup_compression": choice}
        return finding(look_at_target(given, target_cluster, name, facts), "compression of the copy")

    for choice, reason in (
        ("server-zstd:3", "was built without zstd"),
        ("client-gzip", "Only the source's server can"),
        ("gzip", "Only the source's server can"),
    ):
        refused = about(choice)
        assert (refused["status"], refused["details"]["known"]) == ("failure", ["gzip"]), refused
        assert reason in refused["message"]
        assert "none or server-gzip" in refused["message"] or "none, server-gzip" in refused["message"]
    facts["physical"]["compressions"] = []
    assert "older than PostgreSQL 15" in about("server-gzip")["message"]
    facts["physical"]["compressions"] = ["gzip", "lz4", "zstd"]
    for choice in ("server-gzip", "server-gzip:1", "server-zstd:level=3,workers=2,long", "server-zstd:-5"):
        assert about(choice)["status"] == "ok"


def test_a_compression_that_the_target_can_not_unpack(target_cluster: Cluster, tmp_path: Path) -> None:
    built = binaries.of_distribution()
    folder = Path(tempfile.mkdtemp(prefix="dist-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, built) as source, Session(
        ConnectionSettings("postgres", source.host, source.port, password=source.password)
    ) as session:
        assert compression.of_server(session) == ["gzip", "lz4", "zstd"]
    compression.check_unpacking("server-zstd:3", built.bin_dir, tmp_path)
    lacking = target_cluster.binaries.bin_dir
    compression.check_unpacking("server-gzip", lacking, tmp_path)
    with pytest.raises(MigrationError, match=f"the programs in {lacking} were built without zstd"):
        compression.check_unpacking("server-zstd:3", lacking, tmp_path)


def test_passwords_that_the_target_would_refuse(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    execute(source_cluster, f"SET password_encryption = 'md5'; CREATE ROLE {name}_old LOGIN PASSWORD 'old'")
    hba = target_cluster.data_directory / "pg_hba.conf"
    before = hba.read_bytes()
    try:
        facts = look(place, source_cluster, name)["facts"]
        assert f"{name}_old" in facts["physical"]["md5_roles"]
        # Other tests have left roles on this server.
        facts["physical"]["md5_roles"] = [f"{name}_old"]

        def look_again() -> dict[str, Any]:
            return look_at_target({**place, "commands": COMMANDS}, target_cluster, name, facts)

        refused = finding(look_again(), "passwords")
        assert (refused["status"], refused["details"]) == (
            "failure",
            {"code": "md5_passwords", "roles": [f"{name}_old"]},
        )
        command = re.findall(r"sed -i \S+ \S+", refused["message"])[0]
        subprocess.run(shlex.split(command), check=True)
        assert hba.read_bytes() != before
        assert "passwords" not in failures(look_again())
    finally:
        hba.write_bytes(before)
        execute(source_cluster, f"DROP ROLE {name}_old")


def without(folder: Path, major: int, *missing: str) -> Path:
    """A folder with the programs of a major version, but for these."""
    folder.mkdir()
    for program in binaries.binaries(major).bin_dir.iterdir():
        if program.name not in missing:
            (folder / program.name).symlink_to(program)
    return folder


def test_programs_that_the_target_lacks(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any], tmp_path: Path
) -> None:
    """Before anything is copied. The package that is named has them."""
    name = fresh_database(source_cluster)
    execute(
        source_cluster, "CREATE TABLE couchdb (doc jsonb); CREATE TABLE couchdb_progress (seq text, source text)", name
    )
    given = {key: place[key] for key in ("migration_id", "state_dir", "bin_dir")}
    given.update(login(target_cluster, name), source=login(source_cluster, name), archive=str(tmp_path / "archive"))

    def check(folder: Path | str) -> dict[str, Any]:
        return run_module("pg_physical", {**given, "server_bin_dir": str(folder)}, check=True)

    packages = "postgresql-16 (Debian and Ubuntu), postgresql16-server (PostgreSQL's own packages for Red Hat) or postgresql-upgrade"
    for folder in ("", tmp_path):
        refused = check(folder)
        assert (refused["code"], packages in refused["msg"]) == ("program_missing", True), refused
    incomplete = without(tmp_path / "16", 16, "pg_controldata", "pg_resetwal")
    refused = check(incomplete)
    assert (refused["code"], refused["details"]["programs"]) == ("program_missing", ["pg_controldata", "pg_resetwal"])
    assert "postgresql-16 (Debian and Ubuntu)" in refused["msg"]
    # As it says.
    for program in refused["details"]["programs"]:
        (incomplete / program).symlink_to(source_cluster.binaries.bin_dir / program)
    assert not check(incomplete).get("failed")
    folder = without(tmp_path / "18", 18, "pg_upgrade")
    with pytest.raises(MigrationError, match=r"server of PostgreSQL 18, and not pg_upgrade\. .*postgresql18-server"):
        server_programs.check_complete(folder, server_programs.UPGRADE_TO, 18)


def test_a_client_program_that_the_target_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    server = without(tmp_path / "16", 16, server_programs.VERIFY)

    def find() -> str:
        # The image of another program is no place for one that works as the owner of the copy.
        return server_programs.client(server_programs.VERIFY, str(server), "docker://postgres:16", str(server), 16).path

    with pytest.raises(MigrationError, match=f"neither in {server} nor on .*postgresql-16 .*postgresql16-server"):
        find()
    (server / server_programs.VERIFY).symlink_to(binaries.binaries(16).program(server_programs.VERIFY))
    assert find() == str(server / server_programs.VERIFY)


def test_the_package_that_is_named_brings_every_program() -> None:
    """As far as this machine's own packages can tell: those of Debian."""
    found = binaries.of_distribution()
    package = f"postgresql-{found.major}"
    needed = subprocess.check_output(["dpkg-query", "--show", "--showformat=${Depends}", package], text=True)
    brought = {package, *re.findall(r"postgresql-client-\d+", needed)}
    clients = (server_programs.BACKUP, server_programs.RECEIVE, server_programs.VERIFY)
    for name in {"postgres", *server_programs.UPGRADE_TO, *clients}:
        owner = subprocess.check_output(["dpkg-query", "--search", found.program(name)], text=True).split(":")[0]
        assert owner in brought, (name, owner)
    assert server_programs.server_folder(found.major, "", []) == found.bin_dir


@pytest.fixture
def odd_source() -> Iterator[Cluster]:
    """A server without WAL senders, that allows prepared transactions."""
    folder = Path(tempfile.mkdtemp(prefix="odd-", dir=places.work_folder("clusters")))
    settings = {"wal_level": "minimal", "max_wal_senders": "0", "max_prepared_transactions": "5"}
    with Cluster.create(folder, binaries.binaries(16), settings=settings) as cluster:
        yield cluster


def test_what_a_base_backup_can_not_bring(odd_source: Cluster, place: dict[str, Any]) -> None:
    execute(odd_source, "CREATE TABLE couchdb (doc jsonb)")
    execute(odd_source, "BEGIN; INSERT INTO couchdb VALUES ('1'); PREPARE TRANSACTION 'left over'")
    spaces = odd_source.directory / "spaces"
    spaces.mkdir()
    places.server_account().give(spaces)
    execute(odd_source, f"CREATE TABLESPACE fast LOCATION '{spaces}'")
    found = look(place, odd_source, "postgres")
    messages = {name: finding(found, name)["message"] for name in failures(found)}
    assert messages.keys() >= {"replication", "prepared transactions", "files of the server"}, found["findings"]
    assert "has tablespaces (fast)" in messages["files of the server"]
    assert finding(found, "files of the server")["details"]["codes"] == ["wal_level", "tablespaces"]
    assert "Or set couch2pg_method to stream." in messages["replication"]
    # The method that it names has nothing against them on the source.
    streamed = look({**place, "method": "stream"}, odd_source, "postgres")
    assert not [entry for entry in streamed["findings"] if "tablespace" in str(entry) and entry["status"] == "failure"]
    assert "The source has 0 of 0 WAL senders free, and the copy needs 3" in messages["replication"]
    # What they say is done.
    execute(odd_source, re.findall(r"ROLLBACK PREPARED '[^']+'", messages["prepared transactions"])[0])
    execute(odd_source, "DROP TABLESPACE fast")
    level = finding(look(place, odd_source, "postgres"), "files of the server")["message"]
    assert "has wal_level = minimal" in level
    # Each of the two alone gives a server that starts.
    for message in (level, messages["replication"]):
        execute(odd_source, "ALTER SYSTEM RESET ALL")
        statements = re.findall(r"ALTER SYSTEM SET [^;]+", message)
        assert len(statements) == 2
        for statement in statements:
            execute(odd_source, statement)
        odd_source.stop()
        odd_source.start()
    assert not {"replication", "prepared transactions", "files of the server"} & {
        *failures(look(place, odd_source, "postgres"))
    }
    odd_source.stop()
    signal = odd_source.data_directory / "standby.signal"
    signal.touch()
    places.server_account().give(signal)
    odd_source.start()
    assert "is a standby" in finding(look(place, odd_source, "postgres"), "files of the server")["message"]


def test_a_source_without_the_usual_database(odd_source: Cluster, place: dict[str, Any]) -> None:
    """The server on the copy is asked there whether it answers; without an answer, nobody would wait any less."""
    execute(odd_source, "CREATE DATABASE cht")
    execute(odd_source, "CREATE TABLE couchdb (doc jsonb)", "cht")
    execute(odd_source, "ALTER DATABASE postgres RENAME TO other", "cht")
    given = {"maintenance_database": "template1"}
    refused = finding(look(place, odd_source, "cht", **given), "files of the server")
    assert refused["details"]["codes"] == ["no_postgres", "wal_level"], refused
    execute(odd_source, re.findall(r"CREATE DATABASE postgres", refused["message"])[0], "cht")
    left = finding(look(place, odd_source, "cht", **given), "files of the server")["details"]
    assert left["codes"] == ["wal_level"]


def test_the_line_of_pg_hba_that_is_missing(source_cluster: Cluster, copier: str) -> None:
    hba = source_cluster.data_directory / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")
    execute(source_cluster, f"ALTER ROLE {copier} REPLICATION")
    settings = ConnectionSettings(
        "postgres", source_cluster.host, source_cluster.port, copier, source_cluster.password, ssl_mode="disable"
    )
    try:
        replication.check(settings)
        hba.write_text(re.sub(r"^(local|host)\s+replication.*$", "", before, flags=re.MULTILINE), encoding="utf-8")
        execute(source_cluster, "SELECT pg_reload_conf()")
        with pytest.raises(MigrationError) as refused:
            _until_reloaded(settings, refused=True)
        assert refused.value.code == "replication_refused"
        line = re.findall(r"run again: (host replication [^.]+[.\d/]+ [a-z0-9-]+)", refused.value.message)[0]
        assert line == "host replication copier 127.0.0.1/32 scram-sha-256"
        with hba.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        execute(source_cluster, "SELECT pg_reload_conf()")
        _until_reloaded(settings, refused=False)
        execute(source_cluster, f"ALTER ROLE {copier} NOREPLICATION")
        with pytest.raises(MigrationError, match=f'ALTER ROLE "{copier}" REPLICATION'):
            replication.check(settings)
    finally:
        hba.write_text(before, encoding="utf-8")
        execute(source_cluster, "SELECT pg_reload_conf()")


def _until_reloaded(settings: ConnectionSettings, refused: bool) -> None:
    for _attempt in range(50):
        try:
            replication.check(settings)
        except MigrationError:
            if refused:
                raise
        else:
            if not refused:
                return


def test_a_data_directory_that_is_a_file_system_is_refused(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """In a mount namespace of the module, where the data directory is a mount point."""
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    facts = look(place, source_cluster, name)["facts"]
    data = str(target_cluster.data_directory)
    through = ["unshare", "--mount", "sh", "-c", f'mount --bind {data} {data} && exec "$@"', "sh"]
    given = {**place, "commands": COMMANDS, "side": "target", "source": facts, "incoming": f"{name}_incoming"}
    found = run_module("preflight", {**login(target_cluster, name), **given}, through=through)
    refused = finding(found, "data directory")
    assert (refused["status"], refused["details"]["code"]) == ("failure", "mount_point")
    assert (
        f"Or move the data directory one folder down. As root, run: true && mkdir --mode=0700 {data}/main"
        in refused["message"]
    )


def test_the_target_is_asked_what_the_copy_needs(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    facts = look(place, source_cluster, name)["facts"]
    # Those that other tests have left on this server.
    facts["physical"]["md5_roles"] = []
    place = {**place, "commands": COMMANDS}
    execute(target_cluster, "CREATE DATABASE superset")
    try:
        found = look_at_target(place, target_cluster, name, facts)
        assert "superset" in finding(found, "other databases")["details"]["databases"]
    finally:
        execute(target_cluster, "DROP DATABASE superset")
    found = look_at_target(place, target_cluster, name, facts)
    assert set(failures(found)) <= {"other databases"}, found["findings"]
    assert str(target_cluster.data_directory.resolve()) in finding(found, "data directory")["message"]
    # Without commands nobody knows how this server is started.
    assert failures(look_at_target({**place, "commands": {}}, target_cluster, name, facts))[0] == "data directory"

    def differs(change: Callable[[dict[str, Any]], object]) -> list[str]:
        other = copy.deepcopy(facts)
        change(other)
        return [
            name for name in failures(look_at_target(place, target_cluster, name, other)) if name != "other databases"
        ]

    for asked in (
        {"role_map": {"couch2pg": "other"}},
        {"leave_out": {"tables": ["audit"]}},
        {"tablespaces": "default"},
    ):
        refused = finding(look_at_target({**place, **asked}, target_cluster, name, facts), "variables of other methods")
        assert refused["details"]["variables"] == [f"couch2pg_{next(iter(asked))}"]
    assert differs(lambda f: f["physical"].update(machine="aarch64")) == ["architecture"]
    assert differs(lambda f: f["physical"]["control"].update(database_block_size=32768)) == ["architecture"]
    # The copy brings its checksums with it.
    assert differs(lambda f: f["physical"]["control"].update(data_page_checksum_version=7)) == []
    assert differs(lambda f: f["physical"].update(bytes=10**18)) == ["disk"]
    assert differs(lambda f: f["physical"].update(locales=["sw_KE.UTF-8"])) == ["locales"]
    assert differs(lambda f: f["extensions"].update(postgis="3.3")) == ["extensions"]
    assert differs(lambda f: f["preload_libraries"].append("pg_cron")) == ["libraries"]
    assert differs(lambda f: f["physical"].update(roles=[])) == ["roles"]
    assert differs(lambda f: f["physical"].update(major=99)) == ["pg_upgrade"]
    # A C library has versions for locales other than C; a host without one of these can't tell.
    versions = (
        "SELECT collcollate FROM pg_collation WHERE collprovider = 'c' AND pg_collation_actual_version(oid) IS NOT NULL"
    )
    for locale in column(target_cluster, versions)[:1]:
        other = copy.deepcopy(facts)
        other["sorting"]["collations"] = [{"provider": "c", "locale": locale, "version": "2.17"}]
        rebuilt = finding(look_at_target(place, target_cluster, name, other), "collation")
        assert rebuilt["status"] == "warning"
        assert f"{locale} (glibc 2.17 on the source" in rebuilt["message"]
        refusing = {**place, "collations": "refuse"}
        assert "collation" in failures(look_at_target(refusing, target_cluster, name, other))
        other["sorting"]["text_partitions"] = ["public.logs"]
        assert "collation" in failures(look_at_target(place, target_cluster, name, other))
    other = copy.deepcopy(facts)
    other["sorting"]["collations"] = [{"provider": "c", "locale": "C.UTF-8", "version": None}]
    assert finding(look_at_target(place, target_cluster, name, other), "collation")["status"] == "warning"
