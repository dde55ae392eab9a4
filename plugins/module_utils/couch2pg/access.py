# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to CouchDB and PostgreSQL as couch2pg makes them: with the URLs, role and certificates of its settings."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Mapping

from ..couchdb import url as couchdb_url
from ..couchdb.client import CouchDB
from ..couchdb.url import Followed
from ..host.containers import known_as
from ..postgres.connection import ConnectionSettings
from .settings import ENTRYPOINT, PostgresPlace, Settings

# Messages about a failed connection name this as the place to correct it.
ORIGIN = "couch2pg's settings"


@dataclass(frozen=True)
class Reach:
    """Addresses that replace those in couch2pg's settings on this host; empty means that the settings' own address works here.

    couch2pg in a network of containers knows servers by names that don't resolve outside of it. Where such a name is another
    container's, its address is found automatically.
    couchdb_server: ``scheme://host:port``. ca_cert: a file with the certificates that are trusted for CouchDB.
    """

    couchdb_server: str = ""
    login_host: str = ""
    login_port: int = 0
    ca_cert: str = ""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Reach:
        """The reach that the options of ``REACH_OPTIONS`` describe."""
        return cls(options["couchdb_server"], options["login_host"], options["login_port"] or 0, options["ca_cert"])

    def couchdb(self, settings: Settings) -> CouchDB:
        """A client for the CouchDB in ``settings``."""
        return couchdb(settings, self.ca_cert, self.couchdb_server or _couchdb_in_container(settings))

    def postgres(self, settings: Settings) -> PostgresPlace:
        """The PostgreSQL database in ``settings``, at the address that works on this host."""
        place = settings.postgres
        found = None if self.login_host else _in_container(settings, place.host, self.login_port or place.port)
        if found:
            return replace(place, host=found[0], port=found[1])
        return replace(place, host=self.login_host or place.host, port=self.login_port or place.port)


def _in_container(settings: Settings, name: str, port: int) -> tuple[str, int] | None:
    """Host and port at which this host reaches the container that couch2pg's own container knows as ``name``; None without one."""
    if settings.style != ENTRYPOINT:
        with suppress(OSError):
            socket.getaddrinfo(name, None)
            return None
    return known_as(name, port)


def _couchdb_in_container(settings: Settings) -> str:
    url = settings.couchdb
    # The certificate is valid for the name in the URL, so the container's address can't replace it.
    if url.scheme == "https" and settings.variables.get("NODE_TLS_REJECT_UNAUTHORIZED", "") != "0":
        return ""
    name, _colon, port = url.host.partition(":")
    found = _in_container(settings, name, int(port or (443 if url.scheme == "https" else 80)))
    return f"{url.scheme}://{found[0]}:{found[1]}" if found else ""


def couchdb(settings: Settings, ca_cert: str = "", server: str = "") -> CouchDB:
    """A client for the CouchDB in ``settings``.

    ca_cert: replaces couch2pg's own certificate file (NODE_EXTRA_CA_CERTS). server: replaces the address in COUCHDB_URL.
    """
    url = settings.couchdb
    if server:
        there = couchdb_url.parse(server)
        url = replace(url, scheme=there.scheme, host=there.host)
    own = settings.variables.get("NODE_EXTRA_CA_CERTS", "")
    # In a container, the path names a file inside the container.
    trusted = ca_cert or (own if own and Path(own).is_file() else "")
    verify = settings.variables.get("NODE_TLS_REJECT_UNAUTHORIZED", "") != "0"
    return CouchDB(url, trusted, verify, own)


def connection(place: PostgresPlace) -> ConnectionSettings:
    """The connection that couch2pg makes: its role, over the network, with or without TLS as its URL says."""
    return login(place.host, place.port, place.database, place.user, place.password, place.encrypted)


def login(host: str, port: int, database: str, user: str, password: str, encrypted: bool) -> ConnectionSettings:
    """The connection of a program that logs in over the network and can authenticate only with a password."""
    ssl_mode = "require" if encrypted else "disable"
    return ConnectionSettings(database, host, port, user, password, ssl_mode=ssl_mode, origin=ORIGIN)


def followed(settings: Settings) -> list[Followed]:
    """The CouchDB databases that couch2pg copies."""
    return settings.couchdb.followed(settings.variables)
