# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CouchDB and PostgreSQL as couch2pg reaches them: with the URLs, the role and the certificates of its own settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Mapping

from ..couchdb import url as couchdb_url
from ..couchdb.client import CouchDB
from ..couchdb.url import Followed
from ..postgres.connection import ConnectionSettings
from .settings import PostgresPlace, Settings


@dataclass(frozen=True)
class Reach:
    """How this host reaches what couch2pg knows by other names, as in a network of containers; empty where they are the same.

    couchdb_server: ``scheme://host:port``. ca_cert: a file with the certificates that are trusted for it.
    """

    couchdb_server: str = ""
    login_host: str = ""
    login_port: int = 0
    ca_cert: str = ""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Reach:
        """As modules are given it."""
        return cls(options["couchdb_server"], options["login_host"], options["login_port"] or 0, options["ca_cert"])

    def couchdb(self, settings: Settings) -> CouchDB:
        """CouchDB of these settings."""
        return couchdb(settings, self.ca_cert, self.couchdb_server)

    def postgres(self, settings: Settings) -> PostgresPlace:
        """The database of these settings."""
        place = settings.postgres
        return replace(place, host=self.login_host or place.host, port=self.login_port or place.port)


def couchdb(settings: Settings, ca_cert: str = "", server: str = "") -> CouchDB:
    """CouchDB, with the certificates that couch2pg trusts where this host has them. ``ca_cert`` replaces those.

    server: where it is for this host, as ``scheme://host:port``; couch2pg in a container may know it by another name.
    """
    url = settings.couchdb
    if server:
        there = couchdb_url.parse(server)
        url = replace(url, scheme=there.scheme, host=there.host)
    own = settings.variables.get("NODE_EXTRA_CA_CERTS", "")
    # couch2pg in a container names a file in there.
    trusted = ca_cert or (own if own and Path(own).is_file() else "")
    verify = settings.variables.get("NODE_TLS_REJECT_UNAUTHORIZED", "") != "0"
    return CouchDB(url, trusted, verify)


def connection(place: PostgresPlace) -> ConnectionSettings:
    """The connection that couch2pg makes: its role, over the network, with or without TLS as its URL says."""
    return ConnectionSettings(
        place.database,
        place.host,
        place.port,
        place.user,
        place.password,
        ssl_mode="require" if place.encrypted else "disable",
    )


def followed(settings: Settings) -> list[Followed]:
    """The databases that couch2pg follows."""
    return settings.couchdb.followed(settings.variables)
