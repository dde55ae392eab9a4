# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of docs/single-roles-and-modules.md, run as they are printed: only the inventory is the test's own.

Its two hosts are this machine, with two real servers. /srv is a folder of the test, which only the runs see.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from support import seed
from support.background import kill, wait_until
from support.clusters import Cluster
from support.migration import ROOT, WARM_PLAYBOOK, Run, column, environment, execute
from support.modules import login, run_module

DATABASE = "cht"
PAGE = (ROOT / "docs" / "single-roles-and-modules.md").read_text(encoding="utf-8")
EXAMPLES = {
    section.partition("\n")[0]: section.partition("```yaml\n")[2].partition("```")[0]
    for section in PAGE.split("\n## ")[1:]
}
# Mounts the folder of the test at /srv, for one command.
MOUNT = 'mount --bind "$0" /srv; exec "$@"'


@dataclass
class Place:
    """Both servers, the folder that is /srv, and the home of the user who runs the examples."""

    source: Cluster
    target: Cluster
    bin_dir: Path
    folder: Path

    @property
    def srv(self) -> Path:
        return self.folder / "srv"

    @property
    def state(self) -> Path:
        """The default state folder."""
        return self.folder / "home" / "couch2pg-migration"

    @property
    def through(self) -> list[str]:
        """The command that runs another one with its own /srv."""
        unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        return [*unshare, "sh", "-ec", MOUNT, str(self.srv)]

    def run(self, title: str, *arguments: str) -> Run:
        """Run the example below this heading."""
        playbook = self.folder / "example.yml"
        playbook.write_text(EXAMPLES[title], encoding="utf-8")
        inventory = self.folder / "inventory.json"
        inventory.touch(mode=0o600)
        inventory.write_text(json.dumps(self._inventory()), encoding="utf-8")
        home = self.folder / "home"
        path = f"{self.bin_dir}:{environment()['PATH']}"
        done = subprocess.run(
            [*self.through, sys.executable, str(WARM_PLAYBOOK), str(playbook), "-i", str(inventory), *arguments],
            cwd=home,
            env={**environment(), "HOME": str(home), "PWD": str(home), "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert self.source.password not in done.stdout
        assert "Traceback" not in done.stdout
        return Run(done.returncode, done.stdout)

    def good(self, title: str, *arguments: str) -> Run:
        """Run it; it must end well, without a warning."""
        run = self.run(title, *arguments)
        assert not run.code, run.output
        assert not run.warnings, run.output
        return run

    def dump(self, name: str, **more: Any) -> dict[str, Any]:
        """A dump as the role makes it, on another night; its result, failed or not."""
        options = {
            **login(self.source, DATABASE),
            "bin_dir": str(self.bin_dir),
            "migration_id": name,
            "state_dir": str(self.state),
            "staging_dir": "/srv/dumps",
            "record": {"phase": "dump", "host": "old", "kept_on": "old", "database": DATABASE},
        }
        return run_module("pg_dump", {**options, **more}, through=self.through)

    def kill(self, name: str) -> None:
        """A dump that is killed in its middle, as by a host that loses its power: nothing is recorded."""
        begun = self.dump(name, job_wait=0.0, rate_limit="100 KB")
        assert begun.get("job", {}).get("status") == "running", begun
        partial = self.srv / "dumps" / f"{name}.partial"
        wait_until("it has begun", (partial / ".half-done").exists)
        kill(processes.of_job(self.state / name / "jobs" / "dump"))
        assert (partial / ".half-done").exists()

    def _inventory(self) -> dict[str, Any]:
        local = {"ansible_connection": "local", "ansible_pipelining": True, "ansible_become": False}
        hosts = {
            name: {
                "couch2pg_login_host": cluster.host,
                "couch2pg_login_port": cluster.port,
                "couch2pg_login_password": cluster.password,
            }
            for name, cluster in (("old.example.org", self.source), ("new.example.org", self.target))
        }
        return {"all": {"vars": {**local, "ansible_python_interpreter": sys.executable}, "hosts": hosts}}


@pytest.fixture(scope="module")
def place(
    source_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("examples")
    for name in ("srv", "home"):
        (folder / name).mkdir()
    seed.seed(source_cluster, DATABASE, documents=seed.MINIMUM, huge=False)
    yield Place(source_cluster, target_cluster, client_dir, folder)
    seed.drop_database(source_cluster, DATABASE)
    for name in column(target_cluster, f"SELECT datname FROM pg_database WHERE datname ~ '^{DATABASE}'"):
        seed.drop_database(target_cluster, name)


def test_the_inventory_and_every_example_are_complete() -> None:
    (inventory,) = re.findall(r"```yaml\n(all:\n.*?)```", PAGE, re.DOTALL)
    assert set(yaml.safe_load(inventory)["all"]["hosts"]) == {"old.example.org", "new.example.org"}
    assert len(EXAMPLES) == PAGE.count("\n## ") == 7


@pytest.mark.long
def test_a_nightly_dump_that_keeps_the_last_three(place: Place) -> None:
    title = "A nightly dump that keeps the last three"
    dumps, records = place.srv / "dumps", place.folder / "home" / "couch2pg-records"
    assert "archive" in place.dump("cht-2000-01-01")
    assert place.dump("cht-1999-12-30", bin_dir="/nowhere")["recorded"]
    place.kill("cht-1999-12-31")
    for night in ("2000-01-02", "2000-01-03", "2000-01-04"):
        assert "archive" in place.dump(f"cht-{night}")
    place.kill("cht-2000-01-05")
    # One of them belongs to a migration now; and what is not of a dump is not touched.
    phase = {"database": DATABASE, "phase": "transfer", "host": "new", "result": {}}
    run_module("record", {**phase, "migration_id": "cht-2000-01-01", "state_dir": str(place.state)})
    # So does the dump of a migration whose record is on another host.
    elsewhere = {"phase": "dump", "host": "old", "kept_on": "new", "database": DATABASE}
    assert "archive" in place.dump("cht-2001", record=elsewhere)
    (dumps / "notes.txt").write_text("mine", encoding="utf-8")
    records.mkdir()
    for name in ("cht-1999-12-30.html", "cht-1999-12-30.md", "cht-1999-12-30.json", "cht-2000-01-01.md"):
        (records / name).touch()
    before = {path.name for path in dumps.iterdir()}
    place.good(title, "--check")
    assert {path.name for path in dumps.iterdir()} == before
    assert len(list(records.iterdir())) == 4
    assert place.good(title).changed == 3
    (today,) = {path.name for path in dumps.iterdir()} - before
    good = {"cht-2000-01-01", "cht-2000-01-03", "cht-2000-01-04", "cht-2001", today}
    assert {path.name for path in dumps.iterdir()} == {*good, "notes.txt"}
    # Nothing accumulates: the state and the reports of a dump go with it; an interrupted archive goes first.
    assert {path.name for path in place.state.iterdir()} == {*good, "cht-2000-01-05"}
    assert [path.name for path in records.iterdir()] == ["cht-2000-01-01.md"]


@pytest.mark.long
def test_restore_and_promote_an_archive_of_that_role(place: Place) -> None:
    title = "Restore and promote an archive of that role"
    assert "archive" in place.dump("cht-2024-05-01")
    seed.create_role(place.target, seed.OWNER)
    execute(place.target, f"CREATE DATABASE {DATABASE}")
    place.good(title)
    rows = column(place.target, "SELECT count(*) FROM couchdb", DATABASE)
    assert rows == column(place.source, "SELECT count(*) FROM couchdb", DATABASE)


def test_rows_of_couchdb_before_and_after(place: Place) -> None:
    run = place.good("Rows of couchdb before and after")
    assert f"couchdb has {seed.MINIMUM} rows before, and {seed.MINIMUM} after" in run.output
    assert run.changed == 0


@pytest.mark.long
def test_compare_two_databases(place: Place) -> None:
    title = "Compare two databases"
    if DATABASE not in column(place.target, "SELECT datname FROM pg_database"):
        test_restore_and_promote_an_archive_of_that_role(place)
    place.good(title)
    execute(place.source, "INSERT INTO couchdb_medic_logs VALUES ('{\"a\": 1}')", DATABASE)
    try:
        differs = place.run(title)
        assert "These tables differ: public.couchdb_medic_logs" in differs.output
    finally:
        execute(place.source, "DELETE FROM couchdb_medic_logs WHERE doc = '{\"a\": 1}'", DATABASE)


def test_disk_space(place: Place) -> None:
    run = place.good("Disk space")
    assert "exports" in run.output.partition("left for other uses than ")[2].splitlines()[0], run.output


def test_the_manifest_of_a_folder(place: Place) -> None:
    title = "The manifest of a folder"
    exports = place.srv / "exports"
    exports.mkdir()
    (exports / "data").write_bytes(b"one")
    (exports / "latest").symlink_to("data")
    assert place.good(title).changed == 1
    assert place.good(title).changed == 0
    (exports / "data").write_bytes(b"two")
    assert "differs from its manifest: changed: data." in place.run(title).message


def test_read_couch2pgs_log(place: Place) -> None:
    (place.srv / "couch2pg").mkdir()
    recorded = ROOT / "tests" / "recorded" / "couch2pg" / "couchdb-away.log"
    (place.srv / "couch2pg" / "couch2pg.log").write_bytes(recorded.read_bytes())
    run = place.good("Read couch2pg's log")
    assert "0 runs completed; errors: CouchDB didn't answer." in run.output
