# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source's server loads libraries at its start that the target's doesn't: the advice for each is followed as it is printed."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest
from support import binaries, libraries, places, seed
from support.by_phases import Phases
from support.clusters import Cluster
from support.migration import column, execute
from support.preflight import failures, finding, look, look_at_target, schema_of

DATABASE = "labelled"
MAKE = "CREATE TABLE couchdb (doc jsonb); ALTER TABLE couchdb OWNER TO couch2pg"
LABELS = """
SECURITY LABEL FOR marks ON TABLE couchdb IS 'a'; SECURITY LABEL FOR marks ON COLUMN couchdb.doc IS 'it''s';
SECURITY LABEL FOR marks ON DATABASE labelled IS 'b'; SECURITY LABEL FOR marks ON ROLE couch2pg IS 'c';
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Cluster, Cluster]]:
    """Both find the libraries, and the first loads them."""
    folder = Path(tempfile.mkdtemp(prefix="libraries-", dir=places.work_folder("clusters")))
    folder.chmod(0o755)
    programs = binaries.packaged()[18]
    found = libraries.build(programs, folder / "lib")
    loaded = {"shared_preload_libraries": f"{libraries.AT_START}, {libraries.LABELS}"}
    here = Cluster.create(folder / "source", programs, settings={**found, **loaded})
    there = Cluster.create(folder / "target", programs, settings={**found, "shared_preload_libraries": "plpgsql"})
    try:
        with here, there:
            for cluster in (here, there):
                seed.create_role(cluster, seed.OWNER)
            yield here, there
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def phases(servers: tuple[Cluster, Cluster], client_dir: Path, tmp_path: Path) -> Iterator[Phases]:
    """On the target, what a test has added to the configuration is gone afterwards."""
    source, target = servers
    seed.create_database(source, DATABASE)
    execute(source, MAKE, DATABASE)
    made = Phases(source, target, client_dir, tmp_path, DATABASE)
    yield made
    for name in (DATABASE, made.incoming):
        seed.drop_database(source, name)
        seed.drop_database(target, name)
    execute(target, "ALTER SYSTEM RESET ALL")
    restart(target)


def restart(cluster: Cluster) -> None:
    cluster.stop()
    cluster.start()


def with_others(cluster: Cluster, message: str) -> str:
    """The statement that the message prints for what SHOW names."""
    ((setting, alone, more),) = re.findall(
        r"as a superuser: SHOW (\w+); .*? (ALTER SYSTEM [^;]*;) .*? (ALTER SYSTEM [^;]*;)", message
    )
    others = [f"'{name}'" for name in column(cluster, f"SHOW {setting}")[0].split(",") if name]
    return str(more.replace("...", ", ".join(others)) if others else alone)


def test_an_extension(phases: Phases) -> None:
    execute(phases.source, f'CREATE EXTENSION "{libraries.AT_START}"', DATABASE)
    phases.run("dump", "transfer")
    message = phases.fail("restore")
    execute(phases.target, with_others(phases.target, message))
    restart(phases.target)
    phases.run("restore", "refresh", "verify")
    assert column(phases.target, "SHOW shared_preload_libraries") == ['plpgsql, "from-start"']


@pytest.mark.long
@pytest.mark.parametrize("there", ["target", "source"])
def test_labels(there: str, phases: Phases) -> None:
    execute(phases.source, LABELS, DATABASE)
    phases.run("dump", "transfer")
    message = phases.fail("restore")
    if there == "target":
        execute(phases.target, with_others(phases.target, message).replace("LIBRARY", libraries.LABELS))
        execute(phases.target, "SELECT pg_reload_conf()")
    else:
        saved = column(phases.source, message.split('--command="')[1].split('"')[0], DATABASE)
        statement = message.split("in the source's database, as a superuser: ")[1].split(";")[0]
        execute(phases.source, statement, DATABASE)
        command = message.split("dump again: ")[1]
        assert command.endswith("restart_from=dump")
        phases.restart("restore")
        phases.restart("dump")
        phases.run("dump", "transfer")
    phases.run("restore", "refresh", "verify")
    labels = column(phases.target, "SELECT label FROM pg_seclabel ORDER BY 1", phases.incoming)
    assert labels == (["a", "it's"] if there == "target" else [])
    if there == "source":
        execute(phases.source, " ".join(saved), DATABASE)
        assert column(phases.source, "SELECT label FROM pg_seclabel ORDER BY 1", DATABASE) == ["a", "it's"]


@pytest.mark.long
def test_preflight(phases: Phases, place: dict[str, Any]) -> None:
    execute(phases.source, LABELS, DATABASE)
    facts = look(place, phases.source, DATABASE)["facts"]
    told = finding(look_at_target(place, phases.target, DATABASE, facts), "libraries")
    execute(phases.target, told["message"].split("as a superuser: ")[1].split(" and restart")[0])
    restart(phases.target)
    schema = schema_of(place, phases.source, DATABASE)
    found = look_at_target(place, phases.target, DATABASE, facts, schema=schema)
    assert failures(found) == []
    assert "libraries" not in [entry["name"] for entry in found["findings"]]
    # What is not copied is said by heart.
    phases.run("dump", "transfer", "restore", "refresh", "verify", "promote")
    message = finding(look(place, phases.source, DATABASE), "not copied")["message"]
    for statement in message.split("after the promotion, run ")[1].split(")")[0].split("; "):
        execute(phases.target, statement)
    assert column(phases.target, "SELECT label FROM pg_shseclabel ORDER BY 1") == ["b", "c"]
