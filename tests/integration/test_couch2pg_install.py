# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg goes from one real systemd to another that has none of it, runs there, and takes no secret along on the way."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import couch2pg, node, seed
from support.cases import rarely
from support.clusters import Cluster
from support.couchdb import CouchDB
from support.migration import environment
from support.modules import run_module
from support.systemd import SystemdHost

PASSWORD = "p@s:s/w %40$HOME"
# Within /etc, which each of these hosts has for itself, and which a unit's own user can reach.
APP, RUNTIME = "/etc/opt/couch2pg", "/etc/opt/node-20"
NODE = f"{RUNTIME}/bin/node"
# What the daemon loads.
REQUIRED = ("couch2pg", "loglevel", "loglevel-message-prefix", "pg-promise", "pouchdb-adapter-http", "pouchdb-core")
SECRETS = ("p@s:s", "p%40s", "s3cr", "old-secret", "npm-token")
UNIT = f"""[Unit]
Description=couch2pg of ours
# Environment=POSTGRESQL_URL=postgres://a:old-secret@b/cht

[Service]
User=cht-couch2pg
Environment="OTHER_TOKEN=s3cret-one" \\
    # between
    COUCH2PG_DEBUG=true
WorkingDirectory={APP}
ExecStart={NODE} {APP}/daemon.js
EnvironmentFile={APP}/couch2pg.env
StandardOutput=append:{APP}/run.log
StandardError=inherit
[Install]
WantedBy=multi-user.target
"""
MORE = "[Service]\nEnvironment=DROP_IN_SECRET=s3cret-two\nRestartSec=7\n"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SystemdHost, SystemdHost]]:
    folder = tmp_path_factory.mktemp("hosts")
    with SystemdHost(folder / "source") as source, SystemdHost(folder / "target") as target:
        yield source, target


class Side:
    """The modules on one host. None of them may show a secret."""

    def __init__(self, host: SystemdHost | None, state: Path, variables: dict[str, str] | None = None) -> None:
        self._through = host.through if host else []
        self._options = {"migration_id": "m1", "state_dir": str(state)}
        self._variables = variables

    def run(self, name: str, check: bool = False, stateless: bool = False, **options: Any) -> dict[str, Any]:
        given = {**({} if stateless else self._options), **options}
        result = run_module(f"couch2pg_{name}", given, check=check, environment=self._variables, through=self._through)
        shown = json.dumps({key: value for key, value in result.items() if key != "settings_json"})
        assert not any(secret in shown for secret in SECRETS)
        return result


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {
            info.name: file.read() if (file := tar.extractfile(info) if info.isreg() else None) else b"" for info in tar
        }


def listed(folder: Path) -> list[tuple[str, float, int]]:
    return sorted((str(path), path.lstat().st_mtime, path.lstat().st_mode) for path in folder.rglob("*"))


def needed(packages: Path, *names: str) -> set[str]:
    """These packages and all that they need: what tests use beside them is four times as much."""
    found: set[str] = set()
    missing = set(names)
    while missing:
        found |= missing
        described = [json.loads((packages / name / "package.json").read_text(encoding="utf-8")) for name in missing]
        missing = {name for entry in described for name in entry.get("dependencies", {})} - found
        missing = {name for name in missing if (packages / name).is_dir()}
    return found


def application(folder: Path, installed: node.Node) -> None:
    """couch2pg's folder as it looks after a year."""
    shutil.copytree(node.DAEMON.parent, folder, ignore=shutil.ignore_patterns("node_modules"))
    for name in needed(installed.packages, *REQUIRED):
        shutil.copytree(installed.packages / name, folder / "node_modules" / name, symlinks=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("url = https://me:old-secret@git.example.org", encoding="utf-8")
    for name in (".npmrc", "couch2pg.env.before-m0", "run.log", "local.json", "couch2pg.env"):
        (folder / name).write_text(f"{PASSWORD} npm-token", encoding="utf-8")
    (folder / "current.js").symlink_to("daemon.js")
    (folder / "elsewhere").symlink_to("/srv/not-there")


def packs_it_without_secrets(source: Side, there: Path, folder: Path) -> Path:
    before = listed(there)
    predicted = source.run("bundle", check=True)
    bundle = folder / "m1" / "couch2pg-bundle.tar.gz"
    assert not bundle.exists()
    packed = source.run("bundle")
    assert {**predicted, "diff": None} == {**packed, "diff": None}
    assert (packed["changed"], packed["bytes"]) == (True, bundle.stat().st_size)
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    assert not source.run("bundle")["changed"]
    assert listed(there) == before
    inside = contents(bundle)
    assert {"app/daemon.js", "app/current.js", "app/node_modules/couch2pg/package.json", "node"} <= set(inside)
    assert {Path(name).name for name in packed["left_out"]} >= {
        ".git", ".npmrc", "couch2pg.env", "couch2pg.env.before-m0", "run.log", "local.json"
    }  # fmt: skip
    assert not [name for name, content in inside.items() if any(secret.encode() in content for secret in SECRETS)]
    assert not [name for name in packed["left_out"] if name.replace(str(APP), "app") in inside]
    assert sum("local.json holds a password" in problem for problem in packed["problems"]) == 1
    assert sum("elsewhere is a link to /srv/not-there" in problem for problem in packed["problems"]) == 1
    return bundle


def predicts_it(target: Side, captured: str) -> None:
    # Before there is a couch2pg, the check on the target knows that one will come.
    options = {"side": "target", "settings": captured, "stateless": True}
    refused = target.run("preflight", **options)
    assert (refused["found"], refused["ready"]) == (False, False)
    for deployment in ({}, {"kind": "systemd", "unit": "couch2pg"}):
        checked = target.run("preflight", install=True, deployment=deployment, **options)
        found = {finding["name"]: finding["status"] for finding in checked["findings"]}
        assert (checked["found"], found["couch2pg"], found["couchdb"]) == (False, "warning", "ok")
        assert found["couch2pg login"] in ("ok", "failure")


def installs_it(target: Side, target_host: SystemdHost, bundle: Path) -> None:
    arrived = {"bundle": str(bundle)}
    predicted = target.run("bundle", check=True, state="installed", **arrived)
    assert not (target_host.etc / "opt" / "couch2pg").exists()
    made = target.run("bundle", state="installed", **arrived)
    assert predicted == {**made, "problems": []}
    assert made["files"] == [
        APP, f"{APP}/couch2pg.env", NODE, "/etc/systemd/system/couch2pg.service",
        "/etc/systemd/system/couch2pg.service.d/10-more.conf",
    ]  # fmt: skip
    assert (made["accounts"], made["ready"], made["problems"]) == (["cht-couch2pg"], True, [])
    shown = target_host.run("systemctl", "cat", "couch2pg")
    assert "Environment=" not in shown
    assert ("Description=couch2pg of ours" in shown, "RestartSec=7" in shown) == (True, True)
    assert "nologin" in target_host.run("getent", "passwd", "cht-couch2pg")
    state = target_host.run("systemctl", "show", "--property=ActiveState,UnitFileState", "couch2pg")
    assert sorted(state.split()) == ["ActiveState=inactive", "UnitFileState=disabled"]
    here = target_host.etc / "opt" / "couch2pg"
    assert stat.S_IMODE((here / "couch2pg.env").stat().st_mode) == 0o600
    assert (os.readlink(here / "current.js"), not (here / ".git").exists()) == ("daemon.js", True)
    owners = {(here / name).lstat().st_uid for name in ("", "daemon.js", "current.js", "node_modules")}
    assert owners == {int(target_host.run("id", "-u", "cht-couch2pg"))}
    assert not target.run("bundle", state="installed", **arrived)["changed"]


def refuses_what_differs(target: Side, target_host: SystemdHost, bundle: Path) -> None:
    arrived, here = {"bundle": str(bundle)}, target_host.etc / "opt" / "couch2pg"
    (here / "migrate.js").write_text("other", encoding="utf-8")
    (here / "entrypoint").unlink()
    target_host.run("rm", "-r", RUNTIME)
    refused = target.run("bundle", state="installed", **arrived)
    assert (refused["code"], refused["details"]["paths"]) == (
        "install_differs", [f"{APP}/entrypoint", f"{APP}/migrate.js"]
    )  # fmt: skip
    assert not (target_host.etc / "opt" / "node-20").exists()
    target_host.run("rm", "-r", APP)
    target_host.unit("couch2pg.service", f"{UNIT}# ours\n")
    assert target.run("bundle", state="installed", **arrived)["details"]["paths"] == [
        "/etc/systemd/system/couch2pg.service"
    ]
    target_host.run("rm", "/etc/systemd/system/couch2pg.service")
    target_host.unit("cht-couch2pg.service", "[Service]\nExecStart=/usr/bin/sleep 1000\n")
    another = target.run("bundle", state="installed", **arrived)
    assert another["details"]["paths"] == ["the unit cht-couch2pg"]
    target_host.run("sh", "-ec", another["msg"].split("as root: ")[1])
    assert target.run("bundle", check=True, state="installed", **arrived)["changed"]
    assert (
        target.run("bundle", state="installed", deployment={"kind": "compose", "project_dir": "/srv"}, **arrived)[
            "code"
        ]
        == "deployment"
    )
    assert not here.exists()


@pytest.mark.long
def test_a_unit_runs_on_another_host_as_it_did(
    hosts: tuple[SystemdHost, SystemdHost],
    target_cluster: Cluster,
    fresh_database: Callable[[Cluster], str],
    tmp_path: Path,
) -> None:
    source_host, target_host = hosts
    source, target = Side(source_host, tmp_path / "a"), Side(target_host, tmp_path / "b")
    installed, there = node.new(), source_host.etc / "opt" / "couch2pg"
    application(there, installed)
    # A Node.js of its own, which is a program like any other.
    (source_host.etc / "opt" / "node-20" / "bin").mkdir(parents=True)
    program = source_host.etc / "opt" / "node-20" / "bin" / "node"
    program.write_text(f'#!/bin/sh\nexec {installed.program} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    source_host.run("useradd", "--system", "--user-group", "cht-couch2pg")
    source_host.run("chown", "-R", "cht-couch2pg:", APP)
    database = fresh_database(target_cluster)
    seed.create_role(target_cluster, seed.OWNER, PASSWORD)
    with CouchDB(tmp_path / "couchdb", password=PASSWORD) as couchdb:
        couchdb.put("medic", [{"_id": "one", "type": "person"}])
        settings = couch2pg.settings(couchdb, target_cluster, database, PASSWORD)
        text = "".join(f'{name}="{value}"\n' for name, value in settings.items())
        (there / "couch2pg.env").write_text(text, encoding="utf-8")
        source_host.unit("couch2pg.service", UNIT)
        source_host.unit("couch2pg.service.d/10-more.conf", MORE)
        captured = source.run("info", stateless=True, with_secrets=True)["settings_json"]
        bundle = packs_it_without_secrets(source, there, tmp_path / "a")
        predicts_it(target, captured)
        installs_it(target, target_host, bundle)
        target.run("settings", settings=captured)
        process = target.run("service", stateless=True, state="started")["process"]
        given = target_host.environment("couch2pg")
        assert {name: given.get(name) for name in settings} == settings
        assert (given["OTHER_TOKEN"], given["DROP_IN_SECRET"], given["USER"]) == (
            "s3cret-one",
            "s3cret-two",
            "cht-couch2pg",
        )
        seen = couch2pg.Couch2pg(tmp_path / "seen", {}, installed)
        seen.log = target_host.etc / "opt" / "couch2pg" / "run.log"
        seen.wait_for(couch2pg.COMPLETED)
        assert target.run("service", stateless=True)["process"] == process
        # A couch2pg that has run is still the same.
        assert not target.run("bundle", state="installed", bundle=str(bundle))["changed"]
        target.run("service", stateless=True, state="stopped")

    refuses_what_differs(target, target_host, bundle)


def test_what_cannot_be_packed_or_started_is_said(hosts: tuple[SystemdHost, SystemdHost], tmp_path: Path) -> None:
    source_host, target_host = hosts
    source, target = Side(source_host, tmp_path / "a"), Side(target_host, tmp_path / "b")
    for host in hosts:
        host.run("sh", "-c", "rm -rf /etc/systemd/system/* /etc/opt/*; systemctl daemon-reload")
    unit = "[Service]\nWorkingDirectory=/opt\nExecStart=/usr/bin/sleep 1000\nEnvironment=DB_PASSWORD=s3cret-password\n"
    source_host.unit("couch2pg.service", unit)
    assert "(couch2pg_app.app_dir)" in source.run("bundle")["msg"]
    source_host.run("mkdir", "-p", f"{APP}/node_modules")
    deployment = {"app_dir": APP}
    source_host.unit("couch2pg.service", unit.replace("sleep 1000", "env DB_PASSWORD=s3cret-password sleep 1000"))
    assert "itself holds a password" in source.run("bundle", deployment=deployment)["msg"]
    assert not (tmp_path / "a" / "m1" / "couch2pg-bundle.tar.gz").exists()
    # A Node.js that a distribution brings is not taken along, and missed where it isn't.
    source_host.unit("couch2pg.service", unit)
    deployment["node"] = "/usr/bin/node-of-a-package"
    assert "node" not in source.run("bundle", deployment=deployment)["left_out"]
    bundle = tmp_path / "a" / "m1" / "couch2pg-bundle.tar.gz"
    made = target.run("bundle", state="installed", bundle=str(bundle))
    assert (made["changed"], made["ready"]) == (True, False)
    assert "couch2pg runs on /usr/bin/node-of-a-package" in made["problems"][0]
    assert not target.run("bundle", state="installed", bundle=str(bundle))["ready"]
    # Another major version is no reason to stop, and said.
    with tarfile.open(bundle) as tar:
        first = tar.extractfile("bundle.json")
        assert first is not None
        description = json.load(first)
    description.update(node="/usr/bin/node", node_version="8.17.0")
    rewritten = tmp_path / "rewritten.tar.gz"
    write(rewritten, {"bundle.json": json.dumps(description).encode(), "app": None, "app/node_modules": None})
    made = target.run("bundle", state="installed", bundle=str(rewritten))
    assert (made["changed"], made["ready"]) == (False, True)
    assert "here and 8.17.0 on the source" in made["problems"][0]
    # A bundle that leads out of its folder, or is none, changes nothing.
    target_host.run("rm", "-r", APP)
    members = {"bundle.json": json.dumps(description).encode(), "app": None, "app/x": "/etc", "app/x/evil": b"evil"}
    write(rewritten, members)
    assert target.run("bundle", state="installed", bundle=str(rewritten))["code"] == "damaged_file"
    assert not (target_host.etc / "evil").exists()
    assert target_host.run("ls", "-A", "/etc/opt") == ""
    bundle.write_bytes(bundle.read_bytes()[:100])
    assert target.run("bundle", state="installed", bundle=str(bundle))["code"] == "damaged_file"


def write(path: Path, members: dict[str, bytes | str | None]) -> None:
    """An archive of files (bytes), links (str) and folders (None)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            info.type = {bytes: tarfile.REGTYPE, str: tarfile.SYMTYPE}.get(type(content), tarfile.DIRTYPE)
            info.linkname = content if isinstance(content, str) else ""
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)


# Stands in for Compose version 1, which is on no host of these tests: ${NAME} from the environment files, by a real reader of YAML.
COMPOSE = f"""#!{sys.executable}
import pathlib, re, sys, yaml
words = sys.argv[1:]
if words[:1] == ["version"]:
    sys.exit(print("1.29.2"))
if words[-1] != "config":
    sys.exit(0)
given = {{}}
for name in [word[11:] for word in words if word.startswith("--env-file=")]:
    if not pathlib.Path(name).exists():
        sys.exit("Couldn't find env file: " + name)
    given.update(line.split("=", 1) for line in pathlib.Path(name).read_text().splitlines())
text = pathlib.Path("docker-compose.yml").read_text()
print(re.sub(r"\\$\\{{(\\w+)\\}}", lambda match: given.get(match.group(1), ""), text))
"""
PROJECT = """services:
  cht-couch2pg:
    image: medicmobile/cht-couch2pg:main-node-10
    environment:
      COUCHDB_URL: ${COUCHDB_URL}
      POSTGRES_PASSWORD: ${PASSWORD}
"""


def test_a_compose_project_goes_without_its_settings(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker-compose").write_text(COMPOSE, encoding="utf-8")
    (programs / "docker").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    for path in programs.iterdir():
        path.chmod(0o755)
    side = Side(None, tmp_path / "state", {"PATH": f"{programs}:/usr/bin:/bin"})
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    (before / "docker-compose.yml").write_text(PROJECT, encoding="utf-8")
    (before / "couch2pg.env").write_text(
        "COUCHDB_URL=https://medic:s3cret-one@couch.example.org/medic\nPASSWORD=old-secret\n", encoding="utf-8"
    )
    deployment = {"kind": "compose", "project_dir": str(before), "env_files": ["couch2pg.env"]}
    packed = side.run("bundle", deployment=deployment)
    inside = contents(Path(packed["bundle"]))
    assert list(inside) == ["bundle.json"]
    assert not any(secret.encode() in inside["bundle.json"] for secret in SECRETS)
    there = {**deployment, "project_dir": str(after)}
    predicted = side.run("bundle", state="installed", check=True, deployment=there)
    assert (predicted["changed"], after.exists()) == (True, False)
    made = side.run("bundle", state="installed", deployment=there)
    assert made["files"] == predicted["files"] == [str(after / "couch2pg.env"), str(after / "docker-compose.yml")]
    assert (after / "docker-compose.yml").read_text(encoding="utf-8") == PROJECT
    assert stat.S_IMODE((after / "couch2pg.env").stat().st_mode) == 0o600
    assert made["image"] == "medicmobile/cht-couch2pg:main-node-10"
    (problem,) = made["problems"]
    assert "docker pull medicmobile/cht-couch2pg:main-node-10" in problem
    assert not side.run("bundle", state="installed", deployment=there)["changed"]
    (after / "docker-compose.yml").write_text(PROJECT + "# ours\n", encoding="utf-8")
    assert side.run("bundle", state="installed", deployment=there)["code"] == "install_differs"
    # A password in the compose file itself would travel with it.
    (before / "docker-compose.yml").write_text(PROJECT.replace("${PASSWORD}", "old-secret"), encoding="utf-8")
    assert "itself holds a password" in side.run("bundle", deployment=deployment)["msg"]
    (before / "docker-compose.yml").write_text(
        PROJECT.replace("image: medicmobile/cht-couch2pg:main-node-10", "build: ."), "utf-8"
    )
    assert "built in" in side.run("bundle", deployment=deployment)["msg"]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files with a short path: Ansible makes a socket in it."""
    with tempfile.TemporaryDirectory(prefix="c2-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("thrice", [False, rarely(True)], ids=["once", "in check mode, once, and again"])
def test_the_role_brings_it_from_host_to_host(tmp_path: Path, temporary: Path, thrice: bool) -> None:
    here = tmp_path / "one" / "couch2pg"
    (here / "node_modules").mkdir(parents=True)
    (here / "index.js").write_text("run()", encoding="utf-8")
    (here / "couch2pg.env").write_text("export POSTGRESQL_URL=postgres://a:old-secret@b/cht\n", encoding="utf-8")
    hosts = {
        name: {
            "couch2pg_app": {"kind": "env_file", "env_file": f"{folder}/couch2pg.env", "app_dir": str(folder)},
            "couch2pg_state_dir": str(tmp_path / f"state of {name}"),
        }
        for name, folder in {"old": here, "new": tmp_path / "two" / "couch2pg"}.items()
    }
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "couch2pg_app_become": False,
    }
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}), "utf-8")
    role = {"name": "cht.couch2pg.handover", "tasks_from": "install"}
    task = {"ansible.builtin.include_role": role, "vars": {"handover_source_app_host": "old"}}
    play = {"hosts": "new", "gather_facts": False, "tasks": [task]}
    (tmp_path / "play.json").write_text(json.dumps([play]), encoding="utf-8")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["ansible-playbook", "play.json", "-i", "inventory.json", "--diff", *arguments],
            cwd=tmp_path,
            env={**environment(), "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "old-secret" not in done.stdout + done.stderr
        assert list(temporary.iterdir()) == []
        return done.stdout

    if thrice:
        assert "changed=0" in run("--check")
        assert not (tmp_path / "two").exists()
    run()
    assert (tmp_path / "two" / "couch2pg" / "index.js").read_text(encoding="utf-8") == "run()"
    assert sorted(path.name for path in (tmp_path / "two" / "couch2pg").iterdir()) == ["index.js", "node_modules"]
    bundle = tmp_path / "state of new" / "cht" / "couch2pg-bundle.tar.gz"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (bundle, bundle.parent)] == [0o600, 0o700]
    if thrice:
        assert "changed=0" in run()
