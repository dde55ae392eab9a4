# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CouchDB and PostgreSQL as couch2pg reaches them: with the URLs, the role and the certificates of its own settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import couchdb_url
from .connection import ConnectionSettings
from .couch2pg_settings import PostgresPlace, Settings
from .couchdb import CouchDB
from .couchdb_url import Followed


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


def postgres(settings: Settings, host: str = "", port: int = 0) -> ConnectionSettings:
    """The database, as couch2pg's own role; at ``host`` and ``port`` where this host knows it by another name."""
    place = settings.postgres
    return connection(replace(place, host=host or place.host, port=port or place.port))


def followed(settings: Settings) -> list[Followed]:
    """The databases that couch2pg follows."""
    return settings.couchdb.followed(settings.variables)
