# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that fit into an index only as the source compresses them fit on the target, although rows are loaded with lz4."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.stream import job as stream_job
from support import binaries, places, seed
from support.by_phases import Phases
from support.clusters import Cluster
from support.migration import column, execute
from support.modules import run_module

# Texts that pglz makes short enough for an index, and lz4 doesn't. Each kind of index gets its key in another way.
LONG_KEYS = """
SELECT setseed(0.5);
CREATE FUNCTION few_letters(length int) RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(chr(97 + (random() * 5)::int), '') FROM generate_series(1, length)$$;
CREATE DOMAIN remark AS text;
CREATE TABLE couchdb (doc jsonb);
INSERT INTO couchdb SELECT jsonb_build_object('_id', i, 'note', few_letters(4500)) FROM generate_series(1, 20) AS i;
CREATE UNIQUE INDEX couchdb_doc_uuid ON couchdb ((doc ->> '_id')); CREATE INDEX of_doc ON couchdb ((doc ->> 'note'));
CREATE TABLE notes AS SELECT i AS id, few_letters(4700) AS note, few_letters(4700)::remark AS domain, few_letters(4700)::varchar AS vary,
    ARRAY[few_letters(4700)] AS list, few_letters(4700)::xml AS paper, few_letters(4700)::bytea AS raw FROM generate_series(1, 5) AS i;
CREATE INDEX of_note ON notes (note); CREATE INDEX of_expression ON notes ((note || ''));
CREATE INDEX of_same ON notes ((coalesce(note, '')));
CREATE INDEX of_domain ON notes (domain); CREATE INDEX of_vary ON notes (vary); CREATE INDEX of_list ON notes (list);
CREATE INDEX of_paper ON notes ((paper::text)); CREATE INDEX included ON notes (id) INCLUDE (note); CREATE INDEX of_raw ON notes (raw);
CREATE FUNCTION note_of(wanted int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
    'BEGIN RETURN (SELECT note FROM public.others WHERE id = wanted); END';
CREATE TABLE others AS SELECT id, note FROM notes; CREATE TABLE reads (id int); INSERT INTO reads SELECT id FROM others;
CREATE INDEX of_another_table ON reads (note_of(id));
CREATE VIEW between_them AS SELECT id, vary FROM notes;
CREATE MATERIALIZED VIEW seen AS SELECT id, vary AS seen FROM between_them; CREATE INDEX of_seen ON seen (seen);
CREATE TABLE parts (id int, part text) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
INSERT INTO parts SELECT id, note FROM notes; CREATE INDEX of_parts ON parts (part);
"""
# A key of this type may be a whole document, in any table.
DOCUMENTS = "CREATE INDEX whole ON couchdb (doc);"
# Only lz4 makes these short enough.
ONLY_LZ4 = """
CREATE TABLE couchdb (doc jsonb); CREATE TABLE long AS SELECT repeat('a', 400000) AS a;
CREATE INDEX of_long ON long (a); CREATE INDEX of_expression ON long ((a || ''));
"""
COMPRESSED = "SELECT DISTINCT attrelid::regclass || '.' || attname FROM pg_attribute WHERE attcompression <> ''"


@pytest.fixture(scope="module")
def with_lz4() -> Iterator[Cluster]:
    """A server that was built with lz4, which those in packages of Python and npm are not."""
    for found in binaries.installed().values():
        with Cluster.create(Path(tempfile.mkdtemp(prefix="lz4-", dir=places.work_folder("clusters"))), found) as made:
            known = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
            if column(made, known) == [True]:
                seed.create_role(made, seed.OWNER)
                yield made
                return
    (pytest.fail if os.environ.get("CI") else pytest.skip)("No installed PostgreSQL has lz4: apt install postgresql.")


@pytest.fixture
def phases(with_lz4: Cluster, database_name: str, tmp_path: Path) -> Iterator[Phases]:
    """From and to the same server: the incoming database stands beside the source."""
    seed.create_database(with_lz4, database_name, "postgres")
    options = {"restore": {"replace_existing": True}}
    yield Phases(with_lz4, with_lz4, with_lz4.binaries.bin_dir, tmp_path, database_name, options=options)
    for name in (f"{database_name}_incoming", database_name):
        seed.drop_database(with_lz4, name)


def how(phases: Phases, table: str, column_name: str) -> list[str]:
    """How the values of a column of the target are compressed."""
    query = f"SELECT DISTINCT pg_column_compression({column_name}) FROM {table}"
    return column(phases.target, query, phases.incoming)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("archive", ""),
        pytest.param("stream", "", marks=pytest.mark.long),
        pytest.param("stream", DOCUMENTS, marks=pytest.mark.long),
    ],
    ids=["archive", "stream", "documents-are-keys"],
)
def test_keys_that_only_pglz_makes_short_enough(
    phases: Phases, method: str, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(phases.source, LONG_KEYS + more, phases.database)
    execute(phases.source, "ALTER TABLE notes ADD own jsonb COMPRESSION lz4 DEFAULT '{}'", phases.database)
    if method == "archive":
        phases.run("dump", "transfer", "restore")
    else:
        monkeypatch.setattr(stream_job, "STREAM_FROM_BYTES", 0)
        phases.stream(replace_existing=True)
    for module in ("refresh", "verify"):
        result = run_module({"refresh": "matview_refresh"}.get(module, module), phases.options_of(module))
        assert not result.get("failed"), result
    assert how(phases, "couchdb", "doc") == ["pglz" if more else "lz4"]
    assert how(phases, "notes", "note") == ["pglz"]
    # What follows is compressed as on the source.
    assert column(phases.target, COMPRESSED, phases.incoming) == ["notes.own"]


@pytest.mark.long
def test_somebody_chose_another_compression_on_the_target(phases: Phases) -> None:
    execute(phases.source, LONG_KEYS, phases.database)
    phases.run("dump", "transfer")
    for chosen in ("lz4", "pglz"):
        execute(phases.target, f"ALTER ROLE postgres SET default_toast_compression = '{chosen}'")
        try:
            phases.run("restore", "refresh", "verify")
            assert how(phases, "couchdb", "doc") == [chosen]
        finally:
            execute(phases.target, "ALTER ROLE postgres RESET default_toast_compression")
        assert phases.restart("restore")["dropped"] == phases.incoming


@pytest.mark.long
def test_keys_that_only_lz4_makes_short_enough(
    phases: Phases, target_cluster: Cluster, client_dir: Path, tmp_path: Path
) -> None:
    """A target that was built without lz4 can't have such an index; what the message advises helps."""
    source = phases.source
    execute(source, f"ALTER DATABASE {phases.database} SET default_toast_compression = 'lz4'")
    execute(source, ONLY_LZ4, phases.database)
    phases.run("dump", "transfer", "restore", "refresh", "verify")
    assert how(phases, "long", "a") == ["lz4"]
    without = Phases(source, target_cluster, client_dir, tmp_path / "without", phases.database)
    without.options["dump"] = {"bin_dir": str(source.binaries.bin_dir)}
    try:
        without.run("dump", "transfer")
        message = without.fail("restore")
        assert "index row size" in message
        assert "couch2pg_restart_from=dump" in message
        execute(source, "CREATE INDEX ON long (md5(a)); DROP INDEX of_long; DROP INDEX of_expression", phases.database)
        for phase in ("restore", "dump"):
            assert not without.restart(phase).get("failed")
        without.run("dump", "transfer", "restore", "refresh", "verify")
    finally:
        for name in (without.incoming, without.database):
            seed.drop_database(target_cluster, name)
