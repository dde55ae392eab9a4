# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg in a container, on a host with a real Docker: what Compose of both versions makes of its files is what counts."""

from __future__ import annotations

import json
import re
from typing import Any, Iterator
from urllib.parse import quote

import pytest
from support.couch2pg import COMPLETED
from support.docker_engine import engine
from support.hosts import Host, Hosts
from support.images import COMPOSE_SUITE, REPOSITORY
from support.module_host import couchdb, run_there, spec, sql, start_couchdb, start_postgresql

# It builds images, which takes minutes.
pytestmark = pytest.mark.long

IMAGE = f"{REPOSITORY}:{COMPOSE_SUITE}"
COUCHDB_PASSWORD = "c0uch@:/ %$x"
OLD, NEW = "old @:/%$ secret", "n@w:s/w %40$HOME${X}\\\"'#;`!é"
COUCHDB_URL = f"http://medic:{quote(COUCHDB_PASSWORD, safe='')}@127.0.0.1:5984/medic"
# Nothing of it may be taken for a quote, a variable or a comment.
UNKNOWN = "a 'b' \"c\" $HOME ${X} #d \\e %f é"
SECRETS = (OLD, NEW, COUCHDB_PASSWORD, quote(OLD, safe=""), quote(NEW, safe=""), quote(COUCHDB_PASSWORD, safe=""))

# As the documentation of cht-couch2pg has it, some names mapped onto others; containers share the host's network.
PROJECT = f"""services:
  cht-couch2pg:
    image: {IMAGE}
    network_mode: host
    restart: always
    environment:
      COUCHDB_URL: ${{COUCHDB_URL}}
      POSTGRES_SERVER_NAME: ${{POSTGRES_SERVER_NAME:-127.0.0.1}}
      POSTGRES_USER_NAME: ${{COUCH2PG_USER:-couch2pg}}
      POSTGRES_PASSWORD: ${{COUCH2PG_USER_PASSWORD}}
      POSTGRES_DB_NAME: ${{POSTGRES_DB}}
      COUCH2PG_SLEEP_MINS: ${{COUCH2PG_SLEEP_MINS:-0.05}}
      UNKNOWN: ${{UNKNOWN-}}
"""
SETTINGS = f"""# ours
COUCHDB_URL={COUCHDB_URL}
COUCH2PG_USER_PASSWORD={quote(OLD, safe="")}
POSTGRES_DB=old
UNKNOWN='kept "as it" is $HOME # and on'
"""
# The other one has names of its own, and files that Compose doesn't take by itself.
OTHER = (
    PROJECT.replace("cht-couch2pg:\n    image", "sync:\n    image")
    .replace("COUCH2PG_USER_PASSWORD", "SYNC_PASSWORD")
    .replace("${POSTGRES_DB}", "${SYNC_DATABASE:?there is no database}")
)


class Docker:
    """The host, and Compose of one version on it."""

    def __init__(self, host: Host, version: str, state: str) -> None:
        self.host = host
        self.version = version
        self._options = {"migration_id": "m1", "state_dir": state}

    def module(self, name: str, check: bool = False, stateless: bool = False, **options: Any) -> dict[str, Any]:
        """The result of a module, which shows no secret."""
        given = {**({} if stateless or name == "info" else self._options), **options}
        result = run_there(self.host, f"couch2pg_{name}", given, check=check)
        shown = json.dumps({**result, "settings_json": ""}, ensure_ascii=False)
        assert not [secret for secret in SECRETS if secret in shown], result
        return result

    def service(self, state: str | None = None, check: bool = False, **deployment: Any) -> dict[str, Any]:
        return self.module("service", check, True, **({"state": state} if state else {}), deployment=deployment)

    def log(self, log: dict[str, Any], **options: Any) -> dict[str, Any]:
        return self.module("log_info", stateless=True, log=log, **options)

    def compose(self, folder: str, *words: str) -> str:
        program = "docker-compose" if self.version == "1" else "docker compose"
        return self.host.run("sh", "-c", f'cd {folder} && {program} "$@"', "sh", *words)

    def variables(self, container: str) -> dict[str, str]:
        """What a container was really given, without what its image brings."""
        shown = json.loads(self.host.run("docker", "inspect", container))[0]["Config"]["Env"]
        brought = json.loads(self.host.run("docker", "image", "inspect", IMAGE))[0]["Config"]["Env"]
        return dict(entry.split("=", 1) for entry in shown if entry not in brought)

    def policy(self, project: str) -> str:
        """The restart policy of a project's container."""
        container = self.host.run("docker", "ps", "--all", "--quiet", "--filter", f"name={project}").strip()
        return self.host.run("docker", "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", container).strip()

    def wait(self, condition: str) -> None:
        self.host.run("sh", "-c", f"until {condition}; do sleep 0.2; done", seconds=300)

    def text(self, path: str) -> str:
        return self.host.run("cat", path)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with engine() as docker, Hosts(docker, tmp_path_factory.mktemp("hosts"), [spec("app", compose=True)]) as hosts:
        made = hosts["app"]
        start_postgresql(made)
        sql(made, "CREATE ROLE couch2pg LOGIN")
        start_couchdb(made, COUCHDB_PASSWORD)
        couchdb(made, COUCHDB_PASSWORD, "PUT", "/medic/one", {"type": "person"})
        yield made


@pytest.fixture(params=["2", "1"])
def docker(host: Host, request: pytest.FixtureRequest) -> Iterator[Docker]:
    """Version 2 is a plugin, which comes first; where it is missing, version 1 is taken."""
    plugin, aside = "/usr/local/lib/docker/cli-plugins/docker-compose", "/opt/docker-compose-plugin"
    if request.param == "1":
        host.run("mv", plugin, aside)
    for name in ("old", "new"):
        sql(host, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        sql(host, f"CREATE DATABASE {name} OWNER couch2pg")
    sql(host, f"ALTER ROLE couch2pg PASSWORD $p${OLD}$p$")
    state = f"/root/state-{request.param}"
    try:
        yield Docker(host, request.param, state)
    finally:
        host.run("sh", "-c", "docker ps --all --quiet | xargs --no-run-if-empty docker rm --force")
        host.run("docker", "volume", "rm", "--force", "lost")
        host.run("rm", "-rf", "/opt/one", "/opt/two", state)
        if request.param == "1":
            host.run("mv", aside, plugin)


def test_couch2pg_goes_from_one_project_to_another(docker: Docker) -> None:
    runs_and_is_captured(docker)
    captured = docker.module("info", with_secrets=True, deployment={"project_dir": "/opt/one"})["settings_json"]
    docker.host.put("/opt/two/sync.yml", OTHER)
    docker.host.put("/opt/two/sync.env", "# theirs\nSYNC_DATABASE=another\nCOUCH2PG_SLEEP_MINS=60\n", mode="0640")
    deployment = {
        "kind": "compose", "project_dir": "/opt/two", "compose_files": ["sync.yml"], "env_files": ["sync.env"]
    }  # fmt: skip
    carried = gets_its_settings(docker, captured, deployment)
    is_healthy(docker, carried)
    restarts_forever(docker, carried)
    is_stopped(docker, carried["deployment"])


def runs_and_is_captured(docker: Docker) -> None:
    assert docker.module("info")["found"] is False
    docker.host.put("/opt/one/docker-compose.yml", PROJECT)
    docker.host.put("/opt/one/.env", SETTINGS)
    before = docker.module("info", deployment={"project_dir": "/opt/one"})
    assert (before["running"], before["found"]) == (False, True)
    docker.compose("/opt/one", "up", "--detach")
    found = docker.module("info", with_secrets=True)
    assert (found["changed"], found["running"], found["image"]) == (False, True, IMAGE)
    assert (found["deployment"]["kind"], found["deployment"]["project_dir"]) == ("compose", "/opt/one")
    (container,) = docker.host.run("docker", "ps", "--quiet", "--no-trunc").split()
    given = docker.variables(container)
    assert given["UNKNOWN"] == 'kept "as it" is $HOME # and on'
    stored = json.loads(found["settings_json"])
    assert (stored["variables"], stored["style"]) == (given, "entrypoint")
    assert found["postgres"] == {
        "host": "127.0.0.1", "port": 5432, "database": "old", "user": "couch2pg", "encrypted": False
    }  # fmt: skip
    (problem,) = found["problems"]
    assert "readable for every user" in problem
    # The container by itself tells the same.
    name = docker.host.run("docker", "inspect", "--format", "{{.Name}}", container).lstrip("/")
    alone = docker.module("info", deployment={"kind": "compose", "container": name}, with_secrets=True)
    assert json.loads(alone["settings_json"])["variables"] == given
    assert alone["deployment"]["log"] == {"kind": "docker", "container": name}
    # A file that was changed since is not what it has.
    docker.host.put("/opt/one/.env", SETTINGS.replace("POSTGRES_DB=old", "POSTGRES_DB=other"), mode="0600")
    (problem,) = docker.module("info")["problems"]
    assert "still has the old value of POSTGRES_DB_NAME" in problem
    docker.host.put("/opt/one/.env", SETTINGS, mode="0600")
    docker.wait(f"docker logs {container} 2>&1 | grep --quiet '{COMPLETED}'")
    assert docker.log(found["deployment"]["log"])["summary"]["runs_completed"] >= 1


def gets_its_settings(docker: Docker, captured: str, deployment: dict[str, Any]) -> dict[str, Any]:
    place = {"password": NEW, "host": "localhost", "database": "new"}
    settings = json.loads(captured)
    settings["variables"]["UNKNOWN"] = UNKNOWN
    options = {"settings": json.dumps(settings), "postgres": place, "deployment": deployment}
    predicted = docker.module("settings", check=True, **options)
    assert docker.text("/opt/two/sync.env").splitlines()[1] == "SYNC_DATABASE=another"
    carried = docker.module("settings", **options)
    assert not carried.get("failed"), carried
    assert carried["files"] == predicted["files"] == ["/opt/two/sync.env"]
    assert (carried["changed"], carried["running"], carried["postgres"]["database"]) == (True, False, "new")
    after = docker.text("/opt/two/sync.env")
    assert after.startswith("# theirs\nSYNC_DATABASE=new\n")
    assert docker.host.run("stat", "--format=%a", "/opt/two/sync.env") == "640"
    assert "another" in docker.text("/opt/two/sync.env.before-m1")
    assert carried["deployment"]["service"] == "sync"
    assert carried["log"] == {
        "kind": "compose", "project_dir": "/opt/two", "service": "sync",
        "compose_files": ["sync.yml"], "env_files": ["sync.env"],
    }  # fmt: skip
    again = docker.module("settings", **options)
    assert (again["changed"], again["files"]) == (False, [])
    return carried


def is_healthy(docker: Docker, carried: dict[str, Any]) -> None:
    sql(docker.host, f"ALTER ROLE couch2pg PASSWORD $p${NEW}$p$")
    since = docker.log(carried["log"], position_only=True)["position"]
    predicted = docker.service("started", check=True, **carried["deployment"])
    assert (predicted["changed"], docker.service(**carried["deployment"])["running"]) == (True, False)
    started = docker.service("started", **carried["deployment"])
    (container,) = docker.host.run("docker", "ps", "--quiet", "--no-trunc", "--filter", "name=two").split()
    assert (started["process"]["container"], started["process"]["restarts"]) == (container, 0)
    given = docker.variables(container)
    effective = json.loads(docker.text(carried["settings_file"]))["variables"]
    assert given == effective
    assert (given["UNKNOWN"], given["POSTGRES_PASSWORD"]) == (UNKNOWN, quote(NEW, safe=""))
    health = docker.module(
        "health", settings_file=carried["settings_file"], log=carried["log"], since=since, process=started["process"]
    )
    assert not health.get("failed"), health
    assert health["errors"] == []
    assert all(entry["current"] for entry in health["sync"])
    assert sql(docker.host, "SELECT count(*) FROM couchdb", "new") == "1"
    assert not docker.service("started", **carried["deployment"])["changed"]
    # Two of them on one host are not chosen from.
    assert docker.module("info")["code"] == "ambiguous"
    # What is written later reaches the container when it is started again, which is another one then.
    changed = docker.text("/opt/two/sync.env").replace("COUCH2PG_SLEEP_MINS=0.05", "COUCH2PG_SLEEP_MINS=0.06")
    docker.host.put("/opt/two/sync.env", changed, mode="0640")
    restarted = docker.service("started", **carried["deployment"])["process"]
    assert docker.variables(restarted["container"])["COUCH2PG_SLEEP_MINS"] == "0.06"
    assert restarted["container"] != container


def restarts_forever(docker: Docker, carried: dict[str, Any]) -> None:
    """With another password it ends, and Docker starts it again and again."""
    process = docker.service(**carried["deployment"])["process"]
    since = docker.log(carried["log"], position_only=True)["position"]
    sql(docker.host, f"ALTER ROLE couch2pg PASSWORD $p${OLD}$p$")
    docker.host.run("docker", "restart", process["container"])
    options = {"settings_file": carried["settings_file"], "log": carried["log"], "since": since}
    result = docker.module("health", **options, process=process)
    assert result["code"] in ("couch2pg_ended", "couch2pg_restarted"), result
    # Docker itself counts, and the log shows it even without knowing the process.
    docker.wait(f"[ $(docker inspect --format '{{{{.RestartCount}}}}' {process['container']}) -ge 2 ]")
    again = docker.service(**carried["deployment"])["process"]
    assert again["restarts"] >= 2
    looping = docker.module("health", **options)
    assert looping["code"] == "couch2pg_restarted"
    assert [seen["kind"] for seen in looping["details"]["errors"]] == ["bad_password"]
    sql(docker.host, f"ALTER ROLE couch2pg PASSWORD $p${NEW}$p$")


def is_stopped(docker: Docker, deployment: dict[str, Any]) -> None:
    assert docker.service("stopped", check=True, **deployment)["changed"]
    assert docker.service("stopped", **deployment)["running"] is False
    assert not docker.service("stopped", **deployment)["changed"]
    # "always" brings it back with Docker, stopped or not, unless it is stopped for good; a start takes that back.
    for_good = {"state": "stopped", "disabled": True, "deployment": deployment}
    stopped = docker.module("service", stateless=True, **for_good)
    assert (stopped["changed"], stopped["running"], stopped["starts_itself"]) == (True, False, False)
    assert docker.policy("two") == "no"
    assert not docker.module("service", stateless=True, **for_good)["changed"]
    assert docker.service("started", **deployment)["starts_itself"] is True
    assert docker.policy("two") == "always"
    # Also where the run that started it was killed before that.
    docker.host.run("sh", "-c", "docker update --restart=no $(docker ps --all --quiet --filter name=two)")
    assert docker.service("started", **deployment)["changed"]
    assert docker.policy("two") == "always"
    assert not docker.service("started", **deployment)["changed"]
    assert docker.service("stopped", **deployment)["running"] is False
    # The other one was left alone, and its container is stopped and started by its name, too.
    (name,) = docker.host.run("docker", "ps", "--format", "{{.Names}}").split()
    alone = {"kind": "compose", "container": name}
    assert docker.service("stopped", **alone)["running"] is False
    assert docker.service("started", **alone)["running"] is True
    stranger = {"kind": "compose", "project_dir": "/opt/two", "compose_files": ["sync.yml"], "env_files": ["sync.env"]}
    refused = docker.service("started", **stranger, container=name)
    assert (refused["code"], "UNKNOWN" in refused["details"]["variables"]) == ("settings_not_taken", True)


def test_a_container_of_postgresql_is_not_couch2pg(docker: Docker) -> None:
    """Whatever its image is called: Compose names an image that it builds after the project."""
    docker.host.run("docker", "tag", IMAGE, "cht-couch2pg-postgres")
    server = ["--detach", "--env=PGDATA=/data", "--entrypoint=sleep", "cht-couch2pg-postgres", "infinity"]
    docker.host.run("docker", "run", *server)
    assert docker.module("info")["found"] is False


def test_one_that_docker_run_has_started(docker: Docker) -> None:
    """It is stopped and started as it is; it gets other settings as the message says."""
    name, deployment = "couch2pg-alone", {"kind": "compose", "container": "couch2pg-alone"}
    variables = {
        "COUCHDB_URL": COUCHDB_URL, "POSTGRES_SERVER_NAME": "127.0.0.1", "POSTGRES_USER_NAME": "couch2pg",
        "POSTGRES_PASSWORD": quote(OLD, safe=""), "POSTGRES_DB_NAME": "old", "COUCH2PG_SLEEP_MINS": "0.05",
    }  # fmt: skip
    given = [f"--env={key}={value}" for key, value in variables.items()]
    docker.host.run("docker", "run", "--detach", f"--name={name}", "--network=host", "--restart=always", *given, IMAGE)
    captured = docker.module("info", with_secrets=True)
    assert captured["deployment"]["kind"] == "compose"
    assert docker.log({"kind": "docker", "container": name})["summary"]["starts"] <= 1
    options = {"state": "stopped", "disabled": True, "deployment": deployment}
    assert docker.module("service", stateless=True, **options)["starts_itself"] is False
    assert docker.service("started", **deployment)["running"] is True
    change = {"settings": captured["settings_json"], "postgres": {"database": "new"}}
    refused = docker.module("settings", **change, deployment=deployment)
    assert refused["code"] == "deployment", refused
    commands = re.search(r"prints: (.*?); remove the container: (.*?);", refused["msg"])
    assert commands, refused["msg"]
    show, remove = commands.groups()
    shown = json.loads(docker.host.run("sh", "-c", show))
    assert set(given) <= {f"--env={entry}" for entry in shown}
    docker.host.run("sh", "-c", remove)
    gone = docker.log({"kind": "docker", "container": name})
    assert gone["code"] == "log_unreadable"
    assert "docker ps --all shows" in gone["msg"]
    docker.host.put("/opt/one/docker-compose.yml", PROJECT)
    done = docker.module("settings", **change, deployment={"kind": "compose", "project_dir": "/opt/one"})
    assert not done.get("failed"), done
    docker.service("started", **done["deployment"])
    docker.wait(f"docker logs $(docker ps --quiet --filter name=one) 2>&1 | grep --quiet '{COMPLETED}'")


def test_what_a_compose_file_does_not_let_through_is_said(docker: Docker) -> None:
    variables = {
        "COUCHDB_URL": COUCHDB_URL, "POSTGRES_SERVER_NAME": "127.0.0.1", "POSTGRES_USER_NAME": "couch2pg",
        "POSTGRES_PASSWORD": quote(OLD, safe=""), "POSTGRES_DB_NAME": "old",
    }  # fmt: skip
    deployment = {"project_dir": "/opt/one"}

    def settings(text: str, **more: str) -> dict[str, Any]:
        docker.host.put("/opt/one/docker-compose.yml", text)
        given = json.dumps({"format": 1, "style": "entrypoint", "variables": {**variables, **more}})
        return docker.module("settings", settings=given, postgres={"password": NEW}, deployment=deployment)

    fixed = settings(PROJECT.replace("${COUCH2PG_USER_PASSWORD}", "always-the-same"))
    assert (fixed["code"], fixed["details"]["variables"]) == ("compose_hard_coded", ["POSTGRES_PASSWORD"])
    assert docker.host.run("ls", "/opt/one") == "docker-compose.yml"
    line = fixed["msg"].split("Write there ")[1].split(", and run again")[0]
    written = settings(PROJECT.replace("POSTGRES_PASSWORD: ${COUCH2PG_USER_PASSWORD}", line))
    assert not written.get("failed"), written
    docker.host.run("rm", "/opt/one/.env")
    shared = "  db:\n    image: postgres\n    environment:\n      POSTGRES_PASSWORD: ${COUCH2PG_USER_PASSWORD}\n"
    told = settings(PROJECT + shared, NEWER="1", COUCH2PG_SLEEP_MINS="60")
    assert [
        word
        for word in ("NEWER is set on the source", "also set values of db")
        if word not in " ".join(told["problems"])
    ] == []
    assert docker.host.run("stat", "--format=%a", "/opt/one/.env") == "600"
    broken = settings(PROJECT.replace("services:", "services: ["))
    assert broken["code"] == "compose_refuses"
    # The printed command fails until the file is right.
    command = broken["msg"].split("until this succeeds: ")[1].rstrip(".")
    docker.host.run("sh", "-c", f"! ({command})")
    docker.host.put("/opt/one/docker-compose.yml", PROJECT)
    docker.host.run("sh", "-c", command)


def test_a_project_is_installed_and_runs(docker: Docker) -> None:
    """What goes is the compose file alone; the settings come after it."""
    docker.host.put("/opt/one/docker-compose.yml", PROJECT)
    docker.host.put("/opt/one/.env", SETTINGS, mode="0600")
    captured = docker.module("info", with_secrets=True, deployment={"project_dir": "/opt/one"})["settings_json"]
    docker.module("bundle", deployment={"project_dir": "/opt/one"})
    deployment = {"kind": "compose", "project_dir": "/opt/two"}
    options = {"side": "target", "settings": captured, "deployment": deployment, "install": True}
    predicted = docker.module("preflight", stateless=True, **options)
    assert (predicted["found"], predicted["findings"][-1]["status"]) == (False, "warning")
    made = docker.module("bundle", state="installed", deployment=deployment)
    assert (made["files"], made["image"], made["ready"]) == (["/opt/two/docker-compose.yml"], IMAGE, True)
    assert docker.text("/opt/two/docker-compose.yml") == PROJECT.strip()
    assert docker.service(**deployment)["running"] is False
    place = {"database": "new"}
    carried = docker.module("settings", settings=captured, postgres=place, deployment=deployment)
    assert (carried["files"], docker.host.run("stat", "--format=%a", "/opt/two/.env")) == (["/opt/two/.env"], "600")
    process = docker.service("started", **carried["deployment"])["process"]
    docker.wait(f"docker logs {process['container']} 2>&1 | grep --quiet '{COMPLETED}'")
    assert sql(docker.host, "SELECT count(*) FROM couchdb", "new") == "1"
    assert not docker.module("bundle", state="installed", deployment=deployment)["changed"]


def shell(docker: Docker, command: str) -> str:
    """A printed command, pasted into a shell as it stands. It must succeed."""
    return docker.host.run("sh", "-c", command)


def printed(pattern: str, message: str) -> str:
    """The command in a message."""
    found = re.search(pattern, message)
    assert found, message
    return found[1]


def test_a_service_that_compose_does_not_start(docker: Docker) -> None:
    """The printed command says why, and does it once the cause is gone."""
    deployment = {"project_dir": "/opt/one"}
    volumes = "    volumes: [lost:/lost]\nvolumes:\n  lost: {external: true}\n"
    docker.host.put("/opt/one/docker-compose.yml", PROJECT + volumes)
    docker.host.put("/opt/one/.env", SETTINGS, mode="0600")
    refused = docker.service("started", **deployment)
    assert refused["code"] == "service_failed", refused
    command = printed(r"Run it yourself to see all that it says: (.*)$", refused["msg"]).rstrip(".")
    assert re.search('volume "?lost"? .*not .*found|olume lost .*not be found', shell(docker, f"! ({command}) 2>&1"))
    docker.host.run("docker", "volume", "create", "lost")
    shell(docker, command)
    assert docker.service("started", **deployment)["running"] is True


def test_a_service_that_ends_at_once(docker: Docker) -> None:
    ending = PROJECT.replace("restart: always", 'entrypoint: [sh, -c, "echo it has no reason; exit 3"]')
    docker.host.put("/opt/one/docker-compose.yml", ending)
    docker.host.put("/opt/one/.env", SETTINGS, mode="0600")
    refused = docker.service("started", project_dir="/opt/one")
    assert refused["code"] == "service_failed", refused
    assert "it has no reason" in shell(docker, printed(r"(docker logs \S+ \S+) shows why", refused["msg"]))
    docker.host.put("/opt/one/docker-compose.yml", PROJECT)
    assert docker.service("started", project_dir="/opt/one")["running"] is True


def test_a_service_with_two_containers(docker: Docker) -> None:
    docker.host.put("/opt/one/docker-compose.yml", PROJECT)
    docker.host.put("/opt/one/.env", SETTINGS, mode="0600")
    docker.compose("/opt/one", "up", "--detach", "--scale", "cht-couch2pg=2")
    refused = docker.service(project_dir="/opt/one")
    assert refused["code"] == "ambiguous", refused
    left = refused["details"]["containers"][0]
    shell(docker, printed(r"\((docker rm --force .*?) leaves", refused["msg"]))
    found = docker.service(project_dir="/opt/one")
    assert (found["running"], found["process"]["container"]) == (True, left)


def test_names_that_are_wrong(docker: Docker) -> None:
    """The printed command shows the right one."""
    docker.host.put("/opt/one/docker-compose.yml", PROJECT)
    docker.host.put("/opt/one/.env", SETTINGS, mode="0600")
    docker.compose("/opt/one", "up", "--detach")
    log = {"kind": "compose", "project_dir": "/opt/one", "service": "lost"}
    refused = docker.log(log)
    assert refused["code"] == "log_unreadable", refused
    (service,) = shell(docker, printed(r"(cd .*?) shows the project's services", refused["msg"])).split()
    assert not docker.log({**log, "service": service}).get("failed")

    def server(name: str) -> dict[str, Any]:
        return run_there(docker.host, "postgres_info", {"database": "old", "kind": "container", "container": name})

    refused = server("one/lost")
    assert refused["code"] == "container_missing", refused
    shown = shell(docker, printed(r"; (docker .*) shows ", refused["msg"])).split()
    assert shown == ["one/cht-couch2pg"]
    found = server(shown[0])
    docker.host.run("docker", "stop", found["container"])
    stopped = server(shown[0])
    assert stopped["code"] == "container_stopped", stopped
    shell(docker, printed(r"\((docker start .*?)\)", stopped["msg"]))
    assert server(shown[0])["container"] == found["container"]


def test_a_container_that_keeps_its_variables(docker: Docker) -> None:
    """couch2pg's entrypoint gives up; a correction reaches it in another container, which the printed command makes."""
    hasty = PROJECT + "      WAIT_THRESHOLD: 1\n      SLEEP_SECONDS: 0.1\n"
    docker.host.put("/opt/one/docker-compose.yml", hasty)
    docker.host.put("/opt/one/.env", SETTINGS, mode="0600")
    captured = docker.module("info", with_secrets=True, deployment={"project_dir": "/opt/one"})["settings_json"]
    place = {"password": OLD, "host": "127.0.0.1", "database": "old"}
    done = docker.module("settings", settings=captured, postgres=place, deployment={"project_dir": "/opt/one"})
    assert not done.get("failed"), done
    right = docker.text("/opt/one/.env")
    docker.host.put("/opt/one/.env", right.replace("/medic\n", "/lost\n") + "\n", mode="0600")
    docker.compose("/opt/one", "up", "--detach")
    options = {"settings_file": done["settings_file"], "log": done["log"]}
    refused = docker.module("health", **options)
    (seen,) = refused["details"]["errors"]
    assert seen["kind"] == "entrypoint_no_couchdb", refused
    docker.host.put("/opt/one/.env", right + "\n", mode="0600")
    shell(docker, printed(r"for this service only: (.*)$", seen["remedy"]))
    since = docker.log(done["log"], position_only=True)["position"]
    health = docker.module("health", **options, since=since)
    assert not health.get("failed"), health
