# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents of source and target compared, each filled by a real couch2pg: PostgreSQL 10 on one side, 18 on the other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator
from urllib.parse import quote

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.cht.couch2pg.plugins.filter.differing_buckets import differing_buckets
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import access as couch2pg_access
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.handover import (
    document_buckets,
    document_job,
    reconciliation,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support import couch2pg, seed
from support.clusters import Cluster
from support.couch2pg import Couch2pg
from support.couchdb import CouchDB
from support.couchdb_proxy import Proxy
from support.migration import WARM_PLAYBOOK, environment, execute
from support.modules import login

PASSWORD = "reconcile / secret"


class Sides:
    """Two databases that follow one CouchDB, each with a couch2pg that runs when it is told to."""

    def __init__(self, couchdb: CouchDB, proxy: Proxy, clusters: dict[str, Cluster], database: str, folder: Path):
        self.couchdb = couchdb
        self.clusters, self.database, self.folder = clusters, database, folder
        self.settings_file = folder / "settings.json"
        self._couch2pg = {}
        for side, cluster in clusters.items():
            seed.create_role(cluster, seed.OWNER, PASSWORD)
            seed.create_database(cluster, database)
            variables = couch2pg.settings(couchdb, cluster, database, PASSWORD)
            # Sequences with an opaque part, as every CouchDB since version 2 has them.
            variables["COUCHDB_URL"] = proxy.url()
            self._couch2pg[side] = Couch2pg(folder / side, variables)
        self.settings = couch2pg_settings.Settings(variables)
        self.settings.save(self.settings_file)
        self.pauses: list[float] = []
        self.pause: Callable[[float], None] = self.pauses.append

    def run(self, *sides: str) -> None:
        """Catch up."""
        for side in sides:
            self._couch2pg[side].run_once()

    def execute(self, sql: str, side: str = "target") -> None:
        execute(self.clusters[side], sql, self.database)

    def place(self, side: str, **other: str) -> ConnectionSettings:
        """The database of a side, for its superuser unless told otherwise."""
        cluster = self.clusters[side]
        return ConnectionSettings(self.database, cluster.host, cluster.port, **{"password": cluster.password, **other})

    def take(self, side: str, **options: Any) -> dict[str, Any]:
        """What the module's job does."""
        return document_job.look(self.place(side), {"buckets": 16384, "only": {}, "jobs": 2, "most": 1000, **options})

    def reconcile(self) -> dict[str, Any]:
        """What the three steps find."""
        only = differing_buckets(self.take("source")["packed"], self.take("target")["packed"])
        found = {side: self.take(side, only=only) for side in self.clusters} if only else {}
        one, other = (
            reconciliation.Side.of(document_buckets.unpack_documents(found[side]["documents"]) if found else [])
            for side in ("source", "target")
        )
        verdicts = reconciliation.reconcile(
            couch2pg_access.couchdb(self.settings),
            couch2pg_access.followed(self.settings),
            one,
            other,
            found["target"]["progress"] if found else {},
            lambda: Session(self.place("target", user=seed.OWNER, password=PASSWORD)),
            self.pause,
        )
        return reconciliation.summary(verdicts, 20)

    def play(self) -> dict[str, Any]:
        """The three steps as a role takes them; returns what each of its tasks returned."""
        state = {"migration_id": "test", "state_dir": str(self.folder / "state")}
        tasks = []
        for step, more in (
            ("all", {}),
            ("some", {"only": "{{ source_all.packed | cht.couch2pg.differing_buckets(target_all.packed) }}"}),
        ):
            for side, cluster in self.clusters.items():
                options = {**login(cluster, self.database), "side": side, **state, **more}
                tasks.append({"cht.couch2pg.document_digest": options, "register": f"{side}_{step}"})
        last = {
            "settings_file": str(self.settings_file),
            "source": "{{ source_some.documents }}",
            "target": "{{ target_some.documents }}",
            "progress": "{{ target_some.progress }}",
            "listed": 2,
        }
        tasks.append({"cht.couch2pg.couch2pg_reconcile": last, "register": "found", "ignore_errors": True})
        names = ["source_all", "target_all", "source_some", "target_some", "found"]
        results = "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} }}"
        tasks.append(
            {"ansible.builtin.copy": {"content": results, "dest": str(self.folder / "results.json"), "mode": "0600"}}
        )
        path = self.folder / "play.json"
        path.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
        done = subprocess.run(
            [
                sys.executable,
                WARM_PLAYBOOK,
                path,
                "-i",
                "localhost,",
                "-c",
                "local",
                "-e",
                f"ansible_python_interpreter={sys.executable} ansible_pipelining=true",
            ],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        results_found: dict[str, Any] = json.loads((self.folder / "results.json").read_text(encoding="utf-8"))
        return results_found

    def change(self, database: str, *names: str, deleted: bool = False) -> None:
        """Change documents, or delete them."""
        rows = self.couchdb.ask("POST", f"/{database}/_all_docs", {"keys": list(names)})["rows"]
        known = {row["key"]: row["value"]["rev"] for row in rows if "value" in row}
        self.couchdb.put(
            database,
            [
                {
                    "_id": name,
                    **({"_rev": known[name]} if name in known else {}),
                    "_deleted": deleted,
                    "now": time.time(),
                }
                for name in names
            ],
        )


@pytest.fixture(scope="module")
def sides(old_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    clusters = {"source": old_cluster, "target": target_cluster}
    folder, name = tmp_path_factory.mktemp("sides"), f"sides_{time.monotonic_ns()}"
    with CouchDB(folder, password=PASSWORD) as couchdb, Proxy(couchdb, folder, tls=False) as proxy:
        for database in ("medic", "medic-sentinel", "medic-users-meta", "medic-logs"):
            couchdb.put(database, [{"_id": f"{database}-{n}é", "type": "x"} for n in range(12)])
        made = Sides(couchdb, proxy, clusters, name, folder)
        made.run("source", "target")
        yield made
    for cluster in clusters.values():
        seed.drop_database(cluster, name)


def counts(found: dict[str, Any]) -> dict[str, int]:
    return {name: found[name] for name in reconciliation.VERDICTS if found[name]}


def test_what_differs_is_looked_up_in_couchdb(sides: Sides) -> None:
    # What couch2pg inserts of a document that is deleted at that moment is none.
    sides.execute("INSERT INTO couchdb_medic_logs VALUES (NULL), ('null')")
    assert sides.take("target")["tables"] == {
        "couchdb": 24,
        "couchdb_users_meta": 12,
        "couchdb_medic_logs": 12,
        "couchdb_medic_users": sides.couchdb.update_seq("_users"),
    }
    assert counts(sides.reconcile()) == {}
    # The target has caught up, the source has not.
    sides.change("medic", "medic-0é", "new-1")
    sides.change("medic-users-meta", "medic-users-meta-3é")
    sides.change("medic-logs", "medic-logs-1é", deleted=True)
    sides.run("target")
    assert counts(sides.reconcile()) == {"source_behind": 3, "deleted": 1}
    # And now the other way round, with a part that neither has seen.
    sides.change("medic-sentinel", "medic-sentinel-5é", "medic-sentinel-6é")
    sides.change("medic", "medic-2é", deleted=True)
    sides.run("source")
    sides.change("medic-sentinel", "medic-sentinel-6é")
    assert counts(sides.reconcile()) == {"changed_since": 3}
    assert sides.pauses == []


def test_what_is_lost_fails_and_is_named(sides: Sides) -> None:
    before = counts(sides.reconcile())
    sides.execute("DELETE FROM couchdb WHERE doc ->> '_id' = 'medic-sentinel-7é'")
    sides.execute("""UPDATE couchdb SET doc = jsonb_set(doc, '{_rev}', '"0-old"') WHERE doc ->> '_id' = 'medic-3é'""")
    sides.execute(
        "INSERT INTO couchdb_medic_logs SELECT doc FROM couchdb_medic_logs WHERE doc ->> '_id' LIKE '%-logs-9_'"
    )
    # Gone too, but couch2pg will bring it.
    sides.execute("DELETE FROM couchdb_users_meta WHERE doc ->> '_id' = 'medic-users-meta-1é'")
    sides.change("medic-users-meta", "medic-users-meta-1é")
    expected = {"changed_since": before.get("changed_since", 0) + 1, "lost": 2, "doubled": 1}
    expected = {**{name: count for name, count in before.items() if name not in expected}, **expected}
    played = sides.play()
    result = played.pop("found")
    assert [step["changed"] for step in played.values()] == [False] * 4
    only = differing_buckets(played["source_all"]["packed"], played["target_all"]["packed"])
    assert sum(len(numbers) for numbers in only.values()) == sum(expected.values())
    assert result["code"] == "documents_lost"
    assert counts(result["details"]) == expected
    assert [(entry["id"], entry["verdict"]) for entry in result["details"]["documents"]] == [
        ("medic-3é", "lost"),
        ("medic-sentinel-7é", "lost"),
    ]
    with pytest.raises(MigrationError, match="too many for recent changes"):
        sides.take("target", only=only, most=1)
    # What seems to be lost and comes at that moment is not.
    sides.execute("DELETE FROM couchdb_medic_logs WHERE ctid IN (SELECT max(ctid) FROM couchdb_medic_logs)")
    seen = sides.pauses.append

    def repaired(seconds: float) -> None:
        seen(seconds)
        for name, table in (("medic-sentinel-7é", "couchdb"), ("medic-3é", "couchdb")):
            rev = sides.couchdb.ask("GET", f"/{'medic-sentinel' if 'sentinel' in name else 'medic'}/{quote(name)}")[
                "_rev"
            ]
            sides.execute(
                f"DELETE FROM {table} WHERE doc ->> '_id' = '{name}'; "
                f"""INSERT INTO {table} VALUES ('{{"_id": "{name}", "_rev": "{rev}"}}')"""
            )

    sides.pause = repaired
    again = counts(sides.reconcile())
    assert (again.get("lost"), again.get("doubled"), len(sides.pauses)) == (None, None, 1)
    # What the message says brings them back.
    sides.pause = seen
    sides.execute("DELETE FROM couchdb WHERE doc ->> '_id' = 'medic-sentinel-7é'")
    sides.execute(
        "INSERT INTO couchdb_medic_logs SELECT doc FROM couchdb_medic_logs WHERE doc ->> '_id' LIKE '%-logs-8_'"
    )
    broken = counts(sides.reconcile())
    assert (broken["lost"], broken["doubled"]) == (1, 1)
    statement = re.search(r"UPDATE .*?;", result["msg"])
    assert statement, result
    sides.execute(statement[0])
    sides.run("target")
    repaired_by_couch2pg = counts(sides.reconcile())
    assert [repaired_by_couch2pg.get(name) for name in ("lost", "doubled")] == [None, None]


@pytest.mark.parametrize(
    "wrong", [{}, {"buckets": 4096, "digests": {"couchdb": "eJw"}}, {"buckets": 8192, "digests": {}}]
)
def test_what_cannot_be_compared_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(AnsibleFilterError):
        differing_buckets(wrong, document_buckets.pack({"couchdb": [0] * 4096}, 4096))
    with pytest.raises(MigrationError, match="power of two"):
        document_buckets.check_number(5000)


def test_many_documents_fit_into_few_bytes(
    target_cluster: Cluster, fresh_database: Callable[[Cluster], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = fresh_database(target_cluster)
    execute(
        target_cluster,
        "CREATE TABLE couchdb (doc jsonb); INSERT INTO couchdb SELECT jsonb_build_object('_id', md5(n::text), '_rev', "
        "'1-' || n) FROM generate_series(1, 200000) AS n",
        database,
    )
    place = ConnectionSettings(database, target_cluster.host, target_cluster.port, password=target_cluster.password)
    with Session(place) as session:
        tables = list_tables(session).kept
    monkeypatch.setattr(document_buckets, "CHUNK_BYTES", 1 << 20)
    seen: list[int] = []
    found = document_buckets.take(tables, 4096, 2, lambda: Session(place), lambda amount, _table: seen.append(amount))
    assert len(seen) > 10
    assert found.documents == {"couchdb": 200_000}
    packed = document_buckets.pack(found.digests, 4096)
    assert len(str(packed)) < 60_000
    execute(target_cluster, "DELETE FROM couchdb WHERE doc ->> '_id' = md5('777')", database)
    after = document_buckets.take(tables, 4096, 1, lambda: Session(place))
    only = document_buckets.differing(packed, document_buckets.pack(after.digests, 4096))
    assert len(only["couchdb"]) == 1
    listed = document_buckets.list_documents(tables, only, 4096, 1000, 2, lambda: Session(place))
    assert 10 < len(listed) < 200
    assert document_buckets.unpack_documents(document_buckets.pack_documents(listed)) == sorted(listed)
