# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of the operator's own get the same digest on every server, whatever numbers the server gave them."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.digest import digest_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support.clusters import Cluster
from support.migration import execute

TYPES = """
CREATE DOMAIN readings AS float8[];
CREATE DOMAIN weight AS float8;
CREATE TYPE sex AS ENUM ('f', 'm');
CREATE TYPE child AS (weight float8, sex sex);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE TABLE typed (a readings, b weight, c child, d child[], e point[], f span);
INSERT INTO typed VALUES
    ('{1.1,NaN,-0}', 1e-300, '(0.1,f)', '{"(0.3,m)"}', '{"(1,2.2)"}', '[0.1,0.7)'), (NULL, NULL, NULL, NULL, NULL, NULL);
"""


# As text, these are others before PostgreSQL 12, which prints 17 digits, and from 12 on, which prints the fewest that are exact.
DOUBLES = (
    "5e-324",
    "1.1125369292536007e-308",
    "0.1",
    "0.30000000000000004",
    "NaN",
    "-0",
    "Infinity",
    "-Infinity",
    "1e23",
    "1e308",
)
REALS = ("1e-45", "1.1754942e-38", "0.1", "0.3", "NaN", "-0", "Infinity", "-Infinity", "8.589973e9", "3.4028235e38")
FLOATS = """
CREATE EXTENSION cube; CREATE DOMAIN place AS cube; CREATE DOMAIN weight AS float8; CREATE DOMAIN readings AS real[];
CREATE TYPE child AS (w float8, r real, c circle); CREATE TYPE twin AS (a child, b child[]); CREATE DOMAIN twins AS twin[];
CREATE TYPE span AS RANGE (subtype = float8); CREATE TYPE childhood AS RANGE (subtype = weight); CREATE TYPE sex AS ENUM ('f', 'm');
CREATE TABLE plain (d float8, r real, w weight, a float8[], e readings, p polygon, s span, j jsonb, k json, x sex);
CREATE TABLE composite (c child); CREATE TABLE nested (t twin, u twins); CREATE TABLE ranges (a span[], o childhood);
CREATE TABLE cubes (c cube, e place);
"""
FLOAT_ROWS = """
INSERT INTO plain VALUES ('{d}', '{r}', '{d}', '{{{d},{d}}}', '{{{r}}}', '((0.1,0.2),(0.3,0.7))', span('{d}', NULL), '"{d}"', '[0.1]', 'm');
INSERT INTO composite VALUES ('({d},{r},"<(0.1,0.7),0.3>")');
INSERT INTO nested SELECT ROW(c, ARRAY[c, NULL])::twin, ARRAY[ROW(c, NULL)::twin] FROM composite;
INSERT INTO ranges VALUES (ARRAY[span(NULL, '{d}')], childhood(NULL, '{d}'));
INSERT INTO cubes VALUES (cube('{d}'::float8), cube('{d}'::float8));
"""


def digests(
    cluster: Cluster, database: str, method: str, like: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    settings = ConnectionSettings(database, cluster.host, cluster.port, cluster.superuser, cluster.password)
    with Session(settings) as session:
        found = digest_tables(list_tables(session).kept, method, 1, lambda: Session(settings), like=like)
    return sorted((table.as_dict() for table in found), key=lambda table: str(table["table"]))


def digest(cluster: Cluster, database: str) -> str:
    (found,) = digests(cluster, database, "hash64")
    return str(found["digest"])


def test_floats_that_older_servers_print_otherwise(
    fresh_database: Callable[[Cluster], str], old_cluster: Cluster, thirteen_cluster: Cluster
) -> None:
    """Everywhere where they can be. Those of PostgreSQL's own types are compared by their bytes, the others by 15 digits."""
    database = fresh_database(old_cluster)
    fresh_database(thirteen_cluster)
    for cluster in (old_cluster, thirteen_cluster):
        rows = (FLOAT_ROWS.format(d=double, r=real) for double, real in zip(DOUBLES, REALS))
        execute(cluster, FLOATS + "".join(rows), database)
    taken = digests(old_cluster, database, "md5")
    assert [table["table"] for table in taken if not table.get("rounded")] == ["public.plain"]
    assert digests(thirteen_cluster, database, "md5", taken) == taken
    execute(thirteen_cluster, "UPDATE plain SET d = 0.3000000000000001 WHERE d > 0.3 AND d < 0.4", database)
    execute(
        thirteen_cluster, "UPDATE cubes SET c = cube(0.30000000000003) WHERE c = cube(0.30000000000000004)", database
    )
    now = digests(thirteen_cluster, database, "md5", taken)
    assert [table["table"] for table in now if table not in taken] == ["public.cubes", "public.plain"]


def test_types_of_the_operator(
    fresh_database: Callable[[Cluster], str], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    database = fresh_database(source_cluster)
    fresh_database(target_cluster)
    # Other numbers for the same types.
    execute(target_cluster, "CREATE TYPE earlier AS ENUM ('x')", database)
    for cluster in (source_cluster, target_cluster):
        execute(cluster, TYPES, database)
    assert digest(source_cluster, database) == digest(target_cluster, database)
    execute(target_cluster, "UPDATE typed SET c = '(0.1,m)' WHERE c IS NOT NULL", database)
    assert digest(source_cluster, database) != digest(target_cluster, database)
