# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service of a Compose project is couch2pg."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.compose import service_name
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.kinds import COMPOSE, Deployment

POSTGRES = {"image": "cht-couch2pg-postgres:13", "environment": {"POSTGRES_DB": "cht"}}
COUCH2PG = {"image": "medicmobile/cht-couch2pg:main-node-10", "environment": {"COUCHDB_URL": "https://couchdb/medic"}}


@pytest.mark.parametrize(
    "services",
    [
        {"sync": COUCH2PG, "other": {"image": "postgres:13"}},
        {"sync": COUCH2PG, "postgres": POSTGRES},
        {"sync": {"image": "couch2pg"}, "postgres": {"image": "postgres:13"}},
    ],
)
def test_the_service_of_couch2pg(services: dict[str, Any]) -> None:
    """An image of PostgreSQL may have the name of the project, too."""
    assert service_name({"services": services}, Deployment(kind=COMPOSE, service="")) == "sync"


def test_two_of_them() -> None:
    """Both could write to one database, so nobody chooses for the operator."""
    with pytest.raises(MigrationError, match="Correct service in couch2pg_app"):
        service_name({"services": {"one": COUCH2PG, "two": COUCH2PG}}, Deployment(kind=COMPOSE, service=""))
