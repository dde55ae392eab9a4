# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that everybody can get: PostgreSQL's regression database, pagila, chinook, and one with every extension.

What they are made of is downloaded once into ``.cache/public``. Without a network, put the files there beforehand.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import psycopg2

from .binaries import Binaries
from .clusters import Cluster
from .migration import column, execute
from .places import SupportError, server_account, work_folder

RAW = "https://raw.githubusercontent.com"
PAGILA = f"{RAW}/devrimgunduz/pagila/9197cf7fee428b644076138adba98d631fc6fc29"
CHINOOK = f"{RAW}/lerocha/chinook-database/7f67772503d71ba90f19283c38e93923addb43fa/ChinookDatabase/DataSources"
# As pg_regress sets them.
REGRESSION_SETTINGS = (
    "lc_messages = 'C'",
    "lc_monetary = 'C'",
    "lc_numeric = 'C'",
    "timezone_abbreviations = 'Default'",
)
# They wait for other sessions, write outside the database, or test psql itself.
REGRESSION_LEFT_OUT = {"psql", "stats"}
FILE_SECONDS = 120
# An object of each extension that others of its kind would be made of.
EXTENSION_ROWS = """
CREATE TABLE places AS
    SELECT n AS id, ST_SetSRID(ST_MakePoint(n, n), 4326)::geometry(Point, 4326) AS at, ST_MakePoint(n, 1)::geography AS on_earth
    FROM generate_series(1, 200) AS n;
CREATE INDEX places_at ON places USING gist (at);
INSERT INTO spatial_ref_sys VALUES (990001, 'own', 1, 'LOCAL_CS["own"]', '+proj=longlat');
CREATE TABLE kinds (h hstore, c citext, l ltree, s seg, q cube, i isbn, o lo, v int[], t text);
INSERT INTO kinds VALUES
    ('a=>1,"b c"=>NULL', 'MiXed', 'a.b.c', '1.5 .. 2', '(1,2),(3,4)', '978-0-393-04002-9', lo_from_bytea(0, 'x'), '{3,1}', 'Ōtieno');
CREATE INDEX ON kinds USING gist (l);
CREATE INDEX ON kinds USING gin (t gin_trgm_ops);
CREATE INDEX ON kinds USING gin (v gin__int_ops);
CREATE INDEX ON kinds USING bloom (t);
CREATE INDEX ON kinds (c);
CREATE TABLE stays (room int, span daterange, EXCLUDE USING gist (room WITH =, span WITH &&));
INSERT INTO stays VALUES (1, '[2024-01-01,2024-02-01)');
CREATE VIEW words AS SELECT unaccent(t) AS plain, similarity(t, 'Otieno') > 0.1 AS near FROM kinds;
CREATE MATERIALIZED VIEW areas AS SELECT id, ST_Area(ST_Buffer(at, 1)) > 3 AS large FROM places;
CREATE TRIGGER managed BEFORE UPDATE OR DELETE ON kinds FOR EACH ROW EXECUTE FUNCTION lo_manage(o);
"""
# Two can't be together, some belong to a server that was configured for them.
EXTENSIONS_LEFT_OUT = ("pg_cron", "pg_stat_statements", "plperlu", "plpython3u", "pltcl", "pltclu")


def pagila(cluster: Cluster, database: str, clients: Binaries) -> None:
    """A store that rents films: partitions, domains, functions, triggers, full-text search."""
    for name in ("pagila-schema.sql", "pagila-data.sql"):
        _psql(cluster, database, clients, _downloaded("pagila", f"{PAGILA}/{name}"))


def chinook(cluster: Cluster, database: str, clients: Binaries) -> None:
    """A store that sells music; its file makes a database of its own, which is renamed."""
    path = _downloaded("chinook", f"{CHINOOK}/Chinook_PostgreSql.sql")
    # The file creates and enters its own database.
    text = "\n".join(
        line
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.startswith(("DROP DATABASE", "CREATE DATABASE", "\\c "))
    )
    copy = path.with_name("here.sql")
    copy.write_text(text, encoding="utf-8")
    _psql(cluster, database, clients, copy)


def every_extension(cluster: Cluster, database: str, _clients: Binaries) -> list[str]:
    """Every extension that the server has and that can be created beside the others; returns them."""
    made = []
    for name in column(
        cluster, "SELECT name FROM pg_available_extensions WHERE name !~ '-3$' ORDER BY name <> 'postgis', 1"
    ):
        if name in EXTENSIONS_LEFT_OUT:
            continue
        try:
            execute(cluster, f'CREATE EXTENSION IF NOT EXISTS "{name}" CASCADE', database)
            made.append(name)
        except psycopg2.Error as error:
            raise SupportError(f"The extension {name} can't be created: {error}") from error
    if "postgis" not in made:
        raise SupportError("PostGIS is missing: apt install postgresql-postgis.")
    execute(cluster, EXTENSION_ROWS, database)
    return made


def regression(cluster: Cluster, database: str, clients: Binaries) -> None:
    """The database that PostgreSQL's own tests leave behind, made by the scripts of the server's own version."""
    folder = _regression_scripts(cluster.binaries.major)
    for setting in REGRESSION_SETTINGS:
        execute(cluster, f'ALTER DATABASE "{database}" SET {setting}')
    execute(cluster, "ALTER SYSTEM SET allow_in_place_tablespaces = on")
    execute(cluster, "SELECT pg_reload_conf()")
    schedule = (folder / "parallel_schedule").read_text(encoding="utf-8")
    tests = [name for line in schedule.splitlines() if line.startswith("test:") for name in line.split()[1:]]
    environment = {
        **clients.environment(),
        "PG_ABS_SRCDIR": str(folder),
        "PG_ABS_BUILDDIR": str(folder),
        "PG_LIBDIR": str(clients.bin_dir.parent / "lib"),
        "PG_DLSUFFIX": ".so",
        "PGTZ": "PST8PDT",
        "PGDATESTYLE": "Postgres, MDY",
    }
    for name in tests:
        if name in REGRESSION_LEFT_OUT or not (folder / "sql" / f"{name}.sql").is_file():
            continue
        # Many statements fail on purpose.
        subprocess.run(
            [clients.program("psql"), "-X", "-q", "-d", cluster.dsn(database), "-f", f"sql/{name}.sql"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=FILE_SECONDS,
            check=False,
        )


def _regression_scripts(major: int) -> Path:
    """PostgreSQL's ``src/test/regress`` of this version, from the distribution's source package."""
    place = work_folder("public") / f"postgresql-{major}"
    if not place.is_dir():
        partial = place.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        tar = next(partial.parent.glob(f"postgresql-{major}_*.orig.tar.*"), None) or _source_package(partial, major)
        with tarfile.open(tar) as archive:
            prefix = archive.next()
            top = prefix.name.split("/")[0] if prefix else ""
            wanted = [each for each in archive.getmembers() if each.name.startswith(f"{top}/src/test/regress/")]
            # Python 3.11 has it from 3.11.4 on.
            if hasattr(tarfile, "data_filter"):
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(partial, wanted)
        (partial / top / "src/test/regress").rename(place)
        shutil.rmtree(partial)
        # The server, as its own user, reads data from here and writes results here.
        (place / "results").mkdir(exist_ok=True)
        server_account().give(place / "results")
    return place


def _source_package(folder: Path, major: int) -> Path:
    """Download the package's source with a source list of our own, which leaves the system's alone."""
    lists, sources = folder / "lists", folder / "sources.list"
    (lists / "partial").mkdir(parents=True)
    codename = subprocess.run(
        ["sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"], capture_output=True, text=True, check=True
    ).stdout.strip()
    sources.write_text(f"deb-src http://deb.debian.org/debian {codename} main\n", encoding="utf-8")
    places = {"Dir::Etc::sourcelist": sources, "Dir::Etc::sourceparts": folder / "none", "Dir::State::lists": lists}
    options = [f"--option={name}={value}" for name, value in places.items()]
    for command in (["update"], ["source", "--download-only", f"postgresql-{major}"]):
        done = subprocess.run(
            ["apt-get", *options, "--quiet", *command], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SupportError(f"apt-get {command[0]} failed: {done.stderr.strip()[-500:]}")
    return next(folder.glob("*.orig.tar.*"))


def _downloaded(name: str, address: str) -> Path:
    folder = work_folder("public") / name
    folder.mkdir(exist_ok=True)
    path = folder / address.rsplit("/", 1)[1]
    if not path.is_file():
        partial = path.with_suffix(".partial")
        try:
            with urllib.request.urlopen(address, timeout=60) as answer, partial.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except (urllib.error.URLError, OSError) as error:
            raise SupportError(f"{address} can't be downloaded ({error}). Put the file at {path}.") from error
        partial.rename(path)
    return path


def _psql(cluster: Cluster, database: str, clients: Binaries, path: Path) -> None:
    """Run a script that must succeed."""
    subprocess.run(
        [
            clients.program("psql"),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-o",
            "/dev/null",
            "-d",
            cluster.dsn(database),
            "-f",
            path,
        ],
        env=clients.environment(),
        stdin=subprocess.DEVNULL,
        check=True,
    )
