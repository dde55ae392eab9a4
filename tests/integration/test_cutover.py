# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards pointed at the target of a real migration, and back: Klipfolio, files, commands, from every state in between."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator

import jsonschema
import pytest
from support import binaries, certificate, driver, seed
from support.clusters import Cluster
from support.klipfolio import KEY, Klipfolio
from support.migration import ROOT, Migration, environment, execute
from support.modules import run_module
from support.settings_server import TOKEN, SettingsServer
from support.superset import Superset

PASSWORD = "dashboards-" + secrets.token_hex(12)
SCHEMA = json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def migrated(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Migration]:
    """A migration that is done. Its tests put the dashboards back."""
    database = f"cutover_{os.getpid()}"
    seed.seed(source_cluster, database, documents=300, huge=False)
    seed.create_role(target_cluster, seed.OWNER)
    folder = tmp_path_factory.mktemp("cutover")
    migration = Migration(source_cluster, target_cluster, binaries.clients().bin_dir, folder, database)
    driver.reach(migration)
    yield migration
    for cluster in (source_cluster, target_cluster):
        seed.drop_database(cluster, database)


class Dashboards:
    """What an operator has: Klipfolio, a program with a file, one that is told over HTTP, and one that a command leads."""

    def __init__(self, migration: Migration, klipfolio: Klipfolio, metabase: SettingsServer, folder: Path) -> None:
        self.migration, self.klipfolio, self.metabase, self.folder = migration, klipfolio, metabase, folder
        source = migration.source
        self.source_password = source.password_of(seed.READER)
        place = {"host": source.host, "port": source.port, "user": seed.READER, "password": self.source_password}
        self.ours = [klipfolio.add(n, f"visits {n}", **place, database=migration.database) for n in (1, 2)]
        self.others = klipfolio.add(3, "of another database", **place, database="other")
        klipfolio.add(4, "a web page")
        self.file = folder / "grafana.yml"
        self.file.write_text(f"url: {source.host}:{source.port}\npassword: {self.source_password}\n", encoding="utf-8")
        self.file.chmod(0o640)
        self.flag = folder / "flag"
        self.log = folder / "log"
        self.authority = folder / "authority.pem"
        self.before = self.state()

    def state(self) -> dict[str, Any]:
        return {
            "sources": {key: dict(source["properties"]) for key, source in self.klipfolio.sources.items()},
            "file": (self.file.read_text(encoding="utf-8"), self.file.stat().st_mode),
            "metabase": self.metabase.settings,
            "flag": self.flag.exists(),
            "left": sorted(path.name for path in self.folder.iterdir() if "before-" in path.name),
        }

    def at_target(self) -> bool:
        ports = {self.klipfolio.properties(key)["port"] for key in self.ours}
        target = self.migration.target.port
        file = self.file.read_text(encoding="utf-8")
        return (ports | {self.metabase.settings["port"]}) == {target} and str(target) in file and self.flag.exists()

    def request(self, port: int, password: str) -> dict[str, Any]:
        """What tells the program over HTTP where its database is."""
        body = {"host": "127.0.0.1", "port": port, "password": password}
        return {
            "url": self.metabase.url,
            "method": "PUT",
            "headers": {"Authorization": f"Bearer {TOKEN}"},
            "body": json.dumps(body),
        }

    @property
    def command_step(self) -> dict[str, Any]:
        """The last of the steps."""
        found: dict[str, Any] = self.migration.variables["couch2pg_cutover_steps"][-1]["command"]
        return found

    def variables(self) -> dict[str, Any]:
        target = self.migration.target
        content = f"url: {target.host}:{target.port}\npassword: {PASSWORD}\n"
        return {
            "couch2pg_cutover_without_couch2pg": True,
            "couch2pg_cutover_give_login": True,
            "couch2pg_cutover_source_names": ["127.0.0.1"],
            "couch2pg_cutover_target": {"host": "127.0.0.1"},
            "couch2pg_dashboard_passwords": {seed.READER: PASSWORD},
            "couch2pg_dashboard_source_passwords": {seed.READER: self.source_password},
            "couch2pg_klipfolio": {"api_key": KEY, "url": self.klipfolio.url, "refresh_seconds": 20},
            "couch2pg_cutover_steps": [
                {
                    "name": "grafana",
                    "file": {
                        "path": str(self.file),
                        "content": content,
                        "then": ["sh", "-c", f"echo restarted >>{self.log}"],
                    },
                },
                {
                    "name": "metabase",
                    "http": {
                        "to": self.request(target.port, PASSWORD),
                        "back": self.request(self.migration.source.port, self.source_password),
                        "check": {
                            "url": self.metabase.url,
                            "headers": {"Authorization": f"Bearer {TOKEN}"},
                            "contains": f'"port": {target.port}',
                        },
                        "ca_cert": str(self.authority),
                    },
                },
                {
                    "name": "name",
                    "command": {
                        "to": ["touch", str(self.flag)],
                        "back": ["rm", "-f", str(self.flag)],
                        "check": ["test", "-e", str(self.flag)],
                    },
                },
            ],
        }

    def run(self, playbook: str = "cutover", *arguments: str) -> Any:
        """A run that must end well, without a warning, and without a secret."""
        run = self.migration.run(playbook, *arguments)
        assert run.code == 0, run.output
        assert not run.warnings, run.output
        self.check_secrets(run.output)
        return run

    def fail(self, playbook: str = "cutover") -> str:
        sentence = self.migration.fail(playbook=playbook)
        self.check_secrets(sentence)
        return sentence

    def check_secrets(self, output: str) -> None:
        self.migration.check_secrets(output)
        for secret in (PASSWORD, self.source_password, KEY, TOKEN):
            assert secret not in output
            for path in self.migration.folder.rglob("*"):
                if path.is_file() and path.name != "inventory.json":
                    assert secret.encode() not in path.read_bytes(), path


@pytest.fixture
def dashboards(migrated: Migration, tmp_path: Path) -> Iterator[Dashboards]:
    source = migrated.source
    place = {"host": "127.0.0.1", "port": source.port, "password": source.password_of(seed.READER)}
    authority, key = tmp_path / "authority.pem", tmp_path / "key.pem"
    certificate.make(authority, key)
    with Klipfolio() as klipfolio, SettingsServer(place, authority, key) as metabase:
        found = Dashboards(migrated, klipfolio, metabase, tmp_path)
        migrated.variables = found.variables()
        yield found
        # What the next test finds is a migration before its cutover.
        (migrated.state / "cutover.json").unlink(missing_ok=True)
        execute(migrated.target, f"ALTER ROLE {seed.READER} NOLOGIN PASSWORD NULL")


@pytest.mark.long
def test_looked_at_first_and_done_twice(dashboards: Dashboards) -> None:
    looked = dashboards.run("cutover", "--check", "--diff")
    target = dashboards.migration.target.port
    for line in (
        f"+klipfolio visits 1: database={dashboards.migration.database}, host=127.0.0.1, port={target}",
        f"+url: 127.0.0.1:{target}",
        "+http metabase: target",
        "+command name: target",
        "+superset: can log in",
    ):
        assert line in looked.output, looked.output
    assert dashboards.state() == dashboards.before
    assert not (dashboards.migration.state / "cutover.json").exists()
    there = [step.rpartition(":")[0] for step in looked.planned]
    assert "on the controller: point Klipfolio at the target" in there
    assert len(there) == len(dashboards.migration.variables["couch2pg_cutover_steps"]) + 1

    dashboards.run()
    assert dashboards.run().changed == 0
    assert dashboards.log.read_text(encoding="utf-8") == "restarted\n"
    dashboards.run("switch_back")


def test_there_and_back(dashboards: Dashboards) -> None:
    """Back to what it was, to the byte."""
    dashboards.run()
    assert dashboards.at_target()
    assert dashboards.klipfolio.properties(dashboards.others) == dashboards.before["sources"][dashboards.others]
    assert dashboards.file.stat().st_mode & 0o777 == 0o640
    memory = dashboards.migration.state / "cutover.json"
    assert memory.stat().st_mode & 0o777 == 0o600
    record = dashboards.migration.record
    jsonschema.validate(record, SCHEMA)
    cutover = record["phases"]["cutover"]["result"]
    assert cutover["side"] == "target"
    assert [change["name"] for change in cutover["changes"]] == ["visits 1", "visits 2", "grafana", "metabase", "name"]
    assert dashboards.log.read_text(encoding="utf-8") == "restarted\n"

    dashboards.run("switch_back")
    assert dashboards.state() == dashboards.before
    assert dashboards.migration.record["phases"]["cutover"]["result"]["side"] == "source"


def test_a_failure_puts_everything_back(dashboards: Dashboards) -> None:
    """The last of five fails, when the others are changed already."""
    dashboards.command_step["to"] = ["sh", "-c", f"echo no {PASSWORD}; exit 7"]
    sentence = dashboards.fail()
    assert sentence.startswith("The step 'name' failed: sh ended with 7: no ***."), sentence
    assert "put back: the dashboards use the same server as before" in sentence
    assert dashboards.state() == dashboards.before
    assert dashboards.migration.record["phases"]["cutover"]["error"]["msg"] == sentence


def test_the_playbook_compares_the_dashboards(migrated: Migration) -> None:
    """With a query in a file; the outcome is in the record and in the report. (``test_dashboards`` has what can differ.)"""
    file = migrated.folder / "areas.sql"
    file.write_text("SELECT area, month, reports FROM dashboard_areas ORDER BY 1, 2;\n", encoding="utf-8")
    migrated.variables = {
        "couch2pg_dashboard_queries": [
            {"name": "areas", "file": str(file), "role": seed.READER, "ordered": True},
            {"name": "documents", "sql": "SELECT count(*) FROM couchdb", "role": seed.READER},
        ]
    }
    record = migrated.state / "record.json"
    before = record.read_bytes()
    identity = secrets.token_hex(8)
    execute(migrated.target, f"""INSERT INTO couchdb VALUES ('{{"_id": "{identity}"}}')""", migrated.database)
    try:
        sentence = migrated.fail(playbook="dashboards")
        assert "documents: Both have 1 row, with differences in the columns count." in sentence
        jsonschema.validate(migrated.record, SCHEMA)
        result = migrated.record["phases"]["dashboards"]["result"]
        assert not result["passed"]
        assert [entry["status"] for entry in result["queries"]] == ["same", "differs"]
        report = (migrated.folder / "records" / f"{migrated.name}.md").read_text(encoding="utf-8")
        assert "| documents | differs |" in report
    finally:
        execute(migrated.target, f"DELETE FROM couchdb WHERE doc ->> '_id' = '{identity}'", migrated.database)
        record.write_bytes(before)


@pytest.mark.long
def test_superset_moves_with_the_others(dashboards: Dashboards) -> None:
    """In one run of the playbook; put back when a step after it fails, and by the playbook for the way back."""
    migration = dashboards.migration
    with Superset(dashboards.folder) as superset:
        place = f"{seed.READER}:{dashboards.source_password}@127.0.0.1:{migration.source.port}/{migration.database}"
        number = superset.add_database("CHT", f"postgresql+psycopg2://{place}", "dashboard_areas", chart=True)
        before = superset.uri(number)
        credentials = {"url": superset.url, "user": "admin", "password": superset.password}
        migration.variables["couch2pg_superset"] = credentials
        step = dashboards.command_step
        usual, step["to"] = step["to"], ["false"]
        assert "The step 'name' failed: false ended with 1." in dashboards.fail()
        assert superset.uri(number) == before
        assert superset.works(number)
        step["to"] = usual
        run = dashboards.run("cutover", "--diff")
        assert superset.password not in run.output
        assert f"127.0.0.1:{migration.target.port}/{migration.database}" in superset.uri(number)
        assert superset.works(number)
        assert dashboards.run().changed == 0
        dashboards.run("switch_back")
        assert superset.uri(number) == before
        assert superset.works(number)
        assert dashboards.state() == dashboards.before


@pytest.mark.long
def test_a_host_that_can_not_be_reached(dashboards: Dashboards, tmp_path: Path) -> None:
    """On the way there nothing is changed; on the way back everything else is put back."""
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory = tmp_path / "gone" / "inventory.json"
    inventory.parent.mkdir()
    inventory.write_text(json.dumps({"all": {"hosts": {"gone": gone}}}), encoding="utf-8")
    step = dashboards.migration.variables["couch2pg_cutover_steps"][0]
    step["host"] = "gone"
    run = dashboards.migration.run("cutover", "-i", str(inventory))
    assert "The step 'grafana' failed: gone can't be reached" in run.message
    assert dashboards.state() == dashboards.before
    del step["host"]
    dashboards.run()
    step["host"] = "gone"
    run = dashboards.migration.run("switch_back", "-i", str(inventory))
    assert "Not everything was put back: " in run.message
    after = dashboards.state()
    assert [name for name in after if after[name] != dashboards.before[name]] == ["file", "left"]
    del step["host"]
    dashboards.run("switch_back")
    assert dashboards.state() == dashboards.before


@pytest.mark.long
def test_what_a_program_answers_over_http(dashboards: Dashboards) -> None:
    """One that knows another token, one that says yes and does nothing, one that isn't there."""
    step = dashboards.migration.variables["couch2pg_cutover_steps"][1]["http"]
    dashboards.metabase.deaf = True
    assert "the check shows that the program still uses the source" in dashboards.fail()
    dashboards.metabase.deaf = False
    step["to"]["headers"] = {"Authorization": "Bearer token-of-somebody-else"}
    sentence = dashboards.fail()
    assert "answers 401 to PUT /connections/cht:" in sentence
    assert "token-of-somebody-else" not in sentence
    step["check"]["url"] = "http://127.0.0.1:1/connections/cht"
    assert "The step 'metabase' failed: 127.0.0.1:1 " in dashboards.fail()
    step["check"]["url"] = dashboards.metabase.url.replace("//", f"//me:{PASSWORD}@")
    assert "Pass the credentials as headers" in dashboards.fail()
    assert dashboards.state() == dashboards.before


@pytest.mark.long
def test_back_twice_and_from_nowhere(dashboards: Dashboards) -> None:
    assert "were never pointed at the target" in dashboards.run("switch_back").output
    dashboards.run()
    looked = dashboards.run("switch_back", "--check", "--diff")
    assert f"-url: 127.0.0.1:{dashboards.migration.target.port}" in looked.output
    assert dashboards.at_target()
    assert "on the controller: point Klipfolio back at the source: visits 1, visits 2" in looked.planned
    dashboards.run("switch_back")
    again = dashboards.run("switch_back")
    assert "were pointed back already" in again.output
    assert again.changed == 0
    assert dashboards.state() == dashboards.before
    # A second cutover starts from the beginning.
    dashboards.run()
    assert dashboards.at_target()
    dashboards.run("switch_back")
    assert dashboards.state() == dashboards.before


@pytest.mark.long
def test_back_after_a_kill_in_the_middle(dashboards: Dashboards) -> None:
    step = dashboards.command_step
    usual = step["to"]
    pid = dashboards.folder / "pid"
    step["to"] = ["sh", "-c", f"echo $$ >{pid}.new; mv {pid}.new {pid}; exec sleep 600"]
    run = subprocess.Popen(
        dashboards.migration.command("cutover"),
        cwd=dashboards.migration.folder,
        env=environment(),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not pid.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(run.pid, 9)
    run.wait()
    # Ansible's workers have sessions of their own.
    os.kill(int(pid.read_text(encoding="utf-8")), 9)
    assert dashboards.state() != dashboards.before
    step["to"] = usual
    dashboards.run("switch_back")
    assert dashboards.state() == dashboards.before
    # After a resumed cutover, undoing it still restores the original state.
    dashboards.run()
    assert dashboards.at_target()
    dashboards.run("switch_back")
    assert dashboards.state() == dashboards.before


@pytest.mark.long
def test_going_on_after_a_kill(dashboards: Dashboards) -> None:
    """What an interrupted run had changed is not remembered as what it was."""
    first = dashboards.ours[0]
    dashboards.run()
    dashboards.klipfolio.sources[first]["properties"].update(dashboards.before["sources"][first])
    memory = dashboards.migration.state / "cutover.json"
    text = json.loads(memory.read_text(encoding="utf-8"))
    memory.write_text(json.dumps({**text, "side": "between"}), encoding="utf-8")
    dashboards.run()
    assert dashboards.at_target()
    dashboards.run("switch_back")
    assert dashboards.state() == dashboards.before


@pytest.mark.long
def test_a_wrong_password_is_found_before_anything_is_changed(dashboards: Dashboards) -> None:
    dashboards.migration.variables["couch2pg_cutover_give_login"] = False
    assert "'superset' can't log in at 127.0.0.1" in dashboards.fail()
    variables = dashboards.migration.variables
    variables["couch2pg_cutover_give_login"] = True
    variables["couch2pg_dashboard_source_passwords"] = {seed.READER: "wrong-" + "x" * 9}
    assert "couch2pg_dashboard_source_passwords" in dashboards.fail()
    variables["couch2pg_dashboard_source_passwords"] = {seed.READER: dashboards.source_password}
    database = dashboards.migration.database
    execute(dashboards.migration.target, f"REVOKE SELECT ON public.couchdb FROM {seed.READER}", database)
    assert "may not read at" in dashboards.fail()
    execute(dashboards.migration.target, f"GRANT SELECT ON public.couchdb TO {seed.READER}", database)
    variables["couch2pg_cutover_source_names"] = ["nobody.example.org"]
    assert "Add the name that it uses for the source to couch2pg_cutover_source_names." in dashboards.fail()
    variables["couch2pg_klipfolio"]["api_key"] = "bad-" + "0" * 30
    assert (
        "answers 401 to GET /datasources: The API key *** is not valid. Correct the credentials in couch2pg_klipfolio"
        in dashboards.fail()
    )
    assert dashboards.state() == dashboards.before
    assert not (dashboards.migration.state / "cutover.json").exists()


@pytest.mark.long
def test_only_with_evidence(dashboards: Dashboards) -> None:
    """Without couch2pg, with an unhealthy one, with dashboards that differ, with a record that somebody has edited."""
    migration = dashboards.migration
    path = migration.state / "record.json"
    sound = path.read_bytes()
    migration.variables["couch2pg_cutover_without_couch2pg"] = False
    assert "set couch2pg_cutover_without_couch2pg: true" in dashboards.fail()
    migration.variables["couch2pg_cutover_without_couch2pg"] = True
    options = {"migration_id": migration.name, "state_dir": str(migration.folder / "state"), "host": "target"}
    failed = {"failed": True, "msg": "It crashed.", "code": "x"}
    run_module("record", {**options, "phase": "handover", "result": failed})
    assert "couch2pg on the target was not verified to be healthy" in dashboards.fail()
    path.write_bytes(sound)
    run_module("record", {**options, "phase": "dashboards", "result": {"passed": False, "queries": []}})
    assert "the dashboards' queries differ" in dashboards.fail()
    record = json.loads(path.read_text(encoding="utf-8"))
    record["phases"]["dashboards"]["result"]["passed"] = True
    path.write_text(json.dumps(record), encoding="utf-8")
    edited = dashboards.fail()
    assert "edited outside of this collection" in edited
    # A report that is written now doesn't spoil the copy that the message names.
    dashboards.run("report")
    path.write_bytes(b"half a rec")
    damaged = dashboards.fail()
    path.unlink()
    missing = dashboards.fail()
    assert f"The migration '{migration.name}' has no record in {migration.state}, so" in missing
    name = f"copy {migration.name}.json from the controller"
    assert name in missing
    assert name in edited
    assert name in damaged
    path.write_bytes((migration.folder / "records" / f"{migration.name}.json").read_bytes())
    # The copy is of before the dashboards differed.
    assert "dashboards' queries" not in dashboards.fail()
    path.write_bytes(sound)
    # Another database has the name of the verified one.
    database = migration.database
    execute(migration.target, f"ALTER DATABASE {database} RENAME TO {database}_verified")
    execute(migration.target, f"CREATE DATABASE {database}")
    assert "is not the one that this migration verified" in dashboards.fail()
    execute(migration.target, f"DROP DATABASE {database}")
    execute(migration.target, f"ALTER DATABASE {database}_verified RENAME TO {database}")
    assert dashboards.state() == dashboards.before


@pytest.mark.long
def test_what_somebody_changed_since_is_left(dashboards: Dashboards) -> None:
    """It is named, and the others are put back; a file's later text is kept."""
    dashboards.run()
    first, second = dashboards.ours
    dashboards.klipfolio.properties(first)["host"] = "third.example.org"
    dashboards.file.write_text("edited\n", encoding="utf-8")
    sentence = dashboards.fail("switch_back")
    assert "Klipfolio's data source 'visits 1' was changed since the cutover" in sentence
    told = dict(
        pair.split("=") for pair in re.search(r"Its old properties were (.*?)\. Give it these", sentence)[1].split(", ")
    )
    assert dashboards.klipfolio.properties(first)["host"] == "third.example.org"
    assert dashboards.klipfolio.properties(second) == dashboards.before["sources"][second]
    assert dashboards.state()["file"] == dashboards.before["file"]
    assert (dashboards.folder / f"grafana.yml.edited-{dashboards.migration.name}").read_text(
        encoding="utf-8"
    ) == "edited\n"
    for key, value in told.items():
        dashboards.klipfolio.properties(first)[key] = type(dashboards.before["sources"][first][key])(value)
    assert "and its password on the source" in sentence
    dashboards.klipfolio.properties(first)["password"] = dashboards.source_password
    dashboards.run("switch_back")
    assert dashboards.state()["sources"] == dashboards.before["sources"]
