# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Superset, whose databases are led from one real server to another, and back; what it does with passwords."""

from __future__ import annotations

import json
import secrets
from typing import Any, Callable, Iterator
from urllib.parse import quote

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.changes import unpack
from support import seed
from support.clusters import Cluster
from support.migration import execute
from support.modules import run_module
from support.superset import Superset

pytestmark = pytest.mark.long
# As an address must not be: it has to be encoded.
OLD, NEW = (f"{letter}/@:{secrets.token_hex(8)}%" for letter in "on")
READER = "superset_reader"


@pytest.fixture(scope="module")
def superset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Superset]:
    with Superset(tmp_path_factory.mktemp("superset")) as running:
        yield running


class Sides:
    """The same table on both servers, which differ in the password of the reader."""

    def __init__(self, superset: Superset, name: str, source: Cluster, target: Cluster) -> None:
        self.superset, self.name, self.source, self.target = superset, name, source, target
        self.made: list[int] = []

    def address(self, cluster: Cluster, password: str, database: str = "") -> str:
        end = f"127.0.0.1:{cluster.port}/{database or self.name}?connect_timeout=5"
        return f"postgresql+psycopg2://{READER}:{quote(password, safe='')}@{end}"

    def add(self, name: str, chart: bool = True, everywhere: bool = True, password: str = OLD) -> int:
        """A database of Superset with a table of its own, which is on both servers unless it isn't ``everywhere``."""
        # In SQLite, Superset takes the name of a table only once.
        table = f"{name}_{self.name}"
        for cluster in (self.source, self.target)[: 1 + everywhere]:
            execute(cluster, f"CREATE TABLE {table} AS SELECT 1 AS id; GRANT SELECT ON {table} TO {READER}", self.name)
        number = self.superset.add_database(f"{name} {self.name}", self.address(self.source, password), table, chart)
        self.made.append(number)
        return number

    def run(self, check: bool = False, password: str = "", **changed: Any) -> dict[str, Any]:
        password = password or self.superset.password
        options = {
            "name": "Superset",
            "migration_id": self.name,
            "superset": {"url": self.superset.url, "user": "admin", "password": password},
            "source": {"names": ["127.0.0.1"], "port": self.source.port, "database": self.name},
            "target": {"host": "127.0.0.1", "port": self.target.port, "database": self.name},
            "passwords": {READER: NEW},
            "source_passwords": {READER: OLD},
            **changed,
        }
        result = run_module("cutover_step", options, check=check)
        for secret in (OLD, NEW, self.superset.password):
            assert secret not in json.dumps(result)
        return result

    def ports(self) -> list[int]:
        places = (self.superset.uri(number).partition("@")[2] for number in self.made)
        return [int(place.partition(":")[2].partition("/")[0]) for place in places]


@pytest.fixture
def sides(
    superset: Superset,
    fresh_database: Callable[[Cluster], str],
    source_cluster: Cluster,
    target_cluster: Cluster,
) -> Iterator[Sides]:
    for cluster, password in ((source_cluster, OLD), (target_cluster, NEW)):
        name = fresh_database(cluster)
        seed.create_role(cluster, READER, password)
    yield Sides(superset, name, source_cluster, target_cluster)
    for cluster in (source_cluster, target_cluster):
        seed.drop_database(cluster, name)
        execute(cluster, f"DROP ROLE {READER}")


def test_there_and_back(sides: Sides) -> None:
    """Two databases of Superset, one without a chart; a third leads elsewhere."""
    first, second = sides.add("first"), sides.add("second", chart=False)
    before = [sides.superset.uri(number) for number in sides.made]
    looked = sides.run(check=True)
    assert looked["changed"], looked
    # Where the login is given by the very run that is predicted, it can't be tried yet.
    assert sides.run(check=True, passwords={READER: "not yet"}, untested=[READER])["changed"]
    assert [sides.superset.uri(number) for number in sides.made] == before
    done = sides.run()
    assert sorted(done["moved"]) == sorted(f"{name} {sides.name}" for name in ("first", "second")), done
    assert sides.ports() == [sides.target.port] * 2
    # What else was in the address is still there.
    assert sides.superset.uri(first).endswith("?connect_timeout=5")
    assert all(sides.superset.works(number) for number in sides.made)
    again = sides.run()
    assert not again["changed"]
    assert len(again["ready"]) == 2
    remembered = {"side": "source", "remembered": [done["packed"]]}
    assert sides.run(check=True, **remembered)["changed"]
    assert sides.run(**remembered)["changed"]
    assert [sides.superset.uri(number) for number in sides.made] == before
    assert all(sides.superset.works(number) for number in (first, second))
    assert not sides.run(**remembered)["changed"]


def test_nothing_is_changed_with_a_wrong_password(sides: Sides) -> None:
    sides.add("first")
    for changed, said in (
        ({"passwords": {READER: "wrong"}}, "Superset can't use the target (127.0.0.1:"),
        ({"source_passwords": {READER: "wrong"}}, "Superset can't use the source, to which it would go back"),
        ({"passwords": {}}, f'known. Set couch2pg_dashboard_passwords: {{"{READER}": PASSWORD}}.'),
        ({"password": "wrong-one"}, "answers 401 to POST /api/v1/security/login"),
        ({"source": {"names": ["elsewhere"], "database": sides.name}}, "leads to the source's database"),
    ):
        failed = sides.run(**changed)
        assert failed.get("failed"), failed
        assert said in failed["msg"], failed["msg"]
    assert sides.ports() == [sides.source.port]


def test_a_chart_that_fails_puts_every_database_back(sides: Sides) -> None:
    """The login works there, but what the second one's chart asks is missing."""
    sides.add("first")
    sides.add("second", everywhere=False)
    failed = sides.run()
    assert failed.get("code") == "chart", failed
    assert f"chart 'chart of second {sides.name}' fails there" in failed["msg"]
    assert sides.ports() == [sides.source.port] * 2
    assert all(sides.superset.works(number) for number in sides.made)
    assert f"on the target, where {READER!r} needs the same tables and rights" in failed["msg"]
    table = f"second_{sides.name}"
    execute(sides.target, f"CREATE TABLE {table} AS SELECT 1 AS id; GRANT SELECT ON {table} TO {READER}", sides.name)
    assert sides.run()["changed"]
    assert sides.ports() == [sides.target.port] * 2


def test_a_host_that_the_target_does_not_let_in(sides: Sides) -> None:
    """The line of pg_hba.conf that is printed lets it in."""
    sides.add("first")
    hba = sides.target.data_directory / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")
    others = "local all all scram-sha-256\nhost all postgres 127.0.0.1/32 scram-sha-256\n"

    def admit(text: str) -> None:
        hba.write_text(text, encoding="utf-8")
        execute(sides.target, "SELECT pg_reload_conf()")

    try:
        admit(others)
        failed = sides.run()
        assert failed.get("code") == "dashboard_login", failed
        line = failed["msg"].partition("(SELECT pg_reload_conf()): ")[2]
        assert line.startswith("host "), failed["msg"]
        admit(f"{line.replace('ADDRESS', '127.0.0.1')}\n{others}")
        assert sides.run()["changed"]
    finally:
        admit(before)
    assert sides.ports() == [sides.target.port]


def test_back_without_any_password(sides: Sides) -> None:
    """With the mask Superset keeps the password that it has: it goes back where both sides have the same one."""
    seed.create_role(sides.source, READER, NEW)
    number = sides.add("same", password=NEW)
    done = sides.run(source_passwords={})
    assert done["changed"], done
    assert "XXXXXXXXXX" in unpack(done["packed"])[0]["old"]
    back = sides.run(side="source", remembered=[done["packed"]], passwords={}, source_passwords={})
    assert back["changed"], back
    assert sides.ports() == [sides.source.port]
    assert sides.superset.works(number)


def test_one_that_somebody_deleted_keeps_nothing_back(sides: Sides) -> None:
    gone, kept = sides.add("gone"), sides.add("kept")
    done = sides.run()
    for kind in ("chart", "dataset"):
        asked = sides.superset.api.ask("GET", f"/api/v1/{kind}/?q=(page_size:100)")["result"]
        for row in asked:
            label = row.get("slice_name") or row["database"]["database_name"]
            if f"gone {sides.name}" in label:
                sides.superset.api.ask("DELETE", f"/api/v1/{kind}/{row['id']}")
    sides.superset.api.ask("DELETE", f"/api/v1/database/{gone}")
    sides.made.remove(gone)
    back = sides.run(side="source", remembered=[done["packed"]])
    assert back["moved"] == [f"kept {sides.name}"], back
    assert sides.ports() == [sides.source.port]
    assert sides.superset.works(kept)
