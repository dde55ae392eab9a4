# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of the operator's own get the same digest on every server, whatever numbers the server gave them."""

from __future__ import annotations

from typing import Callable

from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.digest import digest_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings, Session
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
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


def digest(cluster: Cluster, database: str) -> str:
    settings = ConnectionSettings(database, cluster.host, cluster.port, cluster.superuser, cluster.password)
    with Session(settings) as session:
        (found,) = digest_tables(list_tables(session).kept, "hash64", 1, lambda: Session(settings))
    return found.digest


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
