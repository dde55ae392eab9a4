# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight of couch2pg: what would stop it on the target is found by name, before anything is changed."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import node, ports, seed
from support.clusters import Cluster
from support.couch2pg import Couch2pg, settings
from support.couchdb import CouchDB
from support.couchdb_proxy import Proxy
from support.migration import column, execute
from support.modules import run_module

PASSWORD = "p@s:s/w%40 $?#"
_names = itertools.count()


@dataclass
class Deployment:
    """A couch2pg that ran once from a CouchDB into a database of its own on the source."""

    couchdb: CouchDB
    cluster: Cluster
    database: str
    variables: dict[str, str]
    folder: Path

    def check(
        self, side: str, changes: dict[str, str] | None = None, installed: node.Node | None = None, **options: Any
    ) -> dict[str, dict[str, Any]]:
        """The findings by name; those of one name by its worst. On the target there is no file with settings yet."""
        variables = {**self.variables, **(changes or {})}
        deployment = self.deployment(side, installed or node.new())
        if side == "source":
            lines = (f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
            path = Path(deployment["env_file"])
            path.touch(mode=0o600)
            path.write_text("".join(lines))
        else:
            options["settings"] = json.dumps({"format": 1, "style": "url", "variables": variables})
        result = run_module("couch2pg_preflight", {"side": side, "deployment": deployment, **options})
        assert PASSWORD not in str(result)
        if result.get("failed"):
            assert (result["code"], options["started"]) == ("couch2pg_not_ready", True), result
            result = {"ready": False, "facts": {}, "findings": result["details"]["findings"]}
        worst = ["ok", "warning", "failure"]
        found: dict[str, dict[str, Any]] = {"facts": result["facts"]}
        for finding in result["findings"]:
            known = found.get(finding["name"], {"status": "ok"})
            if finding["name"] not in found or worst.index(finding["status"]) > worst.index(known["status"]):
                found[finding["name"]] = finding
        assert result["ready"] == all(entry.get("status") != "failure" for entry in found.values())
        return found

    def deployment(self, side: str, installed: node.Node) -> dict[str, Any]:
        """Kept by commands of the operator's own."""
        return {
            "kind": "env_file",
            "env_file": str(self.folder / f"{side}.env"),
            "app_dir": str(installed.packages.parent),
            "node": str(installed.program),
            "status_command": ["true"],
            "log": {"kind": "file", "path": str(self.folder / f"{side}.log")},
        }


@pytest.fixture(scope="module")
def couchdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CouchDB]:
    with CouchDB(tmp_path_factory.mktemp("couchdb")) as server:
        server.put("medic", [{"_id": f"report {number}", "type": "data_record"} for number in range(20)])
        yield server


@pytest.fixture(scope="module")
def deployment(
    couchdb: CouchDB, source_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    database = "couch2pg_preflight"
    seed.create_role(source_cluster, seed.OWNER, PASSWORD)
    seed.create_database(source_cluster, database)
    variables = settings(couchdb, source_cluster, database, PASSWORD)
    folder = tmp_path_factory.mktemp("couch2pg")
    Couch2pg(folder, variables).run_once()
    yield Deployment(couchdb, source_cluster, database, variables, folder)
    seed.drop_database(source_cluster, database)


@pytest.fixture
def place(target_cluster: Cluster) -> dict[str, Any]:
    """Where it will find PostgreSQL: the role is there, the database isn't."""
    seed.create_role(target_cluster, seed.OWNER, PASSWORD)
    return {"host": target_cluster.host, "port": target_cluster.port, "database": f"not_yet_{next(_names)}"}


def test_where_it_runs(deployment: Deployment, couchdb: CouchDB) -> None:
    found = deployment.check("source")
    assert {name: entry["status"] for name, entry in found.items() if name != "facts"} == dict.fromkeys(
        ("couch2pg", "couch2pg settings", "couch2pg sync"), "ok"
    )
    assert "medic 0" in found["couch2pg sync"]["message"]
    assert found["facts"]["progress"][couchdb.key()].split("-")[0] == str(couchdb.update_seq())


def test_names_that_only_containers_know(deployment: Deployment, couchdb: CouchDB, place: dict[str, Any]) -> None:
    """As in a network of their own; the host reaches the same servers by other addresses."""
    cluster = deployment.cluster
    url = deployment.variables["POSTGRESQL_URL"]
    inside = {"POSTGRESQL_URL": url.replace(f"{cluster.host}:{cluster.port}", "postgres.invalid:5432")}
    lost = deployment.check("source", inside)
    assert lost["couch2pg sync"]["status"] == "failure"
    reach = {"login_host": cluster.host, "login_port": cluster.port}
    found = deployment.check("source", inside, **reach)
    assert (found["couch2pg sync"]["status"], found["facts"]["knows_scram"]) == ("ok", True)
    address = deployment.variables["COUCHDB_URL"]
    inside = {"COUCHDB_URL": address.replace(f"127.0.0.1:{couchdb.port}", "couchdb.invalid:5984")}
    postgres = {**place, "host": "postgres.invalid", "port": 5432}
    lost = deployment.check("target", inside, postgres=postgres)
    assert [lost[name]["status"] for name in ("couchdb", "couch2pg login")] == ["failure", "failure"]
    reach = {"login_host": place["host"], "login_port": place["port"]}
    server = f"http://127.0.0.1:{couchdb.port}"
    found = deployment.check("target", inside, postgres=postgres, couchdb_server=server, **reach)
    assert [found[name]["status"] for name in ("couchdb", "couch2pg login")] == ["ok", "ok"]


def test_it_is_far_behind(deployment: Deployment) -> None:
    """Without a checkpoint, couch2pg has yet to fetch everything."""
    found = deployment.check(
        "source",
        {"COUCHDB_URL": deployment.couchdb.url().replace("127.0.0.1", "localhost"), "COUCH2PG_CHANGES_LIMIT": "19"},
    )
    assert found["couch2pg sync"]["status"] == "warning"
    assert "medic 20" in found["couch2pg sync"]["message"]


def test_where_it_will_run(deployment: Deployment, place: dict[str, Any]) -> None:
    progress = deployment.check("source")["facts"]["progress"]
    found = deployment.check("target", postgres=place, progress=progress)
    assert {name: entry["status"] for name, entry in found.items() if name != "facts"} == dict.fromkeys(
        ("couch2pg settings", "couchdb", "node.js", "couch2pg login", "couch2pg checkpoints", "clean install"), "ok"
    )


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [([0, 0], "The migration is better"), ([100_000, 200_000], "A clean install may be better")],
)
def test_a_clean_install_is_compared(
    deployment: Deployment, place: dict[str, Any], seconds: list[int], verdict: str
) -> None:
    progress = deployment.check("source")["facts"]["progress"]
    found = deployment.check(
        "target", {"COUCH2PG_DOC_LIMIT": "7"}, postgres=place, progress=progress, migration_seconds=seconds
    )["clean install"]
    # 20 reports, and what a CouchDB of a CHT has in its other databases.
    assert found["details"]["documents"] >= 20
    assert f"couch2pg would fetch {found['details']['documents']} documents again" in found["message"]
    assert verdict in found["message"]
    for later in ({"promoted": True}, {"clean_install": False}):
        assert "clean install" not in deployment.check("target", postgres=place, progress=progress, **later)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"COUCHDB_URL": "http://medic:wrong@127.0.0.1:{port}/medic"}, "refuses the user 'medic'"),
        ({"COUCHDB_URL": "http://medic:{password}@127.0.0.1:{port}/medik"}, "SYNC_DB_MEDIC=false"),
        ({"COUCHDB_URL": "http://medic:{password}@127.0.0.1:{free}/medic"}, "couch2pg_app_reach: {couchdb_server: "),
    ],
)
def test_couchdb(deployment: Deployment, place: dict[str, Any], change: dict[str, str], words: str) -> None:
    values = {"port": deployment.couchdb.port, "password": deployment.couchdb.password, "free": ports.free_port()}
    found = deployment.check("target", {name: text.format(**values) for name, text in change.items()}, postgres=place)
    assert found["couchdb"]["status"] == "failure"
    assert words in found["couchdb"]["message"]
    assert not deployment.couchdb.exists("medik")


def test_a_certificate_that_only_couch2pgs_settings_here_trust(
    deployment: Deployment, place: dict[str, Any], tmp_path: Path
) -> None:
    """What the message says is set there, counts, also where the source names a file that this host lacks."""
    own = Path(deployment.deployment("target", node.new())["env_file"])
    with Proxy(deployment.couchdb, tmp_path) as proxy:
        try:
            for more in ({}, {"NODE_EXTRA_CA_CERTS": "/no/such.pem"}):
                own.unlink(missing_ok=True)
                changes = {"COUCHDB_URL": proxy.url(), **more}
                refused = deployment.check("target", changes, postgres=place)
                for name in ("couchdb", "couchdb certificate"):
                    assert refused[name]["status"] == "failure"
                    told = (
                        "Copy that file from the source"
                        if more
                        else "set NODE_EXTRA_CA_CERTS=FILE in couch2pg's settings here"
                    )
                    assert told in refused[name]["message"]
                own.write_text(f"NODE_EXTRA_CA_CERTS={proxy.certificate}\n", encoding="utf-8")
                found = deployment.check("target", changes, postgres=place)
                assert [found[name]["status"] for name in ("couchdb", "couchdb certificate")] == ["ok", "ok"]
            written = run_module(
                "couch2pg_settings",
                {
                    "settings": json.dumps(
                        {"format": 1, "style": "url", "variables": {**deployment.variables, **changes}}
                    ),
                    "deployment": deployment.deployment("target", node.new()),
                    "postgres": place,
                    "migration_id": "m1",
                    "state_dir": str(tmp_path),
                },
            )
            assert written["settings"]["NODE_EXTRA_CA_CERTS"] == str(proxy.certificate)
            assert f"NODE_EXTRA_CA_CERTS={proxy.certificate}\n" in own.read_text(encoding="utf-8")
        finally:
            own.unlink(missing_ok=True)


def test_it_would_download_everything_again(deployment: Deployment, place: dict[str, Any]) -> None:
    progress = deployment.check("source")["facts"]["progress"]
    other = {"COUCHDB_URL": deployment.couchdb.url().replace("127.0.0.1", "localhost")}
    found = deployment.check("target", other, postgres=place, progress=progress)
    assert found["couch2pg checkpoints"]["status"] == "failure"
    assert "would download everything again" in found["couch2pg checkpoints"]["message"]
    found = deployment.check("target", other, postgres=place, progress=progress, rename=True)
    assert found["couch2pg checkpoints"]["status"] == "warning"
    assert found["couch2pg checkpoints"]["details"]["renames"]
    # A second run looks into the promoted database, where they have their new names.
    here = {"host": deployment.cluster.host, "port": deployment.cluster.port, "database": deployment.database}
    asked = {"postgres": here, "progress": {}, "rename": True, "promoted": True}
    found = deployment.check("target", **asked)
    assert found["couch2pg checkpoints"]["status"] == "ok"


def test_its_own_driver_knows_no_scram(deployment: Deployment, place: dict[str, Any], target_cluster: Cluster) -> None:
    found = deployment.check("target", installed=node.stock(), postgres=place)
    assert found["node.js"]["status"] == "ok"
    assert found["couch2pg login"]["status"] == "failure"
    message = found["couch2pg login"]["message"]
    statements = re.search(r"SET password_encryption = 'md5'; ALTER ROLE [^;]+;", message)
    assert statements, message
    hba = target_cluster.data_directory / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")
    password = PASSWORD.replace("'", "''")
    try:
        execute(target_cluster, statements[0].replace("'PASSWORD'", f"'{password}'"))
        hba.write_text(f"{message.partition('then run again: ')[2]}\n{before}", encoding="utf-8")
        execute(target_cluster, "SELECT pg_reload_conf()")
        found = deployment.check("target", installed=node.stock(), postgres=place)
        assert found["couch2pg login"]["status"] == "ok", found["couch2pg login"]
    finally:
        hba.write_text(before, encoding="utf-8")
        execute(target_cluster, f"SELECT pg_reload_conf(); ALTER ROLE {seed.OWNER} PASSWORD '{password}'")


def test_a_driver_that_is_not_here_yet_is_taken_for_the_sources(deployment: Deployment, place: dict[str, Any]) -> None:
    assert deployment.check("source")["facts"]["knows_scram"]
    assert not deployment.check("source", installed=node.stock())["facts"]["knows_scram"]
    settings = json.dumps({"format": 1, "style": "url", "variables": deployment.variables})
    options = {"side": "target", "settings": settings, "postgres": place, "install": True}
    for known, status in ((True, "ok"), (False, "failure")):
        result = run_module("couch2pg_preflight", {**options, "deployment": {"kind": "none"}, "knows_scram": known})
        found = {finding["name"]: finding for finding in result["findings"]}
        assert (found["couch2pg login"]["status"], found["couch2pg"]["status"]) == (status, "warning")
        assert "assume the source's PostgreSQL driver" in found["couch2pg"]["message"]
    # What only an image holds is seen from what it does.
    unseen = {**deployment.deployment("source", node.new()), "app_dir": str(deployment.folder)}
    assert run_module("couch2pg_preflight", {"side": "source", "deployment": unseen})["facts"]["knows_scram"]
    away = {**unseen, "status_command": ["false"]}
    assert not run_module("couch2pg_preflight", {"side": "source", "deployment": away})["facts"]["knows_scram"]


def test_a_node_on_which_it_does_nothing(deployment: Deployment, place: dict[str, Any]) -> None:
    mixed = node.Node(node.new().program, node.stock().packages)
    found = deployment.check("target", installed=mixed, postgres=place)
    assert found["node.js"]["status"] == "failure"
    assert "code 0" in found["node.js"]["message"]
    # Commands start it, and nothing names the program: the one on the PATH is only the likely one.
    unnamed = {name: value for name, value in deployment.deployment("target", mixed).items() if name != "node"}
    settings = json.dumps({"format": 1, "style": "url", "variables": deployment.variables})
    options = {"side": "target", "settings": settings, "postgres": place, "deployment": unnamed}
    result = run_module("couch2pg_preflight", options)
    (guessed,) = [finding for finding in result["findings"] if finding["name"] == "node.js"]
    assert guessed["status"] == "warning"
    assert "name that program as node in couch2pg_app" in guessed["message"]


@pytest.mark.parametrize("broken", ["password", "missing", "nologin"])
def test_a_role_that_can_not_log_in(
    deployment: Deployment, place: dict[str, Any], target_cluster: Cluster, broken: str
) -> None:
    role = f"couch2pg_{broken}"
    if broken != "missing":
        seed.create_role(target_cluster, role, "another" if broken == "password" else PASSWORD)
    if broken == "nologin":
        execute(target_cluster, f"ALTER ROLE {role} NOLOGIN")
    found = deployment.check("target", postgres={**place, "user": role})
    assert found["couch2pg login"]["status"] == "failure"
    follow(found["couch2pg login"]["message"], target_cluster, broken == "missing")
    found = deployment.check("target", postgres={**place, "user": role})
    assert found["couch2pg login"]["status"] == "ok"


def follow(message: str, cluster: Cluster, missing: bool = True) -> None:
    """Give the role its login as the message says."""
    found = re.search(r"((?:SET password_encryption = 'md5'; )?(?:CREATE|ALTER) ROLE .*;)$", message)
    assert found, message
    password = PASSWORD.replace("'", "''")
    statements = found[1].replace("'PASSWORD'", f"'{password}'")
    execute(cluster, statements.replace("ALTER", "CREATE") if missing else statements)


@pytest.mark.parametrize("installed", [node.new, node.stock])
def test_a_role_that_the_restore_will_create(
    deployment: Deployment, place: dict[str, Any], target_cluster: Cluster, installed: Callable[[], node.Node]
) -> None:
    """The server asks for the password of a role that doesn't exist, as if it did; the remedy is not ALTER ROLE."""
    options = {"postgres": {**place, "user": "couch2pg_absent"}, "created_roles": ["couch2pg_absent"]}
    found = deployment.check("target", installed=installed(), **options)
    login = found["couch2pg login"]
    assert login["status"] == "failure"
    assert login["message"].startswith("The target has no role 'couch2pg_absent'"), login
    assert "Set couch2pg_give_login: true" in login["message"]
    assert "ALTER ROLE" not in login["message"]
    found = deployment.check("target", installed=installed(), give_login=True, **options)
    assert found["couch2pg login"]["status"] == "warning"
    follow(login["message"], target_cluster)
    try:
        (encrypted,) = column(
            target_cluster, "SELECT left(rolpassword, 3) FROM pg_authid WHERE rolname = 'couch2pg_absent'"
        )
        assert encrypted == ("md5" if installed == node.stock else "SCR")
        options["created_roles"] = []
        if installed == node.new:
            found = deployment.check("target", installed=installed(), **options)
            assert found["couch2pg login"]["status"] == "ok"
    finally:
        execute(target_cluster, "DROP ROLE couch2pg_absent")


TAKE_CREATE = """
    REVOKE CREATE ON SCHEMA public FROM PUBLIC, couch2pg; ALTER SCHEMA public OWNER TO postgres;
    ALTER DATABASE {database} OWNER TO postgres
"""


@pytest.mark.parametrize(
    ("statement", "name", "words"),
    [
        ("SELECT", "couch2pg rights", ""),
        (TAKE_CREATE, "couch2pg rights", "GRANT USAGE, CREATE ON SCHEMA public TO \"couch2pg\""),
        ("ALTER MATERIALIZED VIEW form_metadata OWNER TO postgres", "couch2pg rights", "public.form_metadata (of postgres)"),
        ("UPDATE couchdb_progress SET source = 'elsewhere/' || source", "couch2pg checkpoints", "would download everything again"),
    ],
)  # fmt: skip
def test_what_it_needs_in_the_database(
    deployment: Deployment, source_cluster: Cluster, statement: str, name: str, words: str
) -> None:
    database = f"{deployment.database}_{next(_names)}"
    execute(source_cluster, f"CREATE DATABASE {database} TEMPLATE {deployment.database} OWNER couch2pg")
    try:
        execute(source_cluster, statement.format(database=database), database)
        found = deployment.check("target", postgres={"database": database}, started=True)
        assert (found[name]["status"] == "failure") == bool(words)
        assert words in found[name]["message"]
        statements = found[name]["message"].partition("In that database: ")[2]
        if statements:
            execute(source_cluster, statements, database)
            assert deployment.check("target", postgres={"database": database}, started=True)[name]["status"] == "ok"
    finally:
        seed.drop_database(source_cluster, database)


def test_whether_couch2pg_is_up_to_date_now(deployment: Deployment) -> None:
    deployment.check("source")
    options = {"sync": True, "timeout": 0, "deployment": deployment.deployment("source", node.new())}
    now = run_module("couch2pg_info", options)
    assert (now["not_current"], now["behind"], now["database"]["name"]) == ([], 0, deployment.database)
    other = run_module("couch2pg_info", {**options, "oid": 1})
    assert "it writes to another database than this migration's" in other["not_current"][0]
    # A copy by the method physical has the same identity and oid.
    same = {**options, **{name: now["database"][name] for name in ("identity", "oid")}}
    running = now["database"]["running"]
    assert (
        run_module("couch2pg_info", {**same, "server": running, "not_server": "20200101000000000000"})["not_current"]
        == []
    )
    for wrong in ({"server": "20200101000000000000"}, {"not_server": running}):
        assert "it writes to another database" in run_module("couch2pg_info", {**same, **wrong})["not_current"][0]
    deployment.couchdb.put("medic", [{"_id": "late", "type": "data_record"}])
    behind = run_module("couch2pg_info", options)
    assert (behind["behind"], PASSWORD in str(behind)) == (1, False)
    assert "it is behind CouchDB by 1 change (" in behind["not_current"][0]
    assert run_module("couch2pg_info", {**options, "most_behind": 1})["not_current"] == []


def test_settings_that_are_none(deployment: Deployment) -> None:
    options = {"side": "target", "deployment": deployment.deployment("target", node.new())}
    for given, code in (({"settings": "{}"}, "damaged_file"), ({"settings_file": "/no/such"}, "settings_missing")):
        (finding,) = run_module("couch2pg_preflight", {**options, **given})["findings"]
        assert (finding["status"], finding["details"]["code"]) == ("failure", code)
    found = deployment.check("source", {"POSTGRESQL_URL": "postgres://couch2pg:a/b@h/d"})
    assert found["couch2pg settings"]["status"] == "failure"


@pytest.mark.parametrize(("side", "status"), [("source", "warning"), ("target", "failure")])
def test_there_is_no_couch2pg(side: str, status: str) -> None:
    result = run_module("couch2pg_preflight", {"side": side, "deployment": {"kind": "none"}})
    assert [(finding["name"], finding["status"]) for finding in result["findings"]] == [("couch2pg", status)]
    assert not result["found"]


@pytest.mark.parametrize("more", [{}, {"install": True}], ids=["installed", "to be installed"])
def test_its_log_is_unknown(tmp_path: Path, more: dict[str, Any]) -> None:
    """The handover reads the log after the promotion, and couch2pg's own commands don't show where it is."""
    file = tmp_path / "couch2pg.env"
    if not more:
        file.write_text("COUCHDB_URL=http://m:m@localhost:1/medic\nPOSTGRESQL_URL=postgresql://m:m@localhost:1/cht\n")
    described = {"kind": "env_file", "env_file": str(file)}

    def findings(side: str, deployment: dict[str, Any]) -> list[dict[str, Any]]:
        result = run_module("couch2pg_preflight", {"side": side, "deployment": deployment, **more})
        return [entry for entry in result["findings"] if entry["name"] == "couch2pg log"]

    (found,) = findings("target", described)
    assert found["status"] == "failure"
    assert found["message"] == (
        "couch2pg_app has no log, so that nothing would show whether couch2pg is healthy on the target. Add where its log is, such as "
        "log: {kind: file, path: /var/log/couch2pg.log}."
    )
    # As the message says.
    assert not findings("target", {**described, "log": {"kind": "file", "path": "/var/log/couch2pg.log"}})
    assert not findings("source", described)
    assert not findings("target", {"kind": "none"})
