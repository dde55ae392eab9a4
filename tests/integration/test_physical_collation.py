# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method physical on a host that sorts text otherwise, which a stored version of another library stands for."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import collation, index_check
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support import binaries, places
from support.clusters import Cluster
from support.migration import column, execute

LOCALE = "en_US.UTF-8"
TABLES = """
CREATE COLLATION public.other (PROVIDER = libc, LOCALE = 'en_US.UTF-8');
CREATE TABLE t (name text, plain text COLLATE "C", own text COLLATE public.other, doc jsonb, n int PRIMARY KEY);
CREATE UNIQUE INDEX by_name ON t (name);
CREATE INDEX by_plain ON t (plain);
CREATE INDEX by_own ON t (own);
CREATE INDEX by_id ON t ((doc->>'_id'));
"""
# What depends on the order of text without a column of text.
WITHIN = """
CREATE TYPE of_text AS RANGE (subtype = text, collation = "default"); CREATE TYPE of_own AS RANGE (subtype = text, collation = other);
CREATE TYPE pair AS (n int, name text); CREATE DOMAIN span AS of_text;
CREATE TABLE within (n int, r span, m of_text_multirange, o of_own, p pair[], name text, plain int4range);
CREATE INDEX by_range ON within USING gist (r); CREATE INDEX by_multirange ON within USING gist (m);
CREATE INDEX by_own_range ON within USING gist (o); CREATE INDEX by_row ON within (p);
CREATE INDEX by_part ON within (n) WHERE name < 'm'; CREATE INDEX by_answer ON within ((name < 'm'));
CREATE INDEX by_number ON within (n) WHERE n > 1; CREATE INDEX by_plain_range ON within USING gist (plain);
"""


@pytest.fixture(scope="module")
def english() -> Iterator[Cluster]:
    """A server on a host with an English locale."""
    folder = Path(tempfile.mkdtemp(prefix="en-", dir=places.work_folder("clusters")))
    locales = folder / "locales"
    locales.mkdir()
    try:
        subprocess.run(["localedef", "-i", "en_US", "-f", "UTF-8", "--no-archive", str(locales / LOCALE)], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    folder.chmod(0o755)
    with Cluster.create(folder / "cluster", replace(binaries.binaries(16), locale_dir=locales)) as made:
        execute(made, f"CREATE DATABASE english TEMPLATE template0 LC_COLLATE '{LOCALE}' LC_CTYPE '{LOCALE}'")
        execute(made, TABLES, "english")
        yield made
    shutil.rmtree(folder)


@dataclass
class Server:
    """In the place of the private server, of which only the connection is needed."""

    cluster: Cluster

    def connection(self, database: str) -> ConnectionSettings:
        return ConnectionSettings(database, self.cluster.host, self.cluster.port, password=self.cluster.password)


def rebuild(cluster: Cluster, choice: str = "rebuild", done: list[str] | None = None) -> list[str]:
    server: Any = Server(cluster)
    with Session(server.connection("english")) as session:
        source = collation.of_source(session)
    return collation.rebuild(server, source, choice, 2, [] if done is None else done)


def files(cluster: Cluster) -> dict[str, int]:
    """The file of each index, which a rebuild replaces."""
    rows = "SELECT relname || '=' || pg_relation_filenode(oid) FROM pg_class WHERE relname LIKE 'by\\_%' OR relname = 't_pkey'"
    return {row.split("=")[0]: int(row.split("=")[1]) for row in column(cluster, rows, "english")}


def test_indexes_in_another_order_are_rebuilt_and_no_others(english: Cluster) -> None:
    assert rebuild(english) == []
    execute(english, "UPDATE pg_database SET datcollversion = '0.9' WHERE datname = 'english'")
    with pytest.raises(MigrationError, match="2 indexes of 'english' would have to be rebuilt"):
        rebuild(english, "refuse")
    before = files(english)
    assert sorted(rebuild(english)) == ["english: public.by_id", "english: public.by_name"]
    after = files(english)
    assert {name for name in before if before[name] != after[name]} == {"by_id", "by_name"}
    # The stored version is this host's now.
    assert rebuild(english, "refuse") == []
    execute(english, "UPDATE pg_collation SET collversion = '0.9' WHERE collname = 'other'", "english")
    # What an earlier attempt has rebuilt is not rebuilt again.
    done = ["english: public.by_own"]
    before = files(english)
    assert rebuild(english, done=done) == done
    assert files(english) == before
    assert rebuild(english, "refuse") == []


def test_indexes_whose_columns_are_no_text(english: Cluster) -> None:
    """Bounds of ranges and fields of rows are text; a comparison of text decides what is in a partial index."""
    execute(english, WITHIN, "english")
    try:
        assert rebuild(english) == []
        execute(english, "UPDATE pg_database SET datcollversion = '0.9' WHERE datname = 'english'")
        ours = {f"english: public.by_{name}" for name in ("range", "multirange", "row", "part", "answer")}
        assert {*rebuild(english)} == ours | {"english: public.by_id", "english: public.by_name"}
        execute(english, "UPDATE pg_collation SET collversion = '0.9' WHERE collname = 'other'", "english")
        assert sorted(rebuild(english)) == ["english: public.by_own", "english: public.by_own_range"]
    finally:
        execute(english, "DROP TABLE within; DROP DOMAIN span; DROP TYPE of_text, of_own, pair", "english")


def test_a_copy_that_pg_upgrade_has_made(english: Cluster) -> None:
    """It has recorded this host's versions where the source recorded none. What the source's host has is known from any database of it."""
    server: Any = Server(english)
    with Session(server.connection("postgres")) as session:
        source = collation.of_source(session)

    def rebuilt(source: list[dict[str, Any]], upgraded_from: int | None) -> list[str]:
        found = collation.rebuild(server, source, "rebuild", 2, [], upgraded_from=upgraded_from)
        return [name.partition("public.")[2] for name in sorted(found)]

    assert rebuilt(source, None) == rebuilt(source, 14) == rebuilt(source, 16) == []
    assert rebuilt([{**row, "version": "0.9"} for row in source], 14) == ["by_id", "by_name", "by_own"]
    # Nothing is known of the source's host, so what it has recorded itself counts.
    assert rebuilt([], 12) == ["by_id", "by_name"]
    assert rebuilt([], 15) == rebuilt([], None) == []


def test_collations_of_icu_after_pg_upgrade() -> None:
    """They are those of the new server, whatever version the source had."""
    folder = Path(tempfile.mkdtemp(prefix="icu-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.of_distribution()) as cluster:
        server: Any = Server(cluster)
        execute(cluster, 'CREATE TABLE t (name text COLLATE "de-x-icu"); CREATE INDEX by_name ON t (name)', "postgres")
        execute(cluster, "CREATE DATABASE other")
        with Session(server.connection("other")) as session:
            source = collation.of_source(session)

        def rebuilt(source: list[dict[str, Any]], upgraded_from: int | None) -> list[str]:
            return collation.rebuild(server, source, "rebuild", 1, [], upgraded_from=upgraded_from)

        assert rebuilt(source, 14) == rebuilt([], None) == []
        older = [{**row, "version": "0.9"} for row in source]
        assert rebuilt(older, 14) == rebuilt([], 14) == ["postgres: public.by_name"]


def test_rows_that_may_be_in_the_wrong_partition_are_refused(english: Cluster) -> None:
    execute(english, "CREATE TABLE parts (name text) PARTITION BY RANGE (name)", "english")
    execute(english, "UPDATE pg_database SET datcollversion = '0.9' WHERE datname = 'english'")
    try:
        with pytest.raises(MigrationError, match=r"public\.parts in 'english' may be in the wrong partitions"):
            rebuild(english)
    finally:
        execute(english, "DROP TABLE parts", "english")
        execute(english, "ALTER DATABASE english REFRESH COLLATION VERSION")


SOURCE = [{"provider": "c", "locale": "en_US.UTF-8", "version": "2.31"}]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"provider": "c", "locale": "C", "stored": None, "here": None}, False),
        ({"provider": "c", "locale": "fr_FR.UTF-8", "stored": "2.31", "here": "2.31"}, False),
        ({"provider": "c", "locale": "fr_FR.UTF-8", "stored": "2.28", "here": "2.31"}, True),
        ({"provider": "c", "locale": "fr_FR.UTF-8", "stored": "2.36", "here": "2.36"}, True),
        # A server before 15 stores none for its databases; the source's library has one version for all locales.
        ({"provider": "c", "locale": "fr_FR.UTF-8", "stored": None, "here": "2.31"}, False),
        ({"provider": "c", "locale": "fr_FR.UTF-8", "stored": None, "here": "2.36"}, True),
        ({"provider": "i", "locale": "fr", "stored": None, "here": "153.14"}, True),
    ],
)
def test_an_order_that_may_differ(entry: dict[str, Any], expected: bool) -> None:
    found = collation.Collation(oid=collation.DEFAULT, schema="", name="", **entry)
    assert collation.differs(found, SOURCE) is expected


def test_an_index_that_is_damaged_on_the_source_is_rebuilt(
    thirteen_cluster: Cluster, fresh_database: Callable[[Cluster], str]
) -> None:
    """Its entries are in another order than its definition says; the check leaves nothing behind."""
    name = fresh_database(thirteen_cluster)
    execute(thirteen_cluster, "CREATE TABLE t AS SELECT n::text AS a, n AS b FROM generate_series(1, 1000) AS n", name)
    execute(thirteen_cluster, 'CREATE INDEX sound ON t (a); CREATE UNIQUE INDEX "Damaged" ON t (b)', name)
    server: Any = Server(thirteen_cluster)
    said: list[str] = []

    def rebuild_damaged(sound: list[str] | None = None) -> list[str]:
        rebuilt: list[str] = []
        index_check.rebuild_damaged(
            server, 2, [] if sound is None else sound, rebuilt, lambda _index, _bytes: None, said.append
        )
        return rebuilt

    sound: list[str] = []
    assert rebuild_damaged(sound) == []
    assert set(sound) >= {f"{name}: public.sound", f'{name}: public."Damaged"'}
    execute(thirteen_cluster, """UPDATE pg_index SET indoption = '1' WHERE indexrelid = '"Damaged"'::regclass""", name)
    # What an earlier attempt has checked is not checked again.
    assert rebuild_damaged(sound) == []
    sound.remove(f'{name}: public."Damaged"')
    assert rebuild_damaged(sound) == [f'{name}: public."Damaged"']
    assert f'{name}: public."Damaged"' not in sound
    assert "item order invariant violated" in said[-1]
    assert rebuild_damaged() == []
    left = "SELECT extname FROM pg_extension UNION ALL SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pg_temp%'"
    assert column(thirteen_cluster, left, name) == ["plpgsql"]
    # Where the extension is there, it stays.
    execute(thirteen_cluster, 'CREATE SCHEMA "Own"; CREATE EXTENSION amcheck SCHEMA "Own"', name)
    assert rebuild_damaged() == []
    assert column(thirteen_cluster, "SELECT extname FROM pg_extension ORDER BY 1", name) == ["amcheck", "plpgsql"]


def test_a_host_without_amcheck_checks_nothing(english: Cluster) -> None:
    server: Any = Server(english)
    said: list[str] = []
    index_check.rebuild_damaged(server, 2, [], [], lambda _index, _bytes: None, said.append)
    assert said == [
        "The extension amcheck (package postgresql-contrib) is not on this host, so the indexes are not checked."
    ]
