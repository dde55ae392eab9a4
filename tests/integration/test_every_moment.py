# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes databases is killed before and after each statement that writes, and before each change of a file.

The same call then ends as without a kill: the same servers, as pg_dumpall prints them, and the same files.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import pytest
from support import binaries, places, seed
from support.by_phases import MODULES, Phases
from support.clusters import Cluster
from support.ground import JOB, Ground, check_changes, every, of_kinds
from support.migration import execute
from support.modules import login, run_module
from support.preflight import look, schema_of

SOURCE, TARGET = 16, 18


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Cluster, Cluster]]:
    """Two of these tests alone, which are stopped and put back."""
    made = []
    for major in (SOURCE, TARGET):
        folder = Path(tempfile.mkdtemp(prefix=f"{major}-", dir=places.work_folder("clusters")))
        made.append(Cluster.create(folder, binaries.binaries(major)))
    with made[0], made[1]:
        yield made[0], made[1]


class Field:
    """A migration between these servers, which is put back to where a test begins."""

    def __init__(self, servers: tuple[Cluster, Cluster], bin_dir: Path, folder: Path) -> None:
        self.source, self.target = servers
        # The server that is changed by what is killed.
        self.changed = self.target
        one_after_the_other: dict[str, Any] = {"jobs": 1}
        self.phases = Phases(self.source, self.target, bin_dir, folder / "migration", "cht")
        for phase in ("dump", "restore", "verify"):
            self.phases.options[phase] = dict(one_after_the_other)
        self.phases.folder.mkdir()
        self.kept = folder / "kept"

    def module(self, phase: str) -> Callable[[dict[str, str]], dict[str, Any]]:
        """The call of a phase's module."""
        options = {**self.phases.options_of(phase), **self.phases.options.get(phase, {})}
        return lambda environment: run_module(MODULES[phase], options, environment=environment)

    def other(self, name: str, cluster: Cluster, **options: Any) -> Callable[[dict[str, str]], dict[str, Any]]:
        """The call of another module."""
        place = {"migration_id": self.phases.name, "state_dir": str(self.phases.folder / "state")}
        given = {**place, **login(cluster, "cht"), **options}
        return lambda environment: run_module(name, given, environment=environment)


@pytest.fixture(scope="module")
def beginning(
    servers: tuple[Cluster, Cluster], tmp_path_factory: pytest.TempPathFactory
) -> tuple[tuple[Cluster, Cluster], Path]:
    """The servers as they are before a migration."""
    source, target = servers
    seed.seed(source, "cht", documents=200, huge=False)
    execute(
        source,
        "CREATE ROLE analyst NOLOGIN; GRANT analyst TO superset; CREATE ROLE gone; GRANT CREATE ON DATABASE cht TO gone",
    )
    execute(source, "GRANT SELECT ON couchdb TO analyst, gone; ALTER TABLE couchdb_progress OWNER TO gone", "cht")
    execute(
        source, "ALTER DATABASE cht SET default_transaction_read_only = off; ALTER DATABASE cht CONNECTION LIMIT 50"
    )
    seed.create_role(target, seed.OWNER)
    seed.create_database(target, "cht")
    execute(target, "CREATE TABLE earlier (n int); INSERT INTO earlier VALUES (1)", "cht")
    folder = tmp_path_factory.mktemp("beginning")
    (folder / "nothing").mkdir()
    everything = Ground(folder / "nothing", folder / "kept", Path(), source, target)
    everything.keep()
    return servers, folder


@pytest.fixture
def field(beginning: tuple[tuple[Cluster, Cluster], Path], client_dir: Path, tmp_path: Path) -> Field:
    """As before a migration."""
    servers, folder = beginning
    Ground(folder / "nothing", folder / "kept", client_dir, *servers).back()
    made = Field(servers, client_dir, tmp_path)
    made.phases.options["restore"].update(missing_roles="create", role_map={"gone": "couch2pg"}, replace_existing=True)
    made.phases.options["promote"] = {"replace_existing": True}
    return made


Call = Callable[[dict[str, str]], dict[str, Any]]


def restore(field: Field) -> tuple[str, Call]:
    field.phases.run("dump", "transfer")
    return JOB, field.module("restore")


def refresh(field: Field) -> tuple[str, Call]:
    field.phases.run("dump", "transfer", "restore")
    return JOB, field.module("refresh")


def verify(field: Field) -> tuple[str, Call]:
    """With differences that the operator accepts."""
    field.phases.run("dump", "transfer", "restore", "refresh")
    return JOB, field.module("verify")


def promote(field: Field) -> tuple[str, Call]:
    field.phases.run("dump", "transfer", "restore", "refresh", "verify")
    return "modules.promote", field.module("promote")


def roll_back(field: Field) -> tuple[str, Call]:
    field.phases.run("dump", "transfer", "restore", "refresh", "verify", "promote")
    return "modules.rollback", field.other("rollback", field.target)


def drop_the_source(field: Field) -> tuple[str, Call]:
    field.changed = field.source
    dumped = field.phases.run("dump")
    known = {"identity": dumped["server_identity"], "oid": dumped["database_oid"]}
    return "modules.database_drop", field.other("database_drop", field.source, **known)


def restore_again(field: Field) -> tuple[str, Call]:
    field.phases.run("dump", "transfer", "restore")
    options = {"which": "incoming", "incoming": field.phases.incoming}
    return "modules.database_drop", field.other("database_drop", field.target, **options)


def drop_a_rehearsal(field: Field) -> tuple[str, Call]:
    field.phases.name = "test_rehearsal_20260101T000000"
    field.phases.run("dump", "transfer", "restore")
    call = field.other("database_drop", field.target, which="rehearsal", database=field.phases.incoming)
    return "modules.database_drop", call


def clean_up(field: Field) -> tuple[str, Call]:
    field.phases.run("dump", "transfer", "restore")
    place = {"migration_id": field.phases.name, "state_dir": str(field.phases.folder / "state")}
    options = {**place, "archive": str(field.phases.archive), "half_done": True}
    return "modules.archive_cleanup", lambda environment: run_module(
        "archive_cleanup", options, environment=environment
    )


def give_a_login(field: Field) -> tuple[str, Call]:
    place = {"host": field.target.host, "port": field.target.port, "give": True}
    variables = {"POSTGRESQL_URL": "postgres://couch2pg_new:secret@old.example.org/cht"}
    settings = json.dumps({"format": 1, "style": "url", "variables": variables})
    options = {**login(field.target, "cht"), **place, "settings": settings}
    return "modules.role_login", lambda environment: run_module("role_login", options, environment=environment)


def rename_checkpoints(field: Field) -> tuple[str, Call]:
    execute(field.target, "CREATE TABLE couchdb_progress (seq varchar, source varchar)", "cht")
    for database in ("medic", "medic-sentinel", "medic-users-meta", "medic-logs", "_users"):
        execute(field.target, f"INSERT INTO couchdb_progress VALUES ('7-abc', 'old.example.org/{database}')", "cht")
    options = {**login(field.target, "cht"), "couchdb_url": "https://u:p@new.example.org/medic", "rename": True}
    return "modules.couch2pg_checkpoint", lambda environment: run_module(
        "couch2pg_checkpoint", options, environment=environment
    )


def try_the_schema(field: Field) -> tuple[str, Call]:
    """Preflight on the target, with roles that it lacks."""
    place = {"migration_id": "test", "bin_dir": str(field.phases.bin_dir)}
    place |= {name: str(field.phases.folder / name.partition("_")[0]) for name in ("state_dir", "staging_dir")}
    facts = look(place, field.source, "cht")["facts"]
    options = {**login(field.target, "cht"), **place, "side": "target", "source": facts, "incoming": "cht_incoming"}
    options |= {"schema": schema_of(place, field.source, "cht"), "missing_roles": "create", "replace_existing": True}
    return "modules.preflight", lambda environment: run_module("preflight", options, environment=environment)


def stream(field: Field) -> tuple[str, Call]:
    options = {**field.phases.options_of("restore"), "source": login(field.source, "cht"), "jobs": 1}
    options |= {"missing_roles": "create", "replace_existing": True}
    return JOB, lambda environment: run_module("pg_stream", options, environment=environment)


# What is begun, and in which of its changes a default run kills it.
KINDS: dict[Callable[[Field], tuple[str, Call]], tuple[str, ...]] = {
    restore: ("after CREATE DATABASE",),
    # It was renamed already.
    drop_the_source: ("before DROP DATABASE",),
    promote: (),
    refresh: (),
    verify: (),
    roll_back: (),
    restore_again: (),
    drop_a_rehearsal: (),
    clean_up: (),
    give_a_login: (),
    rename_checkpoints: (),
    try_the_schema: (),
    stream: (),
}
SOME = [pytest.param(begin, of_kinds(*kinds), id=f"{begin.__name__} some") for begin, kinds in KINDS.items() if kinds]
ALL = [pytest.param(begin, every, id=f"{begin.__name__} all", marks=pytest.mark.long) for begin in KINDS]


@pytest.mark.parametrize(("begin", "chosen"), [*SOME, *ALL])
def test_what_was_killed_is_completed(
    field: Field, begin: Callable[[Field], tuple[str, Call]], chosen: Callable[[list[str]], Sequence[int]]
) -> None:
    program, call = begin(field)
    ground = Ground(field.phases.folder, field.kept, field.phases.bin_dir, field.changed)
    ground.keep()
    check_changes(ground, program, call, chosen)
