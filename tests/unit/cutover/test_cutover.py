# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ideas of a cutover one by one: what leads to the source, what is remembered, what is put back, what may be shown."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.http_api import HttpApi
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import changes as cutover_changes
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import kinds, superset, way_back
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import steps as cutover_steps
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.klipfolio import PAUSE_SECONDS
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.klipfolio import Klipfolio as Client
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.sides import Place, Sides
from support.klipfolio import KEY, Klipfolio
from support.ports import free_port

OLD, NEW = "old-password", "new-password"
OPTIONS: dict[str, Any] = {
    "source": {
        "names": ["old.example.org", "10.0.0.5:6432", "fd00::5", "[fd00::6]:5433"],
        "port": 5432,
        "database": "cht",
    },
    "target": {"host": "new.example.org", "port": 5432, "database": "cht"},
    "passwords": {"reader": NEW},
    "source_passwords": {"reader": OLD},
    "role_map": {},
}


@pytest.mark.parametrize(
    ("place", "leads"),
    [
        (Place("old.example.org", 5432, "cht"), True),
        (Place("OLD.example.org", 5432, "cht"), True),
        (Place("old.example.org", 5433, "cht"), False),
        (Place("old.example.org", 5432, "other"), False),
        (Place("10.0.0.5", 6432, "cht"), True),
        (Place("10.0.0.5", 5432, "cht"), False),
        (Place("fd00::5", 5432, "cht"), True),
        (Place("fd00::6", 5433, "cht"), True),
        (Place("old.example.org.evil", 5432, "cht"), False),
    ],
)
def test_what_leads_to_the_source(place: Place, leads: bool) -> None:
    assert Sides.of(OPTIONS).is_source(place) is leads


def test_a_target_that_is_the_source_is_refused() -> None:
    with pytest.raises(MigrationError, match="is one of the names of the source"):
        Sides.of({**OPTIONS, "target": {"host": "10.0.0.5", "port": 6432, "database": "cht"}})


@pytest.mark.parametrize("password", ["plain", "o/@:%p?#", "XXXXXXXXXX@", "ä ö"])
def test_a_password_in_an_address(password: str) -> None:
    """It is there as any program decodes it, and nothing else of the address changes."""
    masked = "postgresql+psycopg2://reader:XXXXXXXXXX@old.example.org:5432/cht?sslmode=require"
    full = superset.with_password(masked, password)
    assert superset.place_of(full) == Place("old.example.org", 5432, "cht")
    assert superset.user_of(full) == "reader"
    assert superset.with_password(full, "XXXXXXXXXX") == masked
    assert superset.with_password(masked, None) == masked
    assert superset.with_password("postgresql://reader@h/cht", password) == "postgresql://reader@h/cht"
    assert superset.place_of("mysql://reader@old.example.org/cht") is None


def change(name: str, old: str = "a", new: str = "b") -> dict[str, Any]:
    return {"tool": "klipfolio", "url": "u", "id": name, "name": name, "old": old, "new": new}


def test_what_is_remembered_first_stays(tmp_path: Path) -> None:
    path = tmp_path / "cht" / "cutover.json"
    assert way_back.add(path, [], "target", write=True) == (None, None)
    way_back.add(path, [change("one")], "between", write=True)
    assert path.stat().st_mode & 0o777 == 0o600
    # Resumed after a kill: the current state is no longer the original one.
    way_back.add(path, [change("one", old="half"), change("two")], "between", write=True)
    known = way_back.load(path)
    assert known is not None
    assert [entry["old"] for entry in known["changes"]] == ["a", "a"]
    before = path.read_bytes()
    way_back.add(path, [change("three")], "target", write=False)
    assert path.read_bytes() == before
    way_back.add(path, [], "source", write=True)
    # After it was undone, another cutover starts from the beginning.
    after, _before = way_back.add(path, [change("one", old="c")], "between", write=True)
    assert after is not None
    assert [entry["old"] for entry in after["changes"]] == ["c"]
    for text, said in (
        ('{"format": 1, "side": "nowhere"}', "doesn't contain the changes of a cutover"),
        ("{", "is damaged"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(MigrationError, match=f"{said}.* the report has them"):
            way_back.load(path)


def test_what_is_packed_comes_back() -> None:
    changes = [change("visits")]
    assert cutover_changes.unpack(cutover_changes.pack(changes)) == changes
    for wrong in ("{}", "bm8=", cutover_changes.pack([{"tool": "x"}])):
        with pytest.raises(MigrationError, match="These are not the changes of a cutover"):
            cutover_changes.unpack(wrong)


def test_all_or_none() -> None:
    """The third fails: it and those before are put back, the last first; what can't be is named."""
    done: list[str] = []

    def forward(one: dict[str, Any]) -> None:
        done.append(f"to {one['name']}")
        if one["name"] == "3":
            raise MigrationError("It broke.", "broken")

    def back(one: dict[str, Any]) -> None:
        done.append(f"back {one['name']}")
        if one["name"] == "2":
            raise MigrationError("It is gone.", "gone")

    with pytest.raises(MigrationError, match=r"^It broke\. These could not be put back: 2: It is gone\.$"):
        cutover_changes.apply_all([change(name) for name in "1234"], forward, back)
    assert done == ["to 1", "to 2", "to 3", "back 3", "back 2", "back 1"]


def step(kind: str, options: dict[str, Any], known: str = "source") -> Any:
    return cutover_steps.KINDS[kind](options, "grafana", "cht", known, [NEW, OLD])


def test_a_file_there_and_back(tmp_path: Path) -> None:
    """Its text, mode and link stay what they were; its diff shows no password."""
    real = tmp_path / "real.ini"
    real.write_text(f'host = "old"\npassword = {OLD}\n', encoding="utf-8")
    real.chmod(0o640)
    path = tmp_path / "grafana.ini"
    path.symlink_to(real)
    one = step("file", {"path": str(path), "content": f"host = new\nkey {NEW}\n", "then": None})
    assert one.needs("target")
    assert one.diff("target")["before"] == 'host = "old"\npassword =***\n'
    assert one.diff("target")["after"] == "host = new\nkey ***\n"
    one.move("target")
    assert not one.needs("target")
    assert path.is_symlink()
    assert one.needs("source")
    one.move("source")
    assert not one.needs("source")
    assert real.read_text(encoding="utf-8") == f'host = "old"\npassword = {OLD}\n'
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(file.name for file in tmp_path.iterdir()) == ["grafana.ini", "real.ini"]
    # Without its copy, what the message asks for ends the way back.
    one.move("target")
    (tmp_path / "real.ini.before-cht").unlink()
    with pytest.raises(MigrationError, match="Write its old content into it, then run again"):
        one.needs("source")
    path.write_text("host = old\n", encoding="utf-8")
    assert not one.needs("source")
    with pytest.raises(MigrationError, match="there is no file"):
        step("file", {"path": str(tmp_path / "none"), "content": "", "then": None}).needs("target")


@pytest.mark.parametrize("side", ["target", "source"])
def test_a_program_that_was_not_told_is_told_again(tmp_path: Path, side: str) -> None:
    """``then`` failed, or the run was killed before it, when the file was changed already."""
    path, told = tmp_path / "place.yml", tmp_path / "told"
    path.write_text("old")
    works = ["touch", str(told)]

    def step(then: list[str]) -> cutover_steps.Step:
        options: dict[str, Any] = {"path": str(path), "content": "new", "then": then}
        return cutover_steps.FileStep(options, "file", "m", "source", [])

    if side == "source":
        step(["true"]).move("target")
    with pytest.raises(MigrationError, match="The step 'file' failed"):
        step(["false"]).move(side)
    assert step(works).needs(side)
    step(works).move(side)
    assert told.exists()
    assert path.read_text() == {"target": "new", "source": "old"}[side]
    assert not step(works).needs(side)
    assert sorted(found.name for found in tmp_path.iterdir() if "then-" in found.name) == []


def test_a_command_without_a_check_goes_by_what_is_remembered(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    options = {"to": ["touch", str(flag)], "back": ["rm", str(flag)], "check": None}
    one = step("command", options)
    assert one.needs("target")
    one.move("target")
    assert flag.exists()
    assert not step("command", options, "target").needs("target")
    checked = step("command", {**options, "to": ["true"], "check": ["test", "-e", str(tmp_path / "other")]})
    with pytest.raises(MigrationError, match="the check shows that the program still uses the source"):
        checked.move("target")
    for command, said in (
        (["sh", "-c", f"echo token: {OLD} {NEW}; exit 3"], "sh ended with 3: token:"),
        (["no-such"], "can't be run"),
    ):
        with pytest.raises(MigrationError, match=said) as failed:
            step("command", {**options, "to": command}).move("target")
        assert OLD not in failed.value.message
        assert NEW not in failed.value.message


def bring(write: bool = True, **options: Any) -> Any:
    """As the module ``cutover_step`` does it, with one of the kinds."""
    none = dict.fromkeys(kinds.KINDS)
    given = {"side": "target", "dashboards_on": "source", "remembered": [], "name": "metabase", "migration_id": "cht"}
    return kinds.bring({**OPTIONS, "ca_cert": "", **none, **given, **options}, write)


def test_a_step_goes_by_the_way_back(tmp_path: Path) -> None:
    """Without a check, the way back says where the program is; without a change in it, there is no way back to go."""
    log = tmp_path / "log"
    words = {side: ["sh", "-c", f"echo {side} >>{log}"] for side in ("to", "back")}
    step = {"command": {**words, "check": None}}
    assert bring(write=False, **step)["moved"] == ["metabase"]
    assert not log.exists()
    done = bring(**step)
    assert (done["changed"], done["ready"]) == (True, [])
    there = {**step, "remembered": [done["packed"]], "dashboards_on": "target"}
    again = bring(**there)
    assert (again["changed"], again["ready"], again["diff"]) == (False, ["metabase"], {})
    # An interrupted run has stored what it was about to do.
    assert bring(**{**there, "dashboards_on": "between"})["changed"]
    assert not bring(**{**step, "side": "source"})["changed"]
    other = cutover_changes.pack(
        [{"tool": "command", "id": "other", "name": "other", "old": "source", "new": "target"}]
    )
    assert not bring(**{**step, "side": "source", "remembered": [other]})["changed"]
    back = bring(**{**there, "side": "source", "dashboards_on": "between"})
    assert (back["moved"], back["ready"]) == (["metabase"], [])
    assert log.read_text(encoding="utf-8").split() == ["to", "to", "back"]


@pytest.fixture
def klipfolio() -> Iterator[Klipfolio]:
    with Klipfolio() as running:
        yield running


def client(klipfolio: Klipfolio, **changed: Any) -> Client:
    options = {
        **OPTIONS,
        "source": {"names": ["old.example.org"], "port": 5432, "database": "cht"},
        "target": {"host": "127.0.0.1", "port": free_port(), "database": "cht"},
    }
    return Client(changed.pop("api_key", KEY), Sides.of(options), klipfolio.url, refresh_seconds=10, **changed)


def source(klipfolio: Klipfolio, number: int = 1, **changed: Any) -> str:
    place = {"host": "old.example.org", "port": "5432", "database": "cht", "user": "reader", "password": OLD}
    return klipfolio.add(number, f"visits {number}", **{**place, **changed})


def test_klipfolio_that_cant_refresh_is_put_back(klipfolio: Klipfolio) -> None:
    """No server is at the target. Values keep their types, as the connector has them."""
    key = source(klipfolio)
    before = dict(klipfolio.properties(key))
    one = client(klipfolio)
    changes, ready = one.plan()
    assert ready == []
    assert changes[0]["new"]["port"] == str(one.sides.target.port)
    assert OLD not in json.dumps(changes)
    with pytest.raises(MigrationError, match="could not refresh its data source 'visits 1' from the target"):
        cutover_changes.cut_over(one, write=True)
    assert klipfolio.properties(key) == before
    assert klipfolio.too_many == 0


def test_what_an_interrupted_run_has_changed_is_proven(klipfolio: Klipfolio) -> None:
    """It leads to the target already, where no server is: that it can't refresh is found, and it is put back."""
    key = source(klipfolio)
    before = dict(klipfolio.properties(key))
    one = client(klipfolio)
    changes, _ready = one.plan()
    klipfolio.sources[key]["properties"].update(changes[0]["new"])
    assert cutover_changes.cut_over(one, write=True)["ready"] == ["visits 1"]
    looked = cutover_changes.cut_over(one, write=False, unproven=changes)
    assert (looked["moved"], looked["ready"]) == (["visits 1"], [])
    options: dict[str, Any] = {
        "klipfolio": {"api_key": KEY, "url": klipfolio.url, "properties": {}, "refresh_seconds": 10},
        "source": {"names": ["old.example.org"], "port": 5432, "database": "cht"},
        "target": {"host": "127.0.0.1", "port": one.sides.target.port, "database": "cht"},
        "remembered": [cutover_changes.pack(changes)],
    }
    for dashboards_on, moved in (("between", ["visits 1"]), ("target", [])):
        assert bring(write=False, **options, dashboards_on=dashboards_on)["moved"] == moved
    assert bring(write=False, **options, side="source")["moved"] == ["visits 1"]
    with pytest.raises(MigrationError, match="could not refresh its data source 'visits 1' from the target"):
        cutover_changes.cut_over(one, write=True, unproven=changes)
    assert {**klipfolio.properties(key), "password": OLD} == before


def test_klipfolio_is_asked_again_when_it_was_too_fast(klipfolio: Klipfolio) -> None:
    for number in range(1, 8):
        source(klipfolio, number)
    # As if somebody else of the company asked as well.
    one = client(klipfolio, sleep=lambda seconds: time.sleep(seconds if seconds > PAUSE_SECONDS else 0))
    assert len(one.plan()[0]) == 7
    assert klipfolio.too_many > 0


def test_what_klipfolio_refuses_is_said(klipfolio: Klipfolio) -> None:
    key = source(klipfolio)
    with pytest.raises(MigrationError, match=r"answers 401 to GET /datasources: The API key \*\*\* is not valid"):
        client(klipfolio, api_key="wrong-" + KEY).plan()
    one = client(klipfolio, names={"password": "passphrase"})
    changes, _ready = one.plan()
    with pytest.raises(MigrationError, match=r"answers 400 to PUT .*: Unknown property passphrase"):
        one.forward(changes[0])
    klipfolio.fails_on.add(key)
    with pytest.raises(MigrationError, match=r"answers 500 to PUT .*: It failed with \*\*\*"):
        client(klipfolio).forward(changes[0])
    # One that somebody has deleted needs no way back; one that leads elsewhere keeps it.
    klipfolio.properties(key)["host"] = "third.example.org"
    with pytest.raises(
        MigrationError,
        match=r"was changed since the cutover, and stays as it is\. Its old properties were database=cht, host=old",
    ):
        one.back(changes[0])
    del klipfolio.sources[key]
    assert not one.back(changes[0])
    with pytest.raises(
        MigrationError, match="Add the name that it uses for the source to couch2pg_cutover_source_names"
    ):
        one.plan()


def test_an_address_that_is_none() -> None:
    for url in ("", "superset.example.org", "ftp://superset.example.org", f"https//admin:{OLD}@h"):
        with pytest.raises(MigrationError, match="The address of Superset is not a URL") as refused:
            HttpApi("Superset", url, {}, [OLD])
        assert OLD not in refused.value.message
    api = HttpApi("Superset", f"http://127.0.0.1:{free_port()}", {}, [OLD], sleep=lambda _seconds: None)
    with pytest.raises(MigrationError, match="can't be reached from this host"):
        api.ask("GET", "/health")
