# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""More tables than a server has room to lock: preflight says so on both sides, and the number that it prints is enough."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from support import binaries, places, seed
from support.clusters import Cluster
from support.migration import execute
from support.preflight import finding, look, look_at_target

DATABASE = "many"
TABLES = 4000
# The least that PostgreSQL accepts, so that few tables are too many.
SMALL = {"max_locks_per_transaction": "10", "max_connections": "30"}
MANY = f"""
DO $$ BEGIN FOR n IN 1..{TABLES} LOOP EXECUTE format('CREATE TABLE t%s (n int)', n); END LOOP; END $$
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server that holds the tables, which its room is too small to lock at a time."""
    folder = Path(tempfile.mkdtemp(prefix="room-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(18), settings=SMALL) as made:
        seed.create_role(made, seed.OWNER)
        seed.create_database(made, DATABASE)
        execute(made, "CREATE TABLE couchdb (doc jsonb)", DATABASE)
        for part in range(4):
            execute(made, MANY.replace("1..4000", f"{part * 1000 + 1}..{part * 1000 + 1000}"), DATABASE)
        yield made


def dumped(cluster: Cluster, program: Path) -> subprocess.CompletedProcess[str]:
    """pg_dump as verify runs it on the target."""
    login = f"host={cluster.host} port={cluster.port} user={cluster.superuser} password={cluster.password} dbname={DATABASE}"
    command = [str(program), "--schema-only", "--file=/dev/null", f"--dbname={login}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_the_number_that_it_prints_is_enough(cluster: Cluster, tmp_path: Path, client_dir: Path) -> None:
    place = {"migration_id": "m", "bin_dir": str(client_dir)}
    place |= {name: str(tmp_path / name) for name in ("state_dir", "staging_dir")}
    assert "out of shared memory" in dumped(cluster, client_dir / "pg_dump").stderr

    seen = look(place, cluster, DATABASE)
    source = finding(seen, "locks")
    assert source["status"] == "failure"
    assert f"The database has {TABLES + 1} tables ({TABLES + 1} with their indexes), and" in source["message"]

    # The same server stands for a target of its size.
    facts = {**seen["facts"], "running_server": "another"}
    target = finding(look_at_target(place, cluster, "not_yet", facts), "locks")
    assert target["status"] == "failure"
    for told in (source, target):
        wanted = int(
            re.findall(r"Set max_locks_per_transaction to (\d+) or more there, and restart it", told["message"])[0]
        )
        execute(cluster, f"ALTER SYSTEM SET max_locks_per_transaction = {wanted}")
        cluster.stop()
        cluster.start()
        assert dumped(cluster, client_dir / "pg_dump").returncode == 0
    for result in (look(place, cluster, DATABASE), look_at_target(place, cluster, "not_yet", facts)):
        assert [
            entry for entry in result["findings"] if entry["name"] == "locks" and entry["status"] == "failure"
        ] == []
