# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's checkpoints in the restored database, and what its server asks for at a login."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import checkpoint
from ansible_collections.cht.couch2pg.plugins.module_utils.couchdb.url import parse
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import login_probe
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support.clusters import Cluster
from support.migration import execute
from support.modules import run_module

STORED = {
    "couch.example.org/medic": "1508-g1AAAAabc",
    "couch.example.org/medic-sentinel": "77-g1AAAAdef",
    "couch.example.org/medic-users-meta": "12-g1AAAA",
    "couch.example.org/medic-logs": "3-g1AAAA",
    "couch.example.org/_users": "9-g1AAAA",
}


@pytest.fixture
def session(target_cluster: Cluster, fresh_database: Callable[[Cluster], str]) -> Iterator[Session]:
    """A database with couch2pg's checkpoints."""
    settings = ConnectionSettings(
        fresh_database(target_cluster), target_cluster.host, target_cluster.port, password=target_cluster.password
    )
    with Session(settings) as opened:
        opened.execute("CREATE TABLE public.couchdb_progress (seq varchar, source varchar)")
        for source, seq in STORED.items():
            opened.execute("INSERT INTO public.couchdb_progress VALUES (%s, %s)", [seq, source])
        yield opened


def checkpoints(session: Session, url: str) -> list[checkpoint.Checkpoint]:
    return checkpoint.checkpoints(session, parse(url).followed({}))


def test_the_same_url_continues_from_its_checkpoints(session: Session) -> None:
    found = checkpoints(session, "https://u:p@couch.example.org/medic")
    checkpoint.check(found)
    assert [entry.as_dict()["seq"] for entry in found] == [1508, 77, 12, 3, 9]


@pytest.mark.parametrize("url", ["https://u:p@couch.example.org:443/medic", "https://u:p@10.0.0.5:5984/medic"])
def test_another_name_of_the_server_can_be_repaired(session: Session, url: str) -> None:
    found = checkpoints(session, url)
    with pytest.raises(MigrationError, match=r"would download everything again\. CouchDB seems to have another name"):
        checkpoint.check(found)
    checkpoint.rename(session, checkpoint.renames(found))
    again = checkpoints(session, url)
    checkpoint.check(again)
    assert [entry.seq for entry in again] == list(STORED.values())
    assert session.value("SELECT count(*) FROM public.couchdb_progress") == 5


def test_a_trailing_slash_and_a_wrong_name(session: Session) -> None:
    with pytest.raises(MigrationError, match="Compare COUCHDB_URL with the source's, letter by letter") as raised:
        checkpoint.check(checkpoints(session, "https://u:p@couch.example.org/mediç"))
    assert {entry["database"] for entry in raised.value.details["checkpoints"] if entry["seq"] is None} >= {"mediç"}
    with pytest.raises(MigrationError, match="would download everything again"):
        checkpoint.check(checkpoints(session, "https://u:p@couch.example.org/medic/"))


def test_the_checkpoint_of_an_empty_database_is_sequence_0(session: Session) -> None:
    session.execute("UPDATE public.couchdb_progress SET seq = '0-g1AAAA' WHERE source LIKE '%%-logs'")
    for url in ("https://u:p@couch.example.org/medic", "https://u:p@couch.example.org:443/medic"):
        found = checkpoints(session, url)
        assert found[3].as_dict()["seq"] == 0
    session.execute("DELETE FROM public.couchdb_progress WHERE source LIKE '%%-logs'")
    with pytest.raises(MigrationError, match="no checkpoint for medic-logs"):
        checkpoint.check(checkpoints(session, "https://u:p@couch.example.org/medic"))


def test_a_key_that_is_in_use_counts_whatever_others_say(session: Session) -> None:
    """CouchDB was replaced some day, and the checkpoint of the old one is still stored."""
    session.execute("INSERT INTO public.couchdb_progress VALUES ('0', 'new.example.org/medic')")
    found = checkpoints(session, "https://u:p@new.example.org/medic")
    assert (found[0].seq, found[0].instead) == ("0", None)


def test_two_places_of_one_name_are_not_guessed_at(session: Session) -> None:
    session.execute("INSERT INTO public.couchdb_progress VALUES ('5', 'elsewhere/medic')")
    found = checkpoints(session, "https://u:p@new.example.org/medic")
    assert found[0].instead is None
    assert found[1].instead == "couch.example.org/medic-sentinel"


def couch2pg_checkpoint(session: Session, url: str, **options: Any) -> dict[str, Any]:
    settings = session.settings
    known = {
        "database": settings.database,
        "login_host": settings.host,
        "login_port": settings.port,
        "login_password": settings.password,
        "couchdb_url": url,
    }
    check = options.pop("check", False)
    result = run_module("couch2pg_checkpoint", {**known, **options}, check=check)
    assert "s3cret" not in str(result)
    return result


def test_the_module_checks_and_repairs(session: Session) -> None:
    moved = "https://u:s3cret@couch.example.org:6984/medic"
    assert "would download everything again" in couch2pg_checkpoint(session, moved)["msg"]
    predicted = couch2pg_checkpoint(session, moved, rename=True, check=True)
    assert (predicted["changed"], len(predicted["renamed"])) == (True, 5)
    assert "would download everything again" in couch2pg_checkpoint(session, moved)["msg"]
    renamed = couch2pg_checkpoint(session, moved, rename=True)
    assert (renamed["changed"], renamed["checkpoints"][0]["seq"]) == (True, 1508)
    assert not couch2pg_checkpoint(session, moved, rename=True)["changed"]
    assert not couch2pg_checkpoint(session, moved)["changed"]


def test_the_module_leaves_out_what_is_switched_off(session: Session) -> None:
    session.execute("DELETE FROM public.couchdb_progress WHERE source LIKE '%%-logs'")
    url = "https://u:s3cret@couch.example.org/medic"
    assert "no checkpoint for medic-logs" in couch2pg_checkpoint(session, url)["msg"]
    assert len(couch2pg_checkpoint(session, url, sync={"SYNC_DB_LOGS": "false"})["checkpoints"]) == 4
    assert "Percent-encode" in couch2pg_checkpoint(session, "https://u:s3cret@x@y/medic")["msg"]


_roles = itertools.count()


def role(cluster: Cluster, encryption: str) -> str:
    name = f"login_{next(_roles)}"
    execute(cluster, f"SET password_encryption = '{encryption}'; CREATE ROLE {name} LOGIN PASSWORD 'a long secret'")
    return name


def asked(cluster: Cluster, user: str) -> login_probe.AuthRequest:
    return login_probe.probe(cluster.host, cluster.port, user, "postgres")


def test_what_the_server_asks_for_depends_on_the_stored_password(source_cluster: Cluster) -> None:
    """With md5 in pg_hba.conf, a role whose password is stored as SCRAM is asked for SCRAM."""
    hba = source_cluster.data_directory / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")
    hba.write_text("host all all 127.0.0.1/32 md5\n", encoding="utf-8")
    try:
        execute(source_cluster, "SELECT pg_reload_conf()")
        old, new = role(source_cluster, "md5"), role(source_cluster, "scram-sha-256")
        wait_for(lambda: asked(source_cluster, old).method == "md5")
        assert asked(source_cluster, new).method == "scram"
    finally:
        hba.write_text(before, encoding="utf-8")
        execute(source_cluster, "SELECT pg_reload_conf()")
    login = ConnectionSettings("cht", "127.0.0.1", user=new)
    old_driver = login_probe.login_problem(login_probe.AuthRequest("scram", False), login, (6, 4, 2))
    assert "SET password_encryption = 'md5'" in old_driver
    assert login_probe.login_problem(login_probe.AuthRequest("scram", False), login, (8, 11, 0)) == ""
    assert login_probe.login_problem(login_probe.AuthRequest("md5", False), login, None) == ""


def wait_for(true: Callable[[], bool]) -> None:
    for _attempt in range(100):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("the server didn't reload")


def test_a_server_that_refuses_or_is_not_there(source_cluster: Cluster) -> None:
    hba = source_cluster.data_directory / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")
    hba.write_text(f"host all banned 127.0.0.1/32 reject\n{before}", encoding="utf-8")
    try:
        execute(source_cluster, "SELECT pg_reload_conf()")
        wait_for(lambda: asked(source_cluster, "banned").method == "refused")
        refused = asked(source_cluster, "banned")
        assert "pg_hba.conf rejects connection" in refused.reason
        place = ConnectionSettings("postgres", source_cluster.host, source_cluster.port, "banned")
        line = login_probe.login_problem(refused, place, None).partition("then run again: ")[2]
        hba.write_text(f"{line}\n{hba.read_text(encoding='utf-8')}", encoding="utf-8")
        execute(source_cluster, "SELECT pg_reload_conf()")
        wait_for(lambda: asked(source_cluster, "banned").method != "refused")
    finally:
        hba.write_text(before, encoding="utf-8")
        execute(source_cluster, "SELECT pg_reload_conf()")
    with pytest.raises(MigrationError, match="can't be reached from this host"):
        login_probe.probe("127.0.0.1", 1, "couch2pg", "cht")


def test_tls_that_is_not_offered(source_cluster: Cluster) -> None:
    found = login_probe.probe(source_cluster.host, source_cluster.port, "postgres", "postgres", encrypted=True)
    assert (found.method, found.reason) == ("refused", "the server does not offer TLS")


def test_the_driver_is_seen_in_its_folder(tmp_path: Path) -> None:
    assert login_probe.driver_version(str(tmp_path)) is None
    description = tmp_path / "node_modules" / "pg" / "package.json"
    description.parent.mkdir(parents=True)
    description.write_text('{"name": "pg", "version": "7.18.2"}', encoding="utf-8")
    assert login_probe.driver_version(str(tmp_path)) == (7, 18, 2)
    description.write_text("not JSON", encoding="utf-8")
    assert login_probe.driver_version(str(tmp_path)) is None
