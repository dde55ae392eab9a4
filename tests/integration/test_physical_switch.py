# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method physical: a copy of the source's whole server takes the place of the target's, and gives it back."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

import psycopg2
import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.host.system_account import acting_as
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import placement, switch
from ansible_collections.cht.couch2pg.plugins.module_utils.physical.folders import Owner
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import changes
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session, server_identity
from ansible_collections.cht.couch2pg.plugins.module_utils.record.verified import VERIFIED, remember_verified
from support import binaries, places, warm
from support.cases import rarely
from support.clusters import Cluster
from support.ground import killed_at
from support.migration import column, execute
from support.modules import login, run_module
from support.systemd import SystemdHost

NAME, DATABASE = "phys", "cht"
MAJOR = 16


class Pair:
    """A source, a target, and beside the target's data directory a verified copy of the source's, with a temporary server."""

    def __init__(self, source: Cluster, target: Cluster, folder: Path) -> None:
        self.source, self.target, self.folder = source, target, folder
        self.state = folder / NAME
        self.settings = ConnectionSettings(DATABASE, target.host, target.port, password=target.password)
        self.copy = target.data_directory.with_name(f"data_incoming_{NAME}")
        self.sockets = Path(tempfile.mkdtemp(prefix="in-"))
        places.server_account().give(self.sockets)
        stop, start = placement.hand_commands(
            target.data_directory.owner(),
            target.data_directory,
            target.data_directory / "postgresql.conf",
            target.binaries.bin_dir,
        )
        self.commands = {"stop": stop, "start": start}
        self.options: dict[str, Any] = {}
        self.through: list[str] = []
        self.old_identity = self.identity

    @property
    def identity(self) -> str:
        with Session(self.settings.maintenance) as session:
            return server_identity(session)

    def run_as_server(self, program: str, *arguments: str) -> None:
        account = places.server_account()
        user = (
            []
            if account.uid is None
            else ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
        )
        done = subprocess.run(
            [
                *self.through,
                *user,
                "env",
                f"--chdir={self.target.directory}",
                self.target.binaries.program(program),
                *arguments,
            ],
            env={**self.target.binaries.environment(), "PGPASSFILE": str(self.target.directory / "passfile")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()

    def make_copy(self) -> None:
        """A copy that is verified, as the method leaves it before promotion."""
        passfile = self.target.directory / "passfile"
        passfile.write_text(f"*:*:*:*:{self.source.password}\n", encoding="utf-8")
        passfile.chmod(0o600)
        places.server_account().give(passfile)
        where = ["--host", self.source.host, "--port", str(self.source.port), "--username", "postgres", "--no-password"]
        self.run_as_server("pg_basebackup", "--pgdata", str(self.copy), "--checkpoint=fast", *where)
        hba, configuration = (self.target.directory / f"own{name}.conf" for name in ("_hba", ""))
        hba.write_text("local all all trust\n", encoding="utf-8")
        configuration.write_text("", encoding="utf-8")
        self.start_copy()
        with Session(self.temporary) as session:
            self.oid = int(session.value("SELECT oid::bigint FROM pg_database WHERE datname = 'cht'"))
            self.copied_identity = server_identity(session)
            self.state.mkdir(exist_ok=True)
            remember_verified(self.state, self.copied_identity, self.oid, changes.read_state(session))
            places.server_account().give(self.state / VERIFIED)
        login = {"login_unix_socket": str(self.sockets), "login_port": 6543, "login_user": "postgres"}
        for kind, value in (("verify", {"oid": self.oid}), ("restore", {"login": login})):
            job = self.state / "jobs" / kind
            job.mkdir(parents=True, exist_ok=True)
            write_json(job / "spec.json", {})
            write_json(job / "result.json", {"status": "done", "value": value})
            for path in (*job.iterdir(), job, job.parent):
                places.server_account().give(path)

    def act_as(self, owner: str) -> None:
        """Let the modules act as this user, with a state folder that it can read."""
        self.options["act_as"] = owner
        self.folder = self.target.directory / "state"
        self.state = self.folder / NAME
        for folder in (self.folder, self.state):
            folder.mkdir(mode=0o700)
            places.server_account().give(folder)

    def start_copy(self) -> None:
        # As the method does it, whatever a promotion that was cut has left in the place of the copy's own.
        settings = self.copy / "postgresql.auto.conf"
        settings.write_text("", encoding="utf-8")
        places.server_account().give(settings)
        own = self.target.directory
        options = (
            f"-clisten_addresses= -cport=6543 -cunix_socket_directories={self.sockets} -chba_file={own}/own_hba.conf"
        )
        options += f" -cconfig_file={own}/own.conf"
        log = str(self.target.directory / "log" / "copy.log")
        self.run_as_server("pg_ctl", "-D", str(self.copy), "--wait", "--options", options, "--log", log, "start")

    @property
    def temporary(self) -> ConnectionSettings:
        return ConnectionSettings(DATABASE, port=6543, unix_socket=str(self.sockets))

    def run(
        self, module: str, check: bool = False, environment: dict[str, str] | None = None, **options: Any
    ) -> dict[str, Any]:
        return run_module(module, self.given(options), check=check, environment=environment, through=self.through)

    def given(self, options: dict[str, Any]) -> dict[str, Any]:
        place = {"migration_id": NAME, "state_dir": str(self.folder), **login(self.target, DATABASE)}
        return {**place, "method": "physical", "commands": self.commands, **self.options, **options}

    def output(self, module: str, **options: Any) -> str:
        """What Ansible shows of the module, with its warnings."""
        words = ["ansible", "localhost", "-m", f"cht.couch2pg.{module}", "-a", json.dumps(self.given(options))]
        environment = {**warm.environment(), "COLUMNS": "1000"}
        return subprocess.run(
            words, env=environment, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, check=True, text=True
        ).stdout

    def promote(self, **options: Any) -> dict[str, Any]:
        return self.run("promote", incoming=DATABASE, **options)

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.target.directory.glob("data*") if path.is_dir())

    def setting(self, name: str) -> str:
        return str(column(self.target, f"SHOW {name}")[0])


def _cluster(**settings: str) -> Cluster:
    folder = Path(tempfile.mkdtemp(prefix="phys-", dir=places.work_folder("clusters")))
    places.server_account().give(folder)
    cluster = Cluster.create(folder, binaries.binaries(MAJOR), settings=settings)
    places.server_account().give(folder)
    return cluster


@pytest.fixture(scope="module")
def source() -> Iterator[Cluster]:
    with _cluster(work_mem="5MB") as cluster:
        execute(cluster, "CREATE DATABASE cht")
        with cluster.connect(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE couchdb AS SELECT n AS doc FROM generate_series(1, 1000) AS n")
        execute(cluster, f"ALTER ROLE postgres PASSWORD '{'p' * 16}'")
        yield cluster


@pytest.fixture
def pair(source: Cluster, tmp_path: Path) -> Iterator[Pair]:
    with a_pair(source, tmp_path) as made:
        yield made


@contextmanager
def a_pair(source: Cluster, folder: Path) -> Iterator[Pair]:
    with _cluster(work_mem="7MB") as target:
        # The role that logs in has the same password on both.
        target.password = source.password = "p" * 16
        execute(target, f"ALTER ROLE postgres PASSWORD '{target.password}'")
        for cluster in (source, target):
            cluster.remember("postgres", cluster.password)
        pair = Pair(source, target, folder)
        yield pair
        subprocess.run(pair.commands["stop"], check=False, capture_output=True)
        for path in target.directory.glob("data*/"):
            switch.stop_server(path)
        pair.sockets.rmdir()
    assert not target.directory.exists()


def rows(pair: Pair) -> int:
    with pair.target.connect(DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM couchdb")
        return int(cursor.fetchone()[0])


def test_the_copy_takes_the_place_and_gives_it_back(pair: Pair) -> None:
    # As the role runs it: root stops and starts the service, and everything else is done by the owner of the data.
    owner = pair.target.data_directory.owner()
    pair.act_as(owner)
    assert pair.promote(check=True)["changed"]
    pair.make_copy()
    predicted = pair.promote(check=True)
    assert predicted["changed"]
    assert pair.folders() == ["data", pair.copy.name]
    # What the method leaves beside the copy until it is promoted; this can't be removed at once.
    work = pair.copy.with_name(f"{pair.copy.name}_work")
    work.mkdir()
    places.server_account().give(work)
    (work / "steps.json").write_text("{", encoding="utf-8")
    execute(pair.target, "ALTER SYSTEM SET temp_buffers = '9MB'")
    execute(pair.source, "ALTER SYSTEM SET temp_buffers = '3MB'")
    done = pair.promote()
    assert done["changed"], done
    replaced = Path(done["replaced"])
    assert pair.folders() == ["data", work.name, replaced.name]
    assert switch.unfinished(pair.state) is None
    said = " ".join(pair.output("promote", incoming=DATABASE).split())
    assert f"[WARNING]: After the promotion, nothing needs {work} any more, but it could not be removed" in said
    assert f"Remove the folder: sudo rm -r {work}" in said
    (work / "steps.json").unlink()
    assert rows(pair) == 1000
    assert (pair.identity, done["oid"], done["name"]) == (pair.copied_identity, pair.oid, DATABASE)
    # The target's own configuration is in force, and the source's is kept beside it.
    assert (pair.setting("work_mem"), pair.setting("temp_buffers")) == ("7MB", "9MB")
    kept = pair.target.data_directory / switch.SOURCE_FILES
    assert "work_mem = '5MB'" in (kept / "postgresql.conf").read_text(encoding="utf-8")
    assert {path.owner() for path in pair.target.data_directory.iterdir()} == {pair.target.data_directory.owner()}
    assert {path.owner() for path in pair.state.glob("*.*")} == {owner}
    again = pair.promote()
    assert not again["changed"]
    assert again["replaced"] == done["replaced"]
    assert pair.folders() == ["data", replaced.name]
    assert not Path(done["incoming"]).exists()

    predicted = pair.run("rollback", check=True)
    assert (predicted["changed"], predicted["kept_as"], predicted["restored"]) == (True, None, str(replaced))
    back = pair.run("rollback")
    assert back["changed"], back
    assert pair.folders() == ["data", Path(back["kept_as"]).name]
    assert pair.identity == pair.old_identity
    assert not pair.run("rollback")["changed"]


WRITE = "INSERT INTO public.couchdb VALUES (0)"


def test_what_is_written_just_before_the_server_stops(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last check and the end of the private server nobody can write what nothing would notice."""
    pair.make_copy()
    results: list[str] = []

    def write() -> None:
        try:
            with closing(
                psycopg2.connect(host=str(pair.sockets), port=6543, dbname=DATABASE, user="postgres")
            ) as connection, connection, connection.cursor() as cursor:
                cursor.execute(WRITE)
                results.append("written")
        except psycopg2.Error as error:
            results.append(str(error))

    writers: list[threading.Thread] = []
    stop = switch.stop_server

    def stop_late(data: Path) -> None:
        if data == pair.copy and switch.private_server.runs_on(data):
            writers.append(threading.Thread(target=write))
            writers[0].start()
            time.sleep(0.5)
        stop(data)

    monkeypatch.setattr(switch, "stop_server", stop_late)
    switch.promote(pair.settings, pair.state, NAME, pair.commands, replace_existing=True, check_mode=False)
    writers[0].join()
    assert "terminating connection due to administrator command" in results[0]
    assert rows(pair) == 1000


def test_what_is_written_after_the_first_check(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.make_copy()

    def check(_commands: Any) -> None:
        with Session(pair.temporary) as session:
            session.execute(WRITE)

    monkeypatch.setattr(switch.services, "check_root", check)
    with pytest.raises(
        MigrationError, match=r"was changed since it was verified at .*: rows of public\.couchdb\."
    ) as caught:
        switch.promote(pair.settings, pair.state, NAME, pair.commands, replace_existing=True, check_mode=False)
    assert caught.value.code == "changed_since_verified"
    assert pair.identity == pair.old_identity
    assert switch.private_server.runs_on(pair.copy)


def once(flag: Path, command: list[str], *, before: str = "", after: str = "") -> list[str]:
    """The command, with something before or after it the first time only. ``$PPID`` is the process of the module."""
    words = " ".join(command)
    first = f"test -e {flag} || {{ touch {flag}; %s; }}"
    parts = [first % before if before else "", words, first % after if after else ""]
    return ["sh", "-c", "; ".join(part for part in parts if part)]


@pytest.mark.parametrize(
    ("way", "kill"),
    [
        ("promote", "after stop"),
        *(
            pytest.param(way, kill, marks=pytest.mark.long)
            for way in ("promote", "rollback")
            for kill in ("before stop", "after stop", "between the renames", "before start", "after start")
            if (way, kill) != ("promote", "after stop")
        ),
    ],
)
def test_a_run_that_was_killed_is_finished_by_the_next(pair: Pair, way: str, kill: str) -> None:
    pair.make_copy()
    flag, commands = pair.target.directory / "flag", dict(pair.commands)
    when, step = kill.split(" ", 1)
    step = "stop" if when == "between" else step
    commands[step] = once(flag, commands[step], **{"before" if when == "before" else "after": "kill -9 $PPID"})
    if way == "rollback":
        flag.touch()
        pair.promote(commands=commands)
        flag.unlink()
    run = pair.promote if way == "promote" else lambda **options: pair.run("rollback", **options)
    with pytest.raises(AssertionError, match="said no JSON"):
        run(commands=commands, environment={})
    intent = switch.unfinished(pair.state)
    assert intent is not None
    if when == "between":
        switch.carry_over(Path(intent["data"]), Path(intent["put_in"]), "log")
        Path(intent["data"]).rename(intent["aside"])
    if way == "rollback":
        assert pair.run("rollback")["changed"]
        assert pair.identity == pair.old_identity
        assert not pair.run("rollback")["changed"]
        return
    resumed = pair.promote(only_resume=True)
    assert resumed.get("changed") is (when == "between" or step == "start"), resumed
    # What had not begun to rename is as it was before; the method starts its temporary server again.
    if not resumed["changed"]:
        assert pair.folders() == ["data", pair.copy.name]
        assert pair.identity == pair.old_identity
        pair.start_copy()
    assert pair.promote()["changed"] is not resumed["changed"]
    assert rows(pair) == 1000


@pytest.mark.long
@pytest.mark.parametrize("way", ["promote", "rollback"])
def test_a_run_that_is_killed_at_any_moment_is_finished_by_the_next(source: Cluster, tmp_path: Path, way: str) -> None:
    """Before each change of a file or folder; the next run ends as if nothing had happened."""
    at, killed = 0, True
    while killed:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        with a_pair(source, folder) as pair:
            pair.make_copy()
            # What the method leaves beside the copy until it is promoted.
            work = pair.copy.with_name(f"{pair.copy.name}_work")
            work.mkdir()
            (work / "server.log").touch()
            if way == "rollback":
                pair.promote()
            log = folder / "log"
            # Nothing but the data directories and the state.
            others = f"^(?!{pair.target.directory}/data|{pair.state})|/current_logfiles"
            environment = killed_at(at, f"modules.{way}", Path("/"), others, log)
            try:
                pair.promote(environment=environment) if way == "promote" else pair.run(way, environment=environment)
                killed = False
            except AssertionError as error:
                if "said no JSON" not in str(error):
                    raise
            where = f"{at}: {log.read_text().splitlines()[-1]}"
            if way == "rollback":
                back = pair.run("rollback")
                assert back["changed"] is killed or pair.identity == pair.old_identity, (where, back)
                assert pair.identity == pair.old_identity, where
            else:
                resumed = pair.promote(only_resume=True)
                assert not resumed.get("failed"), (where, resumed)
                if pair.copy.exists() and not switch.private_server.runs_on(pair.copy):
                    pair.start_copy()
                done = pair.promote()
                assert not done.get("failed"), (where, done)
                assert rows(pair) == 1000, where
            names = {re.sub(r"\d{8}T\d{6}", "TIME", name) for name in pair.folders()}
            assert names == {"data", "data_replaced_TIME" if way == "promote" else "data_rolled_back_TIME"}, where
            assert switch.unfinished(pair.state) is None, where
            assert list(pair.state.glob(".*.part")) == [], where
    assert at > 5


@pytest.mark.parametrize(
    "fault",
    ["configuration", pytest.param("start", marks=pytest.mark.long), pytest.param("password", marks=pytest.mark.long)],
)
def test_a_server_that_does_not_work_is_taken_back(pair: Pair, fault: str) -> None:
    if fault == "password":
        execute(pair.source, "ALTER ROLE postgres PASSWORD 'another'")
        pair.source.remember("postgres", "another")
        pair.source.password = "another"
    pair.make_copy()
    if fault == "password":
        execute(pair.source, f"ALTER ROLE postgres PASSWORD '{pair.target.password}'")
        pair.source.remember("postgres", pair.target.password)
    commands = dict(pair.commands)
    if fault == "start":
        commands["start"] = once(pair.target.directory / "flag", commands["start"], before="exit 3")
    if fault == "configuration":
        # Only the running server has read it as it was before.
        with (pair.target.data_directory / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("include_if_exists = 'couch2pg_migration.json'\n")
    failed = pair.promote(commands=commands)
    assert failed["code"] == "exchange_failed", failed
    assert "The server runs as before." in failed["msg"]
    assert pair.folders() == ["data", pair.copy.name]
    assert pair.identity == pair.old_identity
    assert switch.unfinished(pair.state) is None


def test_what_would_be_lost_is_refused(pair: Pair) -> None:
    pair.make_copy()
    guessed = pair.promote(commands={})
    assert guessed["code"] == "no_service"
    # The commands that it offers are those that the other tests use.
    assert ", ".join(pair.commands["start"]) in guessed["msg"]
    assert "needs both stop and start" in pair.promote(commands={"stop": ["true"]})["msg"]
    execute(pair.target, "CREATE DATABASE superset")
    refused = pair.promote()
    assert (refused["code"], refused["details"]["databases"]) == ("other_databases", ["superset"])
    execute(pair.target, "DROP DATABASE superset")
    execute(pair.target, "CREATE DATABASE cht")
    execute(pair.target, "CREATE TABLE old (n int)", DATABASE)
    assert pair.promote()["code"] == "target_not_empty"
    with pair.target.connect(DATABASE):
        in_use = pair.promote(replace_existing=True)
        assert in_use["code"] == "database_in_use", in_use
    with psycopg2.connect(host=str(pair.sockets), port=6543, dbname=DATABASE, user="postgres") as connection:
        connection.cursor().execute("UPDATE couchdb SET doc = 0 WHERE doc = 7")
    connection.close()
    altered = pair.promote(replace_existing=True)
    assert altered["code"] == "changed_since_verified", altered
    assert "rows of public.couchdb" in altered["msg"]
    assert pair.folders() == ["data", pair.copy.name]
    assert pair.identity == pair.old_identity


def test_what_was_replaced_is_removed_when_it_is_asked_for(pair: Pair) -> None:
    pair.make_copy()
    replaced = Path(pair.promote()["replaced"])
    place = {"migration_id": NAME, "state_dir": str(pair.folder), "replaced_server": True}
    predicted = run_module("archive_cleanup", place, check=True)
    assert (predicted["changed"], replaced.is_dir()) == (True, True)
    removed = run_module("archive_cleanup", place)
    assert (removed["changed"], replaced.exists(), removed["files"] > 500, removed["left"]) == (True, False, True, [])
    assert not run_module("archive_cleanup", place)["changed"]
    assert rows(pair) == 1000
    refused = pair.run("rollback")
    assert refused["code"] == "stale_evidence"
    assert "nothing to go back to" in refused["msg"]


def as_user(name: str, work: Callable[[], object]) -> int:
    """The exit code of a process of this user that does the work."""
    account = pwd.getpwnam(name)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_user_who_is_not_the_owner(pair: Pair) -> None:
    """Red Hat lets nobody else enter the folder above the data, so not even its owner can be read there."""
    owner = pair.target.data_directory.owner()
    said = f"which belongs to '{owner}', and this user is 'daemon'. Set couch2pg_become_user: {owner} for this host"

    def refused() -> None:
        with pytest.raises(MigrationError, match=said) as caught:
            placement.of(pair.settings)
        assert caught.value.code == "not_owner"

    for mode in (0o755, 0o700):
        pair.target.directory.chmod(mode)
        assert as_user("daemon", refused) == 0
    # As it says.
    assert as_user(owner, lambda: placement.of(pair.settings, pair.commands)) == 0


def test_a_service_of_systemd_is_found_and_used(pair: Pair, tmp_path: Path) -> None:
    """The promotion as root, who acts as the owner of the data, and the way back; nobody says how the server is started."""
    data, owner = pair.target.data_directory, pair.target.data_directory.owner()
    pair.act_as(owner)
    pair.target.stop()
    with SystemdHost(tmp_path / "host") as host:
        program = pair.target.binaries.program("postgres")
        service = f"User={owner}\nType=exec\nExecStart={program} -D {data}\nKillSignal=SIGINT\nKillMode=mixed\n"
        host.unit("our-postgres.service", f"[Service]\n{service}")
        host.run("systemctl", "start", "our-postgres")
        pair.through, pair.commands = host.through, {}
        pair.make_copy()
        done = pair.promote()
        assert done["changed"], done
        assert (done["service"]["kind"], done["service"]["unit"]) == ("systemd", "our-postgres.service")
        assert rows(pair) == 1000
        assert host.run("systemctl", "is-active", "our-postgres").strip() == "active"
        # The role predicts as the user of the play, who may stop no service, and while couch2pg still runs.
        with closing(pair.target.connect(DATABASE)):
            assert as_user(owner, lambda: switch.back(pair.settings, pair.state, check_mode=True)) == 0
        assert as_user(owner, lambda: switch.back(pair.settings, pair.state, check_mode=False)) != 0
        assert rows(pair) == 1000
        assert pair.run("rollback")["changed"]
        assert pair.identity == pair.old_identity
    pair.through, pair.commands = [], {"stop": ["true"], "start": ["true"]}


# The server's user may not be able to read Python's own folder later.
PLACEMENT = f"""
import encodings.idna, json, sys
from {placement.__name__.rpartition(".")[0]} import placement
from {MigrationError.__module__} import MigrationError
from {acting_as.__module__} import acting_as
from {ConnectionSettings.__module__} import ConnectionSettings
owner, commands, *place = json.load(sys.stdin)
try:
    with acting_as(owner):
        found = placement.of(ConnectionSettings(*place), commands)
except MigrationError as error:
    print(json.dumps([error.code, error.message]))
else:
    print(json.dumps(["", str(found.data)]))
"""


def refusal(pair: Pair) -> tuple[str, str]:
    """Code and message of what preflight would refuse as the server's user; without a code, the data directory."""
    commands = pair.options.get("commands", pair.commands)
    place = [DATABASE, pair.target.host, pair.target.port, "postgres", pair.target.password]
    words = [*pair.through, sys.executable, "-c", PLACEMENT]
    given = json.dumps([pair.options["act_as"], commands, *place])
    code, message = json.loads(subprocess.check_output(words, input=given, text=True))
    return code, message


def pasted(pair: Pair, command: str) -> None:
    """A printed command in a shell of root."""
    subprocess.run(
        [*pair.through, "sh", "-c", command], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def test_a_folder_above_in_which_the_server_may_make_none(pair: Pair) -> None:
    """What is printed lets it, and the promotion exchanges the folders."""
    above = pair.target.directory
    pair.act_as(pair.target.data_directory.owner())
    os.chown(above, 0, 0)
    code, message = refusal(pair)
    assert code == "not_writable", message
    with pytest.raises(MigrationError) as refused:
        as_server(lambda: Owner.of(pair.target.data_directory).folder(above / "data_incoming_x"))
    commands = [text.split("As root, run: ")[1] for text in (message, refused.value.message)]
    assert commands[0] == commands[1]
    pasted(pair, commands[0])
    assert refusal(pair) == ("", str(pair.target.data_directory))
    pair.make_copy()
    assert pair.promote()["changed"]
    assert rows(pair) == 1000


def as_server(work: Callable[[], object]) -> None:
    with acting_as(pwd.getpwuid(places.server_account().uid or 0).pw_name):
        work()


@contextmanager
def a_file_system(data: Path) -> Iterator[None]:
    """The files of a data directory are on a disk of its own."""
    kept = data.with_name("files")
    data.rename(kept)
    data.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", str(data)], check=True)
    try:
        for path in kept.iterdir():
            shutil.move(path, data)
        subprocess.run(["chown", "--recursive", f"--reference={kept}", str(data)], check=True)
        kept.rmdir()
        (data / "lost+found").mkdir(mode=0o700)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(data)], check=True)


def configured_elsewhere(data: Path) -> Path:
    """The server's configuration is in another folder, as Debian has it."""
    folder = data.with_name("conf")
    folder.mkdir()
    for name in ("postgresql", "pg_hba", "pg_ident"):
        shutil.move(data / f"{name}.conf", folder)
    with (folder / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(f"hba_file = '{folder}/pg_hba.conf'\nident_file = '{folder}/pg_ident.conf'\n")
    # Moved from one disk to another, they are root's.
    subprocess.run(["chown", "--recursive", f"--reference={data}", str(folder)], check=True)
    return folder / "postgresql.conf"


@pytest.mark.parametrize("started", ["-D {}", rarely("-D ${{PGDATA}}"), "-D {} -c config_file={}", rarely("by hand")])
def test_a_data_directory_that_is_a_file_system(pair: Pair, tmp_path: Path, started: str) -> None:
    """It is moved one folder down by the printed commands, whatever says where it is; the copy takes its place there."""
    data = pair.target.data_directory
    pair.act_as(data.owner())
    pair.target.stop()
    with a_file_system(data):
        words = started.format(data, configured_elsewhere(data) if "config_file" in started else "")
        with SystemdHost(tmp_path / "host") as host:
            pair.through = host.through
            start_server(pair, host, words)
            code, message = refusal(pair)
            assert code == "mount_point", message
            pasted(pair, message.split("As root, run: ")[1])
            assert refusal(pair) == ("", f"{data}/main")
            assert {"lost+found", "main"} <= {path.name for path in data.iterdir()}
            pair.copy = data / "main_incoming_phys"
            pair.make_copy()
            assert pair.promote()["changed"]
            assert rows(pair) == 1000
            assert pair.run("rollback")["changed"]
            assert pair.identity == pair.old_identity
        pair.through = []


def start_server(pair: Pair, host: SystemdHost, words: str) -> None:
    """With these words for the program, as a unit; or by hand."""
    if words == "by hand":
        host.run(*pair.commands["start"])
        return
    data = pair.target.data_directory
    service = f"User={data.owner()}\nType=exec\nEnvironment=PGDATA={data}\nKillSignal=SIGINT\nKillMode=mixed\n"
    program = pair.target.binaries.program("postgres")
    host.unit("our-postgres.service", f"[Service]\n{service}ExecStart={program} {words}\n")
    host.run("systemctl", "start", "our-postgres")
    pair.options["commands"] = {}
