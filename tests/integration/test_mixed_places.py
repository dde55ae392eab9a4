# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL in a container on one side, and on the host itself on the other: whole migrations, in both directions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
from support.docker_engine import engine
from support.hosts import Host, Hosts, Spec
from support.many_playbooks import PROGRAM
from support.migration import ROOT, Run, environment
from support.module_host import sql, start_postgresql
from support.stock import PASSWORD, Stock

# It builds images, which takes minutes.
pytestmark = pytest.mark.long

OLD, NEW = "bullseye", "trixie"
ROWS = 2000
TABLES = f"""
SET ROLE cht_couch2pg;
CREATE TABLE couchdb (doc jsonb);
INSERT INTO couchdb SELECT jsonb_build_object('_id', n::text, 'type', 'person') FROM generate_series(1, {ROWS}) AS n;
CREATE UNIQUE INDEX couchdb_doc_uuid ON couchdb ((doc ->> '_id'));
CREATE TABLE couchdb_progress (seq varchar, source varchar);
CREATE MATERIALIZED VIEW people AS SELECT doc ->> '_id' AS id FROM couchdb;
CREATE UNIQUE INDEX people_id ON people (id);
"""
CONTENTS = "SELECT count(*), md5(string_agg(doc::text, ',' ORDER BY doc ->> '_id')), (SELECT count(*) FROM people) FROM couchdb"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    wanted = [Spec("boxed", compose=True, postgres=(OLD, NEW)), Spec("plain")]
    with engine() as docker, Hosts(docker, tmp_path_factory.mktemp("hosts"), wanted) as hosts:
        start_postgresql(hosts["plain"])
        yield hosts


def migrate(folder: Path, source: Host, target: Host, *arguments: str, **variables: Any) -> Run:
    """The playbook, with an inventory that says nothing of where PostgreSQL runs."""
    sides = {"couch2pg_source": source, "couch2pg_target": target}
    of_all = {
        "couch2pg_handover": False,
        "couch2pg_migration_id": f"from-{source.name}",
        "couch2pg_records_dir": str(folder / "records"),
        "ansible_pipelining": True,
        **variables,
    }
    groups = {group: {"hosts": {host.name: host.variables}} for group, host in sides.items()}
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"all": {"vars": of_all, "children": groups}}), encoding="utf-8")
    done = subprocess.run(
        [PROGRAM, f"{ROOT}/playbooks/migrate.yml", "-i", str(inventory), *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=560,
    )
    assert PASSWORD not in done.stdout
    return Run(done.returncode, done.stdout)


def succeed(*arguments: Any, **variables: Any) -> Run:
    run = migrate(*arguments, **variables)
    assert run.code == 0, run.output
    return run


def test_from_a_container_to_the_host_and_back_into_a_newer_one(hosts: Hosts, tmp_path: Path) -> None:
    boxed, plain = hosts["boxed"], hosts["plain"]
    old = Stock(boxed, "old", OLD)
    old.sql(TABLES)
    expected = old.sql(CONTENTS)
    succeed(tmp_path, boxed, plain, "--check")
    succeed(tmp_path, boxed, plain)
    assert sql(plain, CONTENTS, "cht") == expected
    assert succeed(tmp_path, boxed, plain).changed == 0

    # The container publishes no port: the rows are streamed through SSH, or the run says why not before it changes anything.
    streamed = {"couch2pg_method": "stream", "couch2pg_migration_id": "streamed", "couch2pg_replace_existing": True}
    refused = migrate(tmp_path, boxed, plain, **streamed, couch2pg_copy_way="direct")
    assert refused.message.startswith(
        "boxed runs PostgreSQL in the container old-postgres-1, which publishes no port, so plain can't copy from it directly."
    )
    forgotten = migrate(tmp_path, boxed, plain, **streamed)
    assert forgotten.message.startswith(
        "boxed runs PostgreSQL in the container old-postgres-1, whose password only its host knows. Set couch2pg_login_password"
    )
    done = succeed(tmp_path, boxed, plain, **streamed, couch2pg_login_password=PASSWORD)
    assert "The way to the source's server is ssh" in done.output
    assert sql(plain, CONTENTS, "cht") == expected
    assert "cht.couch2pg" not in boxed.run("sh", "-c", "cat /root/.ssh/authorized_keys 2>/dev/null || true")

    boxed.run("docker", "stop", old.name)
    new = Stock(boxed, "new", NEW)
    succeed(tmp_path, plain, boxed, couch2pg_replace_existing=True)
    assert new.sql(CONTENTS) == expected
    assert boxed.run("docker", "ps", "--quiet", "--filter", "label=cht.couch2pg.job") == ""
