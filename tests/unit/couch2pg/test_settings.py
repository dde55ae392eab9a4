# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's settings: the same place of PostgreSQL in the words of either deployment, and nothing secret shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as model
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.settings import PostgresPlace, Settings

ODD = "p@s:s/w%40?#$ ü'\""
PLACE = PostgresPlace("db.example.org", 5432, "cht analytics", "couch2pg@new", ODD)
COUCHDB = {
    "COUCHDB_URL": "https://medic:s3cr%2Ft@couch.example.org/medic",
    "COUCH2PG_SLEEP_MINS": "360",
    "OTHER": "kept",
}


@pytest.mark.parametrize("style", model.STYLES)
def test_an_odd_password_goes_there_and_back(style: str, tmp_path: Path) -> None:
    moved = Settings({**COUCHDB, "POSTGRESQL_URL": "postgres://a:b@old/cht"}).moved_to(
        PLACE if style == model.URL else PostgresPlace("db", 5432, "cht", "couch2pg", ODD), style
    )
    moved.save(tmp_path / "settings.json")
    assert stat.S_IMODE((tmp_path / "settings.json").stat().st_mode) == 0o600
    again = model.load(tmp_path / "settings.json")
    assert again == moved
    assert again.postgres.password == ODD
    assert {name: again.variables[name] for name in COUCHDB} == COUCHDB
    assert ("POSTGRESQL_URL" in again.variables) == (style == model.URL)


def test_the_entrypoint_gets_names_as_they_are_and_the_password_encoded() -> None:
    moved = Settings(COUCHDB, model.ENTRYPOINT).moved_to(PostgresPlace("db", 5432, "cht", "couch2pg", "a/b c"))
    assert moved.variables["POSTGRES_PASSWORD"] == "a%2Fb%20c"
    assert moved.variables["POSTGRES_DB_NAME"] == "cht"


@pytest.mark.parametrize(
    "place", [PostgresPlace("db", 5433, "cht", "u"), PostgresPlace("db", 5432, "cht", "u", "", "ssl=true")]
)
def test_what_the_entrypoint_cannot_be_told(place: PostgresPlace) -> None:
    with pytest.raises(MigrationError, match="always uses port 5432") as caught:
        Settings(COUCHDB, model.ENTRYPOINT).moved_to(place)
    assert caught.value.code == "entrypoint_port"


def test_nothing_secret_is_shown() -> None:
    settings = Settings(
        {
            "COUCHDB_URL": "https://medic:un@coded/s3cret@couch/medic",
            "POSTGRES_PASSWORD": "s3cret",
            "MY_TOKEN": "s3cret",
            "EMPTY_SECRET": "",
        }
    )
    assert "s3cret" not in str(settings.redacted()) + repr(settings) + repr(PLACE)
    assert settings.redacted()["COUCHDB_URL"] == "https://medic:********@couch/medic"
    assert settings.secrets() == ["un@coded/s3cret", "s3cret"]


def test_a_password_too_short_to_look_for_is_masked_by_its_name() -> None:
    settings = Settings({"POSTGRES_PASSWORD": "pw", "COUCHDB_URL": "https://medic:pw@couch/medic"})
    assert settings.redacted() == {
        "POSTGRES_PASSWORD": "********",
        "COUCHDB_URL": "https://medic:********@couch/medic",
    }


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://u:p@h/d",
        "postgres://u:p/w@h/d",
        "postgres://u:p#w@h/d",
        "postgres://u:p@h:99999/d",
        "postgres://u:p@h",
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(MigrationError) as caught:
        _place = Settings({"POSTGRESQL_URL": url}).postgres
    assert caught.value.code == ("postgresql_url" if url else "setting_missing")
    assert "p/w" not in caught.value.message


def test_a_raw_character_that_breaks_the_entrypoints_url() -> None:
    with pytest.raises(MigrationError, match="Percent-encode"):
        _place = Settings(dict(zip(model.ENTRYPOINT_VARIABLES, ("u", "a/b", "h", "d"))), model.ENTRYPOINT).postgres


def test_the_port_that_the_entrypoint_ignores_is_named() -> None:
    there = {**COUCHDB, **dict(zip(model.ENTRYPOINT_VARIABLES, ("u", "p", "h", "d")))}
    assert Settings({**there, "POSTGRES_PORT": "5432"}, model.ENTRYPOINT).problems() == []
    (problem,) = Settings({**there, "POSTGRES_PORT": "5433"}, model.ENTRYPOINT).problems()
    assert "ignores" in problem


@pytest.mark.parametrize(
    ("query", "encrypted"), [("", False), ("ssl=true", True), ("ssl=false", False), ("sslmode=require", True)]
)
def test_whether_tls_is_used(query: str, encrypted: bool) -> None:
    assert model.parse_postgres(f"postgres://u:p@h/d?{query}".rstrip("?")).encrypted is encrypted


@pytest.mark.parametrize(
    ("text", "minutes"), [("360", 360), ("0.1", 0.1), ("", 60), ("often", 60), ("0", 60), ("-1", 60)]
)
def test_minutes_between_runs(text: str, minutes: float) -> None:
    assert Settings({"COUCH2PG_SLEEP_MINS": text}).sleep_minutes == minutes


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    with pytest.raises(MigrationError) as missing:
        model.load(tmp_path / "none.json")
    assert missing.value.code == "settings_missing"
    (tmp_path / "other.json").write_text('{"format": 1, "variables": {}}')
    with pytest.raises(MigrationError) as damaged:
        model.load(tmp_path / "other.json")
    assert damaged.value.code == "damaged_file"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"COUCHDB_URL": "https://u:p@h/medic/"}, ["COUCHDB_URL: It ends with a slash"]),
        ({"COUCHDB_URL": "https://u:p@x@h/medic"}, ["COUCHDB_URL is not a URL"]),
        ({"COUCHDB_URL": "https://u:50%off@h/medic"}, ["COUCHDB_URL: user or password", "(% is %25)"]),
        ({"POSTGRESQL_URL": "postgres://u:p/w@h/d"}, ["POSTGRESQL_URL is not a URL"]),
        ({"POSTGRESQL_URL": "postgres://u:p@w x@h/d"}, ["POSTGRESQL_URL: user", "(space is %20, @ is %40)"]),
        ({"POSTGRESQL_URL": ""}, ["have no POSTGRESQL_URL"]),
    ],
)
def test_what_is_odd_is_said_without_the_password(variables: dict[str, str], said: list[str]) -> None:
    (problem,) = Settings({**COUCHDB, "POSTGRESQL_URL": "postgres://u:p@h/d", **variables}).problems()
    assert all(text in problem for text in said)
    assert "off" not in problem


def test_the_entrypoints_password_should_be_encoded() -> None:
    there = {**COUCHDB, **dict(zip(model.ENTRYPOINT_VARIABLES, ("u", "p@s:s", "h", "d")))}
    (problem,) = Settings(there, model.ENTRYPOINT).problems()
    assert problem.startswith("POSTGRES_PASSWORD: user or password contains a special character")
    assert "(: is %3A, @ is %40)" in problem


def test_what_stays_where_it_is_stays_as_it_is_written() -> None:
    settings = Settings({**COUCHDB, "POSTGRESQL_URL": "postgres://u:p@w@h/d"})
    assert settings.moved_to(PostgresPlace("h", 5432, "d", "u", "p@w")) is settings


def test_another_name_of_couchdb_keeps_the_credentials() -> None:
    settings = Settings(COUCHDB)
    moved = settings.with_couchdb("http://couch.internal:5984/medic")
    assert moved.variables["COUCHDB_URL"] == "http://medic:s3cr%2Ft@couch.internal:5984/medic"
    assert settings.with_couchdb("http://a:b@c/medic").variables["COUCHDB_URL"] == "http://a:b@c/medic"
    with pytest.raises(MigrationError, match="COUCHDB_URL is not a URL"):
        settings.with_couchdb("couch.internal/medic")


def test_what_couch2pg_would_read_and_must_not() -> None:
    have = {"POSTGRESQL_URL": "x", "SYNC_DB_LOGS": "false", "COUCH2PG_DEBUG": "true", "PATH": "/bin", "OTHER": ""}
    assert model.unwanted(have, {"COUCH2PG_DEBUG": ""}) == ["POSTGRESQL_URL", "SYNC_DB_LOGS"]
    assert (model.style_of(have), model.style_of({"POSTGRES_DB_NAME": "cht"})) == (model.URL, model.ENTRYPOINT)
    assert model.style_of({}, model.ENTRYPOINT) == model.ENTRYPOINT
