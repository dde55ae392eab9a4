# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's settings are taken from, and given to, units of a real systemd; what its process gets is what counts."""

from __future__ import annotations

import contextlib
import json
import re
import select
import shutil
import socket
import socketserver
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Iterator
from urllib.parse import quote

import pytest
from support import couch2pg, node, seed
from support.clusters import Cluster
from support.couchdb import CouchDB
from support.modules import run_module
from support.systemd import SystemdHost

ODD = "p@s:s/w %40$HOME${X}\\\"'#;`!é"
ENCODED = "p%40s%3As%2Fw%20%2540%24HOME%24%7BX%7D%5C%22%27%23%3B%60%21%C3%A9"
COUCHDB = "https://medic:s3cr%2Ft@couch.example.org/medic"
SLEEP = "ExecStart=/usr/bin/sleep 1000\n"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdHost]:
    with SystemdHost(tmp_path_factory.mktemp("systemd")) as started:
        yield started


@pytest.fixture
def clean(host: SystemdHost) -> Iterator[SystemdHost]:
    """Without any unit of couch2pg, before and after."""
    yield host
    reset(host)


def reset(host: SystemdHost) -> None:
    """Without any unit and settings of couch2pg."""
    files = "/etc/systemd/system/* /etc/couch2pg /etc/default/couch2pg*"
    host.run("sh", "-c", f"systemctl stop '*couch2pg*'; rm -rf {files}")
    host.run("systemctl", "daemon-reload")


class Migration:
    """The modules, run on the host; none of them may show a secret."""

    def __init__(self, host: SystemdHost, folder: Path) -> None:
        self._host = host
        self.folder = folder / "m1"
        self._options = {"migration_id": "m1", "state_dir": str(folder)}
        self.captured = ""

    def capture(self, **deployment: Any) -> dict[str, Any]:
        return self._run("couch2pg_info", {"with_secrets": True, "deployment": deployment}, False)

    def settings(self, check: bool = False, **options: Any) -> dict[str, Any]:
        return self._run("couch2pg_settings", {"settings": self.captured, **self._options, **options}, check)

    def service(self, state: str | None = None, check: bool = False, **deployment: Any) -> dict[str, Any]:
        return self._run("couch2pg_service", {**({"state": state} if state else {}), "deployment": deployment}, check)

    def stop_for_good(self, check: bool = False) -> dict[str, Any]:
        return self._run("couch2pg_service", {"state": "stopped", "disabled": True}, check)

    def written(self) -> dict[str, str]:
        path = self.folder / "couch2pg_target.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        variables: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["variables"]
        return variables

    def source_has(self, variables: dict[str, str], style: str = "url") -> None:
        self.captured = json.dumps({"format": 1, "style": style, "variables": variables})

    def _run(self, name: str, options: dict[str, Any], check: bool) -> dict[str, Any]:
        result = run_module(name, options, check=check, through=self._host.through)
        self.captured = result.pop("settings_json", self.captured)
        shown = json.dumps(result, ensure_ascii=False)
        assert not any(secret in shown for secret in ("s3cr", "p@s:s", "p%40s", "old-secret"))
        return result


@pytest.fixture
def migration(clean: SystemdHost, tmp_path: Path) -> Migration:
    return Migration(clean, tmp_path)


# Every way to say it: quotes of either kind, escapes, specifiers, continuation, order, a glob, a missing file, and unset.
UNIT = rf"""[Service]
{SLEEP}WorkingDirectory=/opt
Environment="COUCHDB_URL={COUCHDB.replace("%", "%%")}" COUCH2PG_SLEEP_MINS=1 'ONE=single "double" \' end'
Environment="TWO=q\"uote back\\slash $HOME %%h \x41\tü" UNIT=%n LATE=unit \
    CONTINUED=yes
EnvironmentFile=/etc/default/couch2pg
EnvironmentFile=-/etc/default/couch2pg-none
EnvironmentFile=/etc/default/couch2pg-glob-*.env
UnsetEnvironment=GONE GONE_TOO=x KEPT=other
"""
FILE = rf"""# COMMENT=no
POSTGRESQL_URL="postgresql://couch2pg:{ENCODED}@old/cht"
ODD="p@s:s/w %40\$HOME\${{X}}\\\"'#;\`!é"
BARE=a b \$c \# $d{" "}
LATE=file
GONE=1
GONE_TOO=x
KEPT=this
export IGNORED=1
SINGLE='it is \ "so" $x' \
  and so on
"""


def test_what_is_captured_is_what_the_process_gets(clean: SystemdHost, migration: Migration) -> None:
    (clean.etc / "default" / "couch2pg").write_text(FILE, encoding="utf-8")
    (clean.etc / "default" / "couch2pg-glob-1.env").write_text("LATE=glob\nFROM_GLOB=1", encoding="utf-8")
    (clean.etc / "default" / "couch2pg-glob-2.env").write_text("FROM_GLOB=2\n", encoding="utf-8")
    clean.unit("cht-couch2pg.service", UNIT)
    clean.unit("cht-couch2pg.service.d/10-more.conf", "[Service]\nEnvironment=COUCH2PG_SLEEP_MINS=360 DROP_IN=1\n")
    clean.run("systemctl", "start", "cht-couch2pg")
    result = migration.capture()
    assert not migration.folder.exists()
    assert (result["changed"], result["found"], result["running"]) == (False, True, True)
    given = clean.environment("cht-couch2pg")
    assert json.loads(migration.captured)["variables"] == {
        name: value
        for name, value in given.items()
        if name not in ("LANG", "PATH", "INVOCATION_ID", "SYSTEMD_EXEC_PID", "JOURNAL_STREAM")
    }
    assert given["ODD"] == ODD
    assert (given["LATE"], given["FROM_GLOB"], given["COUCH2PG_SLEEP_MINS"]) == ("glob", "2", "360")
    assert result["settings"]["COUCHDB_URL"] == "https://medic:********@couch.example.org/medic"
    assert (result["postgres"]["host"], result["couchdb"]) == ("old", "https://couch.example.org/medic")
    assert (result["deployment"]["kind"], result["deployment"]["unit"]) == ("systemd", "cht-couch2pg")
    assert result["deployment"]["log"] == {"kind": "journald", "unit": "cht-couch2pg"}
    # The files of this test are open to all, which is said of both that are.
    assert ["readable for every user" in problem for problem in result["problems"]] == [True] * 3
    (clean.etc / "default" / "couch2pg-glob-2.env").write_text("FROM_GLOB=3\n", encoding="utf-8")
    again = migration.capture()
    assert any("still has the old value of FROM_GLOB" in problem for problem in again["problems"])


def test_stopped_for_good_it_does_not_come_back_with_its_host(clean: SystemdHost, migration: Migration) -> None:
    clean.unit("couch2pg.service", f"[Service]\n{SLEEP}[Install]\nWantedBy=multi-user.target\n")
    wanted = clean.etc / "systemd" / "system" / "multi-user.target.wants" / "couch2pg.service"
    assert migration.service("started")["starts_itself"]
    assert wanted.is_symlink()
    predicted = migration.stop_for_good(check=True)
    assert predicted["changed"]
    assert "starts with the host" in predicted["diff"]["before"]
    assert migration.service()["running"]
    stopped = migration.stop_for_good()
    assert (stopped["changed"], stopped["running"], stopped["starts_itself"]) == (True, False, False)
    assert not wanted.exists()
    assert not migration.stop_for_good()["changed"]
    # Stopped already, it would still come back.
    clean.run("systemctl", "enable", "couch2pg")
    assert migration.stop_for_good()["changed"]
    assert not wanted.exists()
    # What is enabled until the host boots does not come back, and can't be disabled for good.
    clean.run("systemctl", "enable", "--runtime", "couch2pg")
    assert not migration.stop_for_good()["changed"]
    assert migration.service("started")["starts_itself"]
    clean.run("systemctl", "disable", "--runtime", "couch2pg")


SOURCE = {
    "COUCHDB_URL": COUCHDB,
    "POSTGRESQL_URL": "postgres://couch2pg:old-secret@old/cht",
    "COUCH2PG_SLEEP_MINS": "360",
    "UNKNOWN": f" {ODD}\ttwo\nlines ",
    "EMPTY": "",
}
PLACE = {"host": "new.example.org", "password": ODD}


def test_a_unit_without_a_file_gets_one_and_its_process_the_settings(clean: SystemdHost, migration: Migration) -> None:
    clean.unit(
        "couch2pg.service", f'[Service]\n{SLEEP}Environment="SYNC_DB_LOGS=false" "OWN=1" COUCH2PG_SLEEP_MINS=5\n'
    )
    clean.run("systemctl", "start", "couch2pg")
    migration.source_has(SOURCE)
    before = clean.run("systemctl", "cat", "couch2pg")
    predicted = migration.settings(check=True, postgres=PLACE)
    assert clean.run("systemctl", "cat", "couch2pg") == before
    assert not (clean.etc / "couch2pg").exists()
    result = migration.settings(postgres=PLACE)
    assert predicted == result
    assert result["files"] == [
        "/etc/couch2pg/couch2pg.env",
        "/etc/systemd/system/couch2pg.service.d/50-couch2pg-migration.conf",
    ]
    assert result["reload_needed"]
    expected = {**SOURCE, "POSTGRESQL_URL": f"postgresql://couch2pg:{ENCODED}@new.example.org:5432/cht"}
    assert migration.written() == expected
    # What everybody may see of the unit has no secret in it.
    assert "p%40s" not in clean.run("systemctl", "show", "couch2pg") + clean.run("systemctl", "cat", "couch2pg")
    assert stat.S_IMODE((clean.etc / "couch2pg" / "couch2pg.env").stat().st_mode) == 0o600
    started = migration.service("started")
    assert started["changed"]
    given = clean.environment("couch2pg")
    assert {name: given.get(name) for name in expected} == expected
    assert ("SYNC_DB_LOGS" in given, given["OWN"]) == (False, "1")
    assert not migration.service("started")["changed"]
    again = migration.settings(postgres=PLACE)
    assert (again["changed"], again["reload_needed"], again["files"]) == (False, False, [])
    # Once the source has it, it is no longer unset.
    migration.source_has({**SOURCE, "SYNC_DB_LOGS": "false"})
    assert len(migration.settings(postgres=PLACE)["files"]) == 1
    assert migration.service("started")["changed"]
    assert clean.environment("couch2pg")["SYNC_DB_LOGS"] == "false"


def test_a_units_file_is_changed_where_it_must_be(clean: SystemdHost, migration: Migration) -> None:
    file = clean.etc / "default" / "couch2pg"
    text = "# ours\nPOSTGRESQL_URL=postgres://a:old-secret@there/cht\n\nSYNC_DB_LOGS=false\n# theirs\nOTHER='kept'\n"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o640)
    clean.unit("couch2pg.service", f"[Service]\n{SLEEP}EnvironmentFile=-/etc/default/couch2pg\n")
    migration.source_has(SOURCE)
    result = migration.settings(postgres=PLACE, couchdb_url="https://couch.internal:6984/medic")
    assert result["files"] == ["/etc/default/couch2pg"]
    after = file.read_text(encoding="utf-8")
    assert after.startswith(
        f'# ours\nPOSTGRESQL_URL="postgresql://couch2pg:{ENCODED}@new.example.org:5432/cht"\n\n# theirs\n'
    )
    assert "OTHER='kept'\n" in after
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.with_name("couch2pg.before-m1").read_text(encoding="utf-8") == text
    migration.service("started")
    given = clean.environment("couch2pg")
    assert given["COUCHDB_URL"] == "https://medic:s3cr%2Ft@couch.internal:6984/medic"
    assert given["UNKNOWN"] == SOURCE["UNKNOWN"]
    assert not migration.settings(postgres=PLACE, couchdb_url="https://couch.internal:6984/medic")["changed"]
    # A drop-in that comes later has the last word, and is named.
    clean.unit("couch2pg.service.d/90-late.conf", "[Service]\nEnvironmentFile=/etc/default/couch2pg-late\n")
    (clean.etc / "default" / "couch2pg-late").write_text("UNKNOWN=\n", encoding="utf-8")
    clean.unit("couch2pg.service.d/91-late.conf", "[Service]\nUnsetEnvironment=UNKNOWN\n")
    before = file.read_text(encoding="utf-8")
    refused = migration.settings(postgres={**PLACE, "host": "newer.example.org"})
    assert (refused["code"], refused["details"]["variables"]) == ("settings_not_taken", ["UNKNOWN"])
    # What was written for nothing is taken back.
    assert file.read_text(encoding="utf-8") == before
    # The printed command shows the drop-in; without it, the values are taken.
    command = re.search(r"Find that with (systemctl .*?), remove it", refused["msg"])
    assert command, refused
    places = re.findall(r"^# (/\S+)\n[^#]*UnsetEnvironment=UNKNOWN$", clean.run("sh", "-c", command[1]), re.MULTILINE)
    assert places == ["/etc/systemd/system/couch2pg.service.d/91-late.conf"]
    clean.run("rm", *places)
    assert migration.settings(postgres={**PLACE, "host": "newer.example.org"})["changed"]


WAIT = "from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import systemd\n"


def test_a_service_that_waits_for_another_one(clean: SystemdHost, migration: Migration) -> None:
    """The printed command shows which one."""
    clean.unit("slow.service", "[Service]\nType=oneshot\nExecStart=/usr/bin/sleep 1000\n")
    clean.unit("couch2pg.service", f"[Unit]\nRequires=slow.service\nAfter=slow.service\n[Service]\n{SLEEP}")
    # The modules have more patience.
    script = f"{WAIT}systemd.systemctl('start', 'couch2pg.service', seconds=1)"
    waited = subprocess.run(
        [*clean.through, sys.executable, "-c", script], capture_output=True, text=True, check=False
    ).stderr
    command = re.search(r"(systemctl list-jobs\b.*?) shows what systemd waits for", waited)
    assert command, waited
    shown = clean.run("sh", "-c", command[1])
    assert re.search(r"couch2pg\.service +start +waiting\n.*waiting for job \d+ \(slow\.service/start\)", shown), shown
    clean.run("systemctl", "kill", "--signal=KILL", "slow.service")
    clean.unit("slow.service", "[Service]\nType=oneshot\nExecStart=/usr/bin/true\n")
    assert migration.service("started")["running"]


def test_started_stopped_and_the_same_process(clean: SystemdHost, migration: Migration) -> None:
    assert migration.service()["found"] is False
    assert migration.service("stopped")["changed"] is False
    assert migration.service("started")["code"] == "deployment_missing"
    captured = migration.capture()
    # Only where a Docker of this machine can't be asked.
    assert captured.pop("reason", "There is no couch2pg on this host").startswith("There is no couch2pg on this host")
    assert captured == {
        "changed": False,
        "found": False,
        "deployment": migration.service()["deployment"],
        "not_current": [],
    }
    clean.unit("couch2pg.service", f"[Service]\n{SLEEP}Restart=always\nRestartSec=0\n")
    assert migration.service("started", check=True)["running"] is True
    assert migration.service()["running"] is False
    process = migration.service("started")["process"]
    assert (process["running"], process["restarts"]) == (True, 0)
    assert process == migration.service()["process"] == migration.service("started")["process"]
    clean.run("kill", "-9", str(process["pid"]))
    clean.run("sh", "-c", "until [ $(systemctl show -p NRestarts --value couch2pg) = 1 ]; do sleep 0.05; done")
    again = migration.service()["process"]
    assert again["restarts"] == 1
    assert again["pid"] != process["pid"]
    assert migration.service("stopped", check=True)["changed"]
    assert migration.service("stopped")["process"]["pid"] is None
    assert not migration.service("stopped")["changed"]
    clean.unit("cht-couch2pg.service", f"[Service]\n{SLEEP}")
    assert migration.service()["code"] == "ambiguous"
    assert migration.service(None, kind="systemd", unit="couch2pg")["found"]
    assert "no systemd unit other" in migration.capture(kind="systemd", unit="other")["msg"]


def test_a_unit_that_systemd_can_not_load_or_start(clean: SystemdHost, migration: Migration) -> None:
    """The command in the message shows why."""

    def shown(refused: dict[str, Any], code: str) -> str:
        assert refused["code"] == code, refused
        command = re.search(r"systemctl (?:status|unmask) .*?\.service", refused["msg"])
        assert command, refused
        return subprocess.run(
            [*clean.through, "sh", "-c", command[0]], capture_output=True, text=True, check=False
        ).stdout

    clean.unit("couch2pg.service", "[Service]\nUser=root\n")
    assert "bad unit file setting" in shown(migration.capture(), "unit_not_loaded")
    clean.unit("couch2pg.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    refused = migration.service("started")
    assert "systemctl restart couch2pg.service failed: Job for couch2pg.service failed because" in refused["msg"]
    assert "status=1/FAILURE" in shown(refused, "service_failed")
    clean.unit("couch2pg.service", f"[Service]\n{SLEEP}")
    assert migration.service("started")["running"]
    migration.service("stopped")
    unit = clean.etc / "systemd" / "system" / "couch2pg.service"
    unit.unlink()
    unit.symlink_to("/dev/null")
    clean.run("systemctl", "daemon-reload")
    shown(migration.service("started", kind="systemd", unit="couch2pg"), "unit_masked")
    # One that nobody named is out of service.
    assert migration.service()["found"] is False


@contextlib.contextmanager
def forwarded(host: str, port: int, to: tuple[str, int]) -> Iterator[None]:
    """What connects to ``host:port`` reaches ``to``."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(to) as far:
                while True:
                    for ready in select.select([self.request, far], [], [])[0]:
                        data = ready.recv(1 << 16)
                        if not data:
                            return
                        (far if ready is self.request else self.request).sendall(data)

    with socketserver.ThreadingTCPServer((host, port), Forward) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.long
def test_the_real_thing_logs_in_with_an_odd_password_in_both_styles(
    clean: SystemdHost,
    migration: Migration,
    target_cluster: Cluster,
    fresh_database: Callable[[Cluster], str],
    tmp_path: Path,
) -> None:
    database = fresh_database(target_cluster)
    seed.create_role(target_cluster, seed.OWNER, ODD)
    installed = node.new()
    shutil.copytree(node.DAEMON.parent, tmp_path / "app", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "app" / "node_modules").symlink_to(installed.packages)
    # Beyond 127.0.0.1, where the machine may have a server of its own.
    place = {"host": "127.0.31.7", "port": 5432, "database": database, "user": seed.OWNER, "password": ODD}
    with CouchDB(tmp_path / "couchdb", password=ODD) as couchdb, forwarded(
        "127.0.31.7", 5432, (target_cluster.host, target_cluster.port)
    ):
        couchdb.put("medic", [{"_id": "one", "type": "person"}])
        migration.source_has(couch2pg.settings(couchdb, target_cluster, database, "old-secret"))
        for style, program in {
            "url": f"{installed.program} {tmp_path}/app/daemon.js",
            "entrypoint": f"{tmp_path}/app/entrypoint",
        }.items():
            own = f"Environment=NODE={installed.program}" + (" POSTGRES_DB_NAME=x" if style == "entrypoint" else "")
            log = tmp_path / f"{style}.log"
            unit = f"[Service]\nExecStart={program}\n{own}\nStandardOutput=append:{log}\nStandardError=inherit\n"
            clean.unit("couch2pg.service", unit)
            result = migration.settings(postgres=place)
            assert (result["style"], result["app_dir"]) == (style, f"{tmp_path}/app")
            process = migration.service("started")["process"]
            seen = couch2pg.Couch2pg(tmp_path / "seen", {}, installed)
            seen.log = log
            seen.wait_for(couch2pg.COMPLETED)
            assert migration.service()["process"] == process
            migration.service("stopped")
            reset(clean)
        assert quote(ODD, safe="") in log.read_text(encoding="utf-8")
        # The key is the same in both, so that nothing was downloaded twice.
        assert "There are 0 changes" in log.read_text(encoding="utf-8")
