# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL in a container, as medic's stock Compose project has it: superuser postgres_root, a named volume, no role postgres."""

from __future__ import annotations

import json
import re
from typing import Any, Iterator

import pytest
from support.docker_engine import engine
from support.hosts import Host, Hosts
from support.module_host import run_there, spec
from support.stock import PASSWORD, Stock

# It builds images, which takes minutes.
pytestmark = pytest.mark.long

OLD, NEW = "bullseye", "trixie"
# So many that a program with a limit is still there when a test looks.
ROWS = 100_000
TABLES = f"""
SET ROLE cht_couch2pg;
CREATE TABLE couchdb (doc jsonb);
INSERT INTO couchdb SELECT jsonb_build_object('_id', n::text, 'type', 'person', 'text', repeat(md5(n::text), 30))
FROM generate_series(1, {ROWS}) AS n;
CREATE UNIQUE INDEX couchdb_doc_uuid ON couchdb ((doc ->> '_id'));
CREATE TABLE couchdb_progress (seq varchar, source varchar);
"""


def helpers(host: Host) -> list[str]:
    """The helper containers, also those that have ended."""
    return host.run("docker", "ps", "--all", "--quiet", "--filter", "label=cht.couch2pg.job").split()


def begin(source: Stock, **limits: Any) -> dict[str, Any]:
    """Start a dump that lasts until its limit is lifted, and wait until pg_dump runs, as nice as it shall be. Its options."""
    options = {"staging_dir": "/srv/staging", "compression": "none", "rate_limit": 4_000_000, "job_wait": 0.5, **limits}
    source.host.run("rm", "-rf", "/root/state", "/srv/staging")
    assert source.work("pg_dump", **options)["job"]["status"] == "running"
    # It is asked for its version first.
    running = f"ps -eo ni,comm,args | grep -q '^ *{limits.get('nice', 0)} pg_dump .*--file='"
    source.host.run("sh", "-c", f"until {running}; do sleep 0.2; done; sleep 2")
    return options


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    wanted = spec("database", compose=True, postgres=(OLD, NEW))
    with engine() as docker, Hosts(docker, tmp_path_factory.mktemp("hosts"), [wanted]) as hosts:
        yield hosts["database"]


@pytest.fixture(scope="module")
def source(host: Host) -> Stock:
    made = Stock(host, "old", OLD, '"5433:5432"')
    made.sql(TABLES)
    return made


@pytest.fixture(scope="module")
def target(source: Stock) -> Stock:
    return Stock(source.host, "new", NEW)


def test_the_only_server_is_found(host: Host, source: Stock) -> None:
    found = run_there(host, "postgres_info", {"database": "cht"})
    assert (found["kind"], found["container"], found["changed"]) == ("container", source.name, False)
    assert found["user"] == "postgres_root"
    assert found["published"] == {"host": "127.0.0.1", "port": 5433, "outside": True}


@pytest.mark.usefixtures("target")
def test_of_two_the_one_with_the_database_is_found(host: Host, source: Stock) -> None:
    ambiguous = run_there(host, "postgres_info", {"database": "cht"})
    assert ambiguous["code"] == "ambiguous"
    assert "couch2pg_postgres: {kind: container, container: " in ambiguous["msg"]
    source.sql("CREATE DATABASE only_here")
    assert run_there(host, "postgres_info", {"database": "only_here"})["container"] == source.name
    source.sql("DROP DATABASE only_here")


@pytest.mark.usefixtures("source")
def test_a_server_on_the_host_and_one_in_a_container(host: Host) -> None:
    host.run("sh", "-c", 'pg_createcluster --start "$(ls /usr/lib/postgresql)" main')
    try:
        both = run_there(host, "postgres_info", {"database": "cht"})
        assert (both["code"], "PostgreSQL runs on this host" in both["msg"]) == ("ambiguous", True)
        assert run_there(host, "postgres_info", {"database": "not_there"})["kind"] == "host"
    finally:
        host.run("sh", "-c", 'pg_dropcluster --stop "$(ls /usr/lib/postgresql)" main')


def test_disk_plan_knows_the_volume(source: Stock, target: Stock) -> None:
    measured = source.module("disk_space_info", side="source")
    plan = target.module("disk_space_info", side="target", sizes=measured["sizes"])
    assert plan["unknown"] == []
    paths = {need["use"]: need["path"] for place in plan["file_systems"] for need in place["needs"]}
    assert paths["database"].startswith("/var/lib/docker/volumes/new-data/_data/")


@pytest.mark.parametrize("form", ["directory", "tar"])
def test_the_database_moves_with_the_programs_of_the_images(source: Stock, target: Stock, form: str) -> None:
    host = source.host
    host.run("rm", "-rf", "/root/state", "/srv/staging")
    dumped = source.work("pg_dump", staging_dir="/srv/staging", format=form)
    assert dumped["rows"] == ROWS
    assert host.run("find", "/srv/staging", "(", "-not", "-user", "root", "-o", "-perm", "/077", ")", "-print") == ""
    restored = target.work(
        "pg_restore", incoming="cht_incoming", archive=dumped["archive"], replace_existing=True, tablespaces="keep"
    )
    assert restored["rows"] == ROWS
    verified = target.work("verify", database="cht_incoming", archive=dumped["archive"])
    assert verified["tables"]
    assert target.sql("SELECT count(*) FROM couchdb", "cht_incoming") == str(ROWS)
    assert helpers(host) == []
    target.sql("DROP DATABASE cht_incoming", "postgres")


def test_the_rows_are_streamed_from_container_to_container(source: Stock, target: Stock) -> None:
    """On one machine neither has to publish a port, and neither password has to be given."""
    host = source.host
    host.run("rm", "-rf", "/root/state", "/srv/staging")
    done = target.work(
        "pg_stream",
        source={"database": "cht", "login_container": source.name},
        incoming="cht_streamed",
        archive="/srv/staging/m1",
    )
    assert done["rows"] == ROWS
    assert helpers(host) == []
    target.sql("DROP DATABASE cht_streamed", "postgres")


def test_the_files_of_a_server_in_a_container_are_not_copied(source: Stock, target: Stock) -> None:
    """Neither from there nor to there. The method that the sentence names works, as the test before shows."""
    place = {"migration_id": "m1", "state_dir": "/root/state", "archive": "/srv/staging/m1"}
    on_host = {"database": "cht", "login_host": "127.0.0.1"}
    refused = target.module("pg_physical", check=True, source=on_host, **place)
    assert (refused["code"], target.name in refused["msg"]) == ("container", True), refused
    assert "Set couch2pg_method to stream, or to archive." in refused["msg"]
    inside = {"database": "cht", "login_container": source.name}
    refused = run_there(source.host, "pg_physical", {**on_host, "source": inside, **place}, check=True)
    assert (refused["code"], source.name in refused["msg"]) == ("container", True), refused
    assert "Use couch2pg_method: stream." in refused["msg"]


def test_a_service_of_compose_is_its_container(source: Stock) -> None:
    found = run_there(source.host, "postgres_info", {"database": "cht", "container": "old/postgres"})
    assert (found["container"], found["published"]) == (
        source.name,
        {"host": "127.0.0.1", "port": 5433, "outside": True},
    )
    assert run_there(source.host, "table_info", {"database": "cht", "login_container": "old/postgres"})["tables"]
    missing = run_there(source.host, "postgres_info", {"database": "cht", "container": "old/postgresql"})
    assert missing["msg"].startswith(
        "No container of this host belongs to the service 'postgresql' of the Compose project 'old'."
    )


def test_preflight_says_whether_limits_reach_it(source: Stock) -> None:
    place = {"migration_id": "m1", "state_dir": "/root/state", "staging_dir": "/srv/staging", "side": "source"}
    found = {one["name"]: one for one in source.module("preflight", limited=True, **place)["findings"]}
    assert (found["limits"]["status"], found["limits"]["message"]) == (
        "ok",
        "couch2pg_nice and couch2pg_io_class apply to the server's processes, too",
    )


def test_limits_reach_the_server_in_the_container(source: Stock) -> None:
    host = source.host
    slow = begin(source, nice=15)
    # One line for each: backends and the program, both in containers.
    nice = host.run("sh", "-c", 'ps -eo ni,comm | awk \'$2 == "postgres" || $2 == "pg_dump"\' | sort | uniq -c')
    assert {line.split()[2] for line in nice.splitlines() if line.split()[1] == "15"} == {"postgres", "pg_dump"}, nice
    (helper,) = helpers(host)
    assert PASSWORD not in host.run("docker", "inspect", helper)
    assert "r00t" not in host.run("sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' '")
    # Killed, all of it, as the kernel does when memory runs out. The next run removes what is left.
    host.run("sh", "-c", "pkill --signal KILL --full 'jobs[.]runner'; sleep 1")
    assert source.work("pg_dump", **{**slow, "rate_limit": 0, "job_wait": None})["rows"] == ROWS
    assert helpers(host) == []


def test_a_killed_job_leaves_no_container(source: Stock) -> None:
    """Its worker, which uses most memory, is what the kernel kills."""
    host = source.host
    begin(source)
    host.run("sh", "-c", "kill -KILL $(cat /root/state/m1/jobs/dump/lock)")
    host.run(
        "sh", "-c", 'until [ -z "$(docker ps --all --quiet --filter label=cht.couch2pg.job)" ]; do sleep 0.2; done'
    )
    assert host.run("sh", "-c", "ps -eo comm | grep -c '^pg_dump$' || true").strip() == "0"


def test_a_cancelled_job_leaves_no_container(source: Stock) -> None:
    host = source.host
    begin(source)
    assert len(helpers(host)) == 1
    stopped = run_there(host, "job", {"migration_id": "m1", "state_dir": "/root/state", "state": "stopped"})
    assert not stopped.get("failed"), stopped
    assert helpers(host) == []


def test_a_restarted_engine_ends_the_job_with_a_sentence(source: Stock) -> None:
    host = source.host
    slow = begin(source)
    host.run("systemctl", "restart", "docker")
    stopped = source.module("pg_dump", migration_id="m1", state_dir="/root/state", **slow)
    assert stopped["code"] == "container_stopped", stopped
    assert f"docker start {source.name}" in stopped["msg"]
    host.run("docker", "start", source.name)
    source.wait()
    # The dump has lost its server, and ends. The next run begins it again.
    result = "/root/state/m1/jobs/dump/result.json"
    host.run("sh", "-c", f"until [ -s {result} ]; do sleep 0.2; done")
    ended = json.loads(host.run("cat", result))
    assert ended["status"] == "failed", ended
    assert ended["error"]["code"] in ("pg_dump_failed", "snapshot_lost", "connection_lost"), ended
    assert source.work("pg_dump", **{**slow, "rate_limit": 0, "job_wait": None})["rows"] == ROWS
    assert helpers(host) == []


def test_a_wrong_password_names_the_container(source: Stock) -> None:
    refused = source.module("table_info", login_password="wrong")
    assert (refused["code"], source.name in refused["msg"]) == ("authentication", True)


def test_stopped_containers_are_started_as_it_is_said(host: Host, source: Stock) -> None:
    running = host.run("docker", "ps", "--quiet").split()
    host.run("docker", "stop", *running)
    stopped = run_there(host, "postgres_info", {"database": "cht", "kind": "container"})
    assert stopped["code"] == "container_stopped", stopped
    commands = re.findall(r"docker start \S+(?=, then run again)", stopped["msg"])
    assert len(commands) == 1, stopped
    host.run("sh", "-c", commands[0])
    found = run_there(host, "postgres_info", {"database": "cht", "kind": "container"})
    assert found["container"] == commands[0].split()[-1]
    host.run("docker", "start", *running)
    source.wait()


def test_a_port_is_published_by_the_printed_command(host: Host) -> None:
    """The container is another one then, with the same volume."""
    made = Stock(host, "hidden", OLD)
    made.sql("CREATE TABLE kept ()")
    asked = {"database": "cht", "container": made.name}
    before = run_there(host, "postgres_info", asked)
    assert before["published"] == {}
    file = "/opt/hidden/docker-compose.yml"
    host.run("sed", "-i", 's/ports: .*/ports: ["5439:5432"]/', file)
    host.run("sh", "-c", before["recreate_command"])
    made.wait()
    after = run_there(host, "postgres_info", asked)
    assert after["published"] == {"host": "127.0.0.1", "port": 5439, "outside": True}
    assert made.sql("SELECT count(*) FROM kept") == "0"
    host.run("docker", "rm", "--force", made.name)
