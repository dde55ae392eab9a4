# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers as a managed service lends them: nobody is a superuser, and who created a role may still not act for it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import binaries, places, seed
from support.clusters import Cluster
from support.migration import Migration, column, execute

SERVICE, KEEPER = "service_admin", "service_keeper"


@pytest.fixture
def service() -> Iterator[Cluster]:
    """A target that knows only its administrator, who may create databases and roles."""
    folder = Path(tempfile.mkdtemp(prefix="service-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(18)) as cluster:
        seed.create_role(cluster, SERVICE)
        execute(cluster, f"ALTER ROLE {SERVICE} CREATEDB CREATEROLE")
        yield cluster


@pytest.fixture
def source(source_cluster: Cluster) -> Iterator[Cluster]:
    """Its administrator may act for couch2pg; its former superuser has set defaults."""
    seed.create_role(source_cluster, SERVICE)
    seed.create_role(source_cluster, seed.OWNER)
    execute(source_cluster, f"GRANT {seed.OWNER} TO {SERVICE}")
    execute(source_cluster, f"CREATE ROLE {KEEPER}")
    yield source_cluster
    execute(source_cluster, f"DROP ROLE {SERVICE}, {KEEPER}")


@pytest.fixture
def migration(service: Cluster, source: Cluster, make_migration: Callable[..., Migration]) -> Migration:
    made = make_migration(source, service)
    defaults = f"ALTER DEFAULT PRIVILEGES FOR ROLE {KEEPER} IN SCHEMA public GRANT SELECT ON TABLES TO superset"
    execute(source, defaults, made.database)
    execute(service, f"DROP ROLE {seed.OWNER}")
    for side in ("source", "target"):
        made.host_variables[side] = {
            "couch2pg_postgres": {"kind": "service"},
            "couch2pg_login_user": SERVICE,
            "couch2pg_login_password": getattr(made, side).password_of(SERVICE),
        }
    return made


@pytest.fixture
def older_servers() -> Iterator[tuple[Cluster, Cluster]]:
    """Versions whose schema public belongs to a superuser."""
    folders = [Path(tempfile.mkdtemp(prefix="service-", dir=places.work_folder("clusters"))) for _ in range(2)]
    with Cluster.create(folders[0], binaries.binaries(13)) as source, Cluster.create(
        folders[1], binaries.binaries(14)
    ) as target:
        for cluster in (source, target):
            seed.create_role(cluster, SERVICE)
        yield source, target


@pytest.fixture
def older(older_servers: tuple[Cluster, Cluster], make_migration: Callable[..., Migration]) -> Migration:
    """Between them, as their administrator."""
    source, target = older_servers
    execute(target, f"ALTER ROLE {SERVICE} CREATEDB CREATEROLE")
    seed.create_role(source, seed.OWNER)
    execute(source, f"GRANT {seed.OWNER} TO {SERVICE}")
    made = make_migration(source, target)
    execute(target, f"GRANT {seed.OWNER} TO {SERVICE}")
    for side, cluster in (("source", source), ("target", target)):
        made.host_variables[side] = {
            "couch2pg_postgres": {"kind": "service"},
            "couch2pg_login_user": SERVICE,
            "couch2pg_login_password": cluster.password_of(SERVICE),
        }
    return made


def finding(migration: Migration, name: str) -> dict[str, Any]:
    """Of the target's, as the record has it."""
    found: list[dict[str, Any]] = migration.record["phases"]["preflight"]["result"]["target"]
    return next(entry for entry in found if entry["name"] == name)


@pytest.mark.long
def test_nobody_is_a_superuser(migration: Migration) -> None:
    """Roles that are missing are made, and may own what is restored; all is verified, and nothing is done twice."""
    migration.succeed("--check")
    migration.succeed()
    assert finding(migration, "rights")["message"].endswith(f"; the restore makes it a member of couch2pg, {KEEPER}")
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'm')"
    assert column(migration.target, owners, migration.database) == [seed.OWNER]
    # What only reads isn't the administrator's to be.
    assert column(migration.target, f"SELECT pg_has_role('{SERVICE}', 'superset', 'USAGE')") == [False]
    assert migration.succeed().changed == 0


def test_an_administrator_of_the_owner_who_may_not_act_for_it(migration: Migration) -> None:
    """As after CREATE ROLE on PostgreSQL 16 and later. The database's owner counts, too."""
    execute(migration.target, f"CREATE ROLE {seed.OWNER}", user=SERVICE)
    remedy = f'GRANT "{seed.OWNER}" TO "{SERVICE}"'
    assert remedy in migration.fail(playbook="preflight")
    execute(migration.target, remedy, user=SERVICE)
    execute(migration.target, "CREATE ROLE somebody_else")
    execute(migration.target, f"CREATE DATABASE {migration.database} OWNER somebody_else")
    refused = migration.run("preflight")
    assert refused.code
    assert "may not give objects to somebody_else on the target" in refused.message
    # It may act for the owner now.
    assert f"may not give objects to {seed.OWNER}" not in refused.output
    # A role that only joined a group to read everything is not created on the target.
    assert f"{SERVICE} (of {seed.OWNER})" not in refused.output


def test_schema_public_of_a_superuser(older: Migration) -> None:
    """Its comment is in the archive, and only a superuser may set it."""
    execute(older.source, "COMMENT ON SCHEMA public IS 'Tables of couch2pg'", older.database)
    said = older.fail(playbook="preflight")
    (remedy,) = re.findall(r"in the source's database: (COMMENT ON SCHEMA [^;]*;)", said)
    execute(older.source, remedy, older.database)
    older.succeed()
