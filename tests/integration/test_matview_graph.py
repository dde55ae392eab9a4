# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which materialized views can be refreshed, read from real catalogs."""

from __future__ import annotations

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import matview_graph
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support.clusters import Cluster


def graph(cluster: Cluster, database: str) -> list[matview_graph.Matview]:
    settings = ConnectionSettings(
        database, host=cluster.host, port=cluster.port, user=cluster.superuser, password=cluster.password
    )
    with Session(settings) as session:
        return matview_graph.read_graph(session)


def test_a_matview_depends_on_others_through_plain_views(fresh_database: Any, source_cluster: Cluster) -> None:
    name = fresh_database(source_cluster)
    with source_cluster.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW z_first AS SELECT * FROM t;"
            "CREATE VIEW between AS SELECT * FROM z_first; CREATE VIEW between_2 AS SELECT * FROM between;"
            "CREATE MATERIALIZED VIEW a_second AS SELECT * FROM between_2 WITH NO DATA;"
            "CREATE UNIQUE INDEX ON z_first (a);"
            # No REFRESH runs this rule, so its circle is none.
            "CREATE RULE change AS ON UPDATE TO between DO INSTEAD DELETE FROM t WHERE a IN (SELECT a FROM a_second)"
        )
    connection.close()
    found = graph(source_cluster, name)
    assert matview_graph.order(found) == [["public.z_first"], ["public.a_second"]]
    matviews = {matview.key: matview for matview in found}
    assert matviews["public.a_second"].depends_on == ("public.z_first",)
    first, second = matviews["public.z_first"], matviews["public.a_second"]
    assert (first.populated, first.has_unique_index) == (True, True)
    assert (second.populated, second.has_unique_index) == (False, False)
