# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of CouchDB, and what is said when it doesn't answer as it should. It is never written to."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import node_trust
from ansible_collections.cht.couch2pg.plugins.module_utils.couchdb import url as couchdb_url
from ansible_collections.cht.couch2pg.plugins.module_utils.couchdb.client import CouchDB as Client
from ansible_collections.cht.couch2pg.plugins.module_utils.couchdb.url import CouchdbUrl
from support import node, ports
from support.cases import rarely
from support.couchdb import CouchDB
from support.couchdb_proxy import Proxy


@pytest.fixture(scope="module")
def couchdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CouchDB]:
    with CouchDB(tmp_path_factory.mktemp("couchdb"), password="p@ss:w/rd %") as server:
        server.put("medic", [{"_id": f"document {n}", "n": n} for n in range(7)])
        yield server


def client(url: str, **options: object) -> Client:
    return Client(couchdb_url.parse(url), **options)  # type: ignore[arg-type]


def code(url: str, database: str = "medic", **options: object) -> tuple[str, str]:
    with pytest.raises(MigrationError) as caught:
        client(url, **options).update_seq(database)
    assert "p@ss" not in caught.value.message
    assert "p%40ss" not in caught.value.message
    return caught.value.code, caught.value.message


def test_it_is_asked_with_the_credentials_of_the_url(couchdb: CouchDB) -> None:
    asked = client(couchdb.url())
    assert asked.update_seq("medic") == 7
    assert asked.documents("medic") == 7
    assert asked.update_seq("_users") == couchdb.update_seq("_users")


def test_revisions(couchdb: CouchDB) -> None:
    (first,) = couchdb.put("medic-logs", [{"_id": "kept"}])
    (second,) = couchdb.put("medic-logs", [{"_id": "gone"}])
    couchdb.put("medic-logs", [{"_id": "gone", "_rev": second, "_deleted": True}])
    found = client(couchdb.url()).revisions("medic-logs", ["kept", "gone", "never there"])
    assert found == {"kept": first, "gone": None, "never there": None}


def test_a_misspelt_database_is_named_and_never_made(couchdb: CouchDB) -> None:
    assert code(couchdb.url(), "medik")[0] == "couchdb_no_database"
    assert not couchdb.exists("medik")


def test_a_wrong_password(couchdb: CouchDB) -> None:
    said = code(couchdb.url().replace("medic:", "medic:wrong", 1))
    assert said[0] == "couchdb_unauthorized"
    assert "user and password" in said[1]


def test_nothing_listens(couchdb: CouchDB) -> None:
    assert code(couchdb.url(port=ports.free_port()))[0] == "couchdb_unreachable"
    assert code("http://medic:p@no-such-host.invalid/medic")[0] == "couchdb_unreachable"


def test_what_answers_is_something_else(couchdb: CouchDB) -> None:
    # Its web interface answers with a page.
    assert code(couchdb.url(), "_utils/")[0] in ("not_couchdb", "couchdb_no_database")


def test_a_proxy_that_fails(couchdb: CouchDB, tmp_path: Path) -> None:
    with Proxy(couchdb, tmp_path, tls=False) as proxy:
        proxy.fails_with = 502
        assert code(proxy.url())[0] == "couchdb_error"


def test_opaque_sequences_over_tls(couchdb: CouchDB, tmp_path: Path) -> None:
    with Proxy(couchdb, tmp_path) as proxy:
        asked = client(proxy.url(), ca_cert=str(proxy.certificate))
        assert asked.update_seq("medic") == 7
        assert client(proxy.url(), verify=False).update_seq("medic") == 7
        assert {request.split()[0] for request in proxy.requests} == {"GET"}
        said = code(proxy.url())
        assert said[0] == "couchdb_certificate"
        assert "NODE_EXTRA_CA_CERTS" in said[1]


def test_certificates_that_are_none(couchdb: CouchDB, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    assert code(couchdb.url(), ca_cert=str(tmp_path / "ca.pem"))[0] == "couchdb_certificate"
    assert code(couchdb.url(), ca_cert=str(tmp_path / "absent"))[0] == "couchdb_certificate"


@pytest.mark.parametrize("which", ["new", "stock"])
def test_couch2pgs_own_node_must_trust_it(couchdb: CouchDB, tmp_path: Path, which: str) -> None:
    """What the system trusts is not what Node.js trusts: only Node.js is asked."""
    program = [str((node.new() if which == "new" else node.stock()).program)]
    with Proxy(couchdb, tmp_path) as proxy:
        url = couchdb_url.parse(proxy.url())
        for variables, remedy in (
            ({}, "set NODE_EXTRA_CA_CERTS=FILE in couch2pg's settings here"),
            ({"NODE_EXTRA_CA_CERTS": "/no/such.pem"}, "names /no/such.pem, which this host lacks. Copy that file"),
        ):
            assert remedy in refused_by_node(program, url, variables, "node_trust")
        trusted = {"NODE_EXTRA_CA_CERTS": str(proxy.certificate)}
        node_trust.check(program, url, trusted)
        # No authority helps where the name is wrong, or nothing answers.
        named = replace(url, host=f"localhost:{proxy.port}")
        assert "with a name that its certificate has" in refused_by_node(program, named, trusted, "node_trust")
        for port in (ports.free_port(), couchdb.port):
            away = replace(url, host=f"127.0.0.1:{port}")
            assert "doesn't reach CouchDB" in refused_by_node(program, away, trusted, "couchdb_unreachable")
    node_trust.check(program, couchdb_url.parse(couchdb.url()), {})


@pytest.mark.parametrize("which", ["new", rarely("stock")])
def test_a_certificate_of_a_lower_authority(couchdb: CouchDB, tmp_path: Path, which: str) -> None:
    """Neither the root nor the one below it is enough: the message asks for both."""
    program = [str((node.new() if which == "new" else node.stock()).program)]
    with Proxy(couchdb, tmp_path, signed=True) as proxy:
        url = couchdb_url.parse(proxy.url())
        asked = (
            "the certificates of the authorities of CouchDB's certificate, from the one that signed it up to the root,"
        )
        assert f"Put {asked} into a file" in refused_by_node(program, url, {}, "node_trust")
        between, root = (
            f"{part}-----END CERTIFICATE-----\n" for part in re.split("-----END.*\n", proxy.certificate.read_text())[:2]
        )
        file = tmp_path / "known.pem"
        for part, rest in ((root, between), (between, root)):
            file.write_text(part, encoding="utf-8")
            refused = refused_by_node(program, url, {"NODE_EXTRA_CA_CERTS": str(file)}, "node_trust")
            assert f"Add {asked} to {file}, which" in refused
            file.write_text(part + rest, encoding="utf-8")
            node_trust.check(program, url, {"NODE_EXTRA_CA_CERTS": str(file)})
        assert client(proxy.url(), ca_cert=str(file)).update_seq("medic") == 7


def refused_by_node(program: list[str], url: CouchdbUrl, variables: dict[str, str], code: str) -> str:
    with pytest.raises(MigrationError) as caught:
        node_trust.check(program, url, variables)
    assert caught.value.code == code, caught.value.message
    return caught.value.message


def test_a_node_that_is_not_there(couchdb: CouchDB) -> None:
    url = couchdb_url.parse(couchdb.url(scheme="https"))
    for program in (["/no/such/node"], ["true"]):
        with pytest.raises(MigrationError) as caught:
            node_trust.check(program, url, {})
        assert caught.value.code == "node_missing"
