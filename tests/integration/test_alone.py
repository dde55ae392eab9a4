# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A single role with nothing but its own variables: it keeps to its own folders, and leaves the records of others alone."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from support import seed
from support.cases import rarely
from support.clusters import Cluster
from support.driver import reach, role_options
from support.migration import WARM_PLAYBOOK, Migration, Run, column, environment, execute
from support.modules import login, run_module
from support.phases import Phases


def run_role(folder: Path, role: str, cluster: Cluster, *arguments: str, **variables: Any) -> Run:
    """Run one role on this host; ``variables`` are named without the role's prefix, and a folder is its home."""
    login = {"login_host": cluster.host, "login_port": cluster.port, "login_password": cluster.password}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "roles": [{"role": f"cht.couch2pg.{role}"}],
        "vars": {f"{role}_{name}": value for name, value in {**login, **variables}.items()},
    }
    home = folder / "home"
    home.mkdir(exist_ok=True)
    playbook = folder / "alone.yml"
    playbook.touch(mode=0o600)
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    inventory = (
        "localhost ansible_connection=local ansible_pipelining=true ansible_python_interpreter=" + sys.executable
    )
    (folder / "hosts").write_text(f"{inventory}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(WARM_PLAYBOOK), str(playbook), "-i", str(folder / "hosts"), *arguments],
        cwd=home,
        env={**environment(), "HOME": str(home), "PWD": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    playbook.unlink()
    assert cluster.password not in done.stdout
    return Run(done.returncode, done.stdout)


def a_failed_drill_leaves_the_record_as_it_was(finished: Migration, tmp_path: Path) -> None:
    record = (finished.state / "record.json").read_bytes()
    place = {"migration_id": finished.name, "state_dir": str(finished.state.parent), "bin_dir": str(finished.bin_dir)}
    # A drill of another database, under the name of the migration.
    run = run_role(tmp_path, "restore", finished.target, database="drill", archive="/srv/nothing", **place)
    assert run.message.startswith(
        f"The migration 'test' is of the database {finished.database!r}, and this run is about 'drill'. Nothing was changed."
    ), run.output
    # One of the same database, from an archive that is not there.
    place["database"] = finished.database
    run = run_role(tmp_path, "restore", finished.target, archive="/srv/nothing", incoming="drill", **place)
    assert run.code
    assert "Traceback" not in run.output
    assert (finished.state / "record.json").read_bytes() == record
    again = reach(finished)
    assert not any(result["changed"] for result in again.values())


@pytest.mark.parametrize("role", ["restore", rarely("promote")])
def test_a_role_alone_writes_into_its_own_state_folder_only(
    role: str, target_cluster: Cluster, client_dir: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    variables = {"database": "nothing", "migration_id": "alone", "state_dir": str(own)}
    if role == "restore":
        variables.update(archive=str(tmp_path / "no-archive"), bin_dir=str(client_dir))
    run = run_role(tmp_path, role, target_cluster, **variables)
    assert run.code
    assert "Traceback" not in run.output
    record = json.loads((own / "alone" / "record.json").read_text(encoding="utf-8"))
    assert record["phases"][role]["error"]["msg"] == run.message, run.output
    # The report of the run that stopped lies where it was started; nothing of the migration is elsewhere.
    home = tmp_path / "home"
    assert {path.name for path in home.iterdir()} <= {"couch2pg-records", ".ansible"}
    assert run.message in (home / "couch2pg-records" / "alone.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["state_dir", rarely("staging_dir")])
def test_a_relative_folder_is_refused(name: str, source_cluster: Cluster, tmp_path: Path) -> None:
    folders = {"state_dir": str(tmp_path / "state"), "staging_dir": str(tmp_path / "staging"), name: "archives"}
    run = run_role(tmp_path, "dump", source_cluster, database="nothing", **folders)
    assert f"{name} must be an absolute path, such as /srv/archives or ~/archives, and it is 'archives'." in run.message
    # An empty one would be the folder where Ansible runs the module.
    run = run_role(tmp_path, "dump", source_cluster, database="nothing", **{**folders, name: ""})
    assert (
        run.message == f"{name} is empty. Nothing was changed. Set couch2pg_{name}, or the role's or task's own {name}."
    )
    assert not list(tmp_path.glob("st*"))
    assert not (tmp_path / "home" / "archives").exists()


@pytest.mark.long
def test_check_mode_refuses_what_a_run_refuses(migration: Migration, target_cluster: Cluster, tmp_path: Path) -> None:
    """On the way to a finished migration, whose record a failed drill leaves as it is."""

    def both(phase: str, **more: Any) -> dict[str, Any]:
        """The refusal of a run in check mode, which is that of a real one."""
        module, options = role_options(migration, phase)
        cluster = migration.source if phase == "dump" else migration.target
        options = {**login(cluster, migration.database), **options, **more}
        checked = run_module(module, options, check=True)
        assert checked.get("failed"), checked
        real = run_module(module, options)
        assert (checked["code"], checked["msg"]) == (real["code"], real["msg"])
        return checked

    migration.archive.mkdir(parents=True)
    assert both("dump")["code"] == "archive_exists"
    migration.archive.rmdir()
    # Without the archive, the promise names its condition.
    module, options = role_options(migration, "restore")
    predicted = run_module(module, {**login(target_cluster, migration.database), **options}, check=True)
    assert predicted["changed"]
    assert predicted["msg"].startswith("An earlier phase has to run first. There is no archive in")
    reach(migration, "dump")
    execute(target_cluster, f"CREATE DATABASE {migration.database}")
    execute(target_cluster, "CREATE TABLE mine (n int); INSERT INTO mine VALUES (1)", migration.database)
    assert both("restore")["code"] == "target_not_empty"
    execute(target_cluster, f"DROP DATABASE {migration.database}")
    execute(target_cluster, f"CREATE DATABASE {migration.database}_incoming")
    assert both("restore")["code"] == "incoming_exists"
    execute(target_cluster, f"DROP DATABASE {migration.database}_incoming")
    reach(migration, "verify")
    with contextlib.closing(target_cluster.connect(f"{migration.database}_incoming")):
        assert both("promote")["code"] == "database_in_use"
    reach(migration)
    a_failed_drill_leaves_the_record_as_it_was(migration, tmp_path)


def test_a_folder_for_reports_that_can_not_be_written_is_noticed_first(
    make_migration: Callable[[Cluster, Cluster], Migration], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    migration = make_migration(source_cluster, target_cluster)
    migration.variables["couch2pg_records_dir"] = "/proc/records"
    message = migration.fail()
    assert message.startswith("The report can't be written on the controller: /proc is a virtual file system"), message
    assert not migration.state.parent.exists()


@pytest.mark.long
def test_a_database_without_couch2pg_is_moved_and_verified(
    source_cluster: Cluster,
    target_cluster: Cluster,
    client_dir: Path,
    fresh_database: Callable[[Cluster], str],
    tmp_path: Path,
) -> None:
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE other AS SELECT generate_series(1, 5) AS n", name)
    seed.create_role(target_cluster, seed.OWNER)
    try:
        Phases(source_cluster, target_cluster, name, client_dir, tmp_path).all()
        assert column(target_cluster, "SELECT count(*) FROM other", name) == [5]
    finally:
        seed.drop_database(target_cluster, name)
