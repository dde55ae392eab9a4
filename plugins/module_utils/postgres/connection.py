# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a database is and who connects to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping, TypedDict

from ..common.errors import MigrationError

APPLICATION_NAME = "cht.couch2pg"
# Parameters of libpq that have options of their own here, and those that are secret.
_NOT_CONNECT_PARAMS = {
    *("host", "port", "dbname", "user", "password", "passfile", "sslpassword", "service"),
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "client_encoding", "application_name", "options"),
}


class PublicSettings(TypedDict):
    """``ConnectionSettings`` as JSON, without the password."""

    database: str
    host: str
    port: int
    user: str
    unix_socket: str
    ssl_mode: str
    ca_cert: str
    ssl_cert: str
    ssl_key: str
    connect_params: dict[str, str]
    maintenance_database: str
    container: str
    origin: str
    tunnel: str


@dataclass(frozen=True)
class ConnectionSettings:
    """Where a database is and who connects, with the names that community.postgresql uses.

    An empty ``host`` means the Unix socket (in ``unix_socket``, or where libpq looks for it).
    connect_params: further parameters of libpq, none of them secret.
    maintenance_database: the database from which others are created and renamed.
    container: name of the container of this host that the server runs in; empty for any other server.
    origin: where the operator can correct these settings, such as ``couch2pg's settings``; empty for ``couch2pg_login_host`` and the like.
    tunnel: address of another host, if the Unix socket is a tunnel to the server there; otherwise empty.
    """

    database: str
    host: str = ""
    port: int = 5432
    user: str = "postgres"
    password: str | None = field(default=None, repr=False)
    unix_socket: str = ""
    ssl_mode: str = "prefer"
    ca_cert: str = ""
    ssl_cert: str = ""
    ssl_key: str = ""
    connect_params: Mapping[str, str] = field(default_factory=dict, hash=False)
    maintenance_database: str = "postgres"
    container: str = ""
    origin: str = ""
    tunnel: str = ""

    def to(self, database: str) -> ConnectionSettings:
        """Settings for another database of the same server."""
        return replace(self, database=database)

    @property
    def maintenance(self) -> ConnectionSettings:
        """Settings for the server's maintenance database."""
        return self.to(self.maintenance_database)

    @property
    def place(self) -> str:
        """The server's address for messages."""
        if self.host:
            return f"{self.host}:{self.port}{f' (container {self.container})' if self.container else ''}"
        if self.tunnel:
            return f"{self.tunnel}, through SSH"
        return f"the socket {self.unix_socket or 'of libpq'}, port {self.port}"

    def __str__(self) -> str:
        return f"{self.database!r} at {self.place} as {self.user!r}"

    def public(self) -> PublicSettings:
        """The settings as JSON types, without the password."""
        return {
            "database": self.database,
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "unix_socket": self.unix_socket,
            "ssl_mode": self.ssl_mode,
            "ca_cert": self.ca_cert,
            "ssl_cert": self.ssl_cert,
            "ssl_key": self.ssl_key,
            "connect_params": dict(self.connect_params),
            "maintenance_database": self.maintenance_database,
            "container": self.container,
            "origin": self.origin,
            "tunnel": self.tunnel,
        }

    @classmethod
    def restored(cls, public: Mapping[str, Any], password: str | None) -> ConnectionSettings:
        """Rebuild the settings from the result of ``public`` and the password."""
        return cls(**public, password=password)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> ConnectionSettings:
        """The settings that a module's connection options give (``login_host``, ``login_port`` ...).

        Raises MigrationError ``connect_params`` for a parameter that has an option of its own.
        """
        given = {name: str(value) for name, value in (options["connect_params"] or {}).items()}
        taken = sorted(_NOT_CONNECT_PARAMS & given.keys())
        if taken:
            raise MigrationError(
                f"couch2pg_connect_params can't have {', '.join(taken)}: the collection sets {'it' if len(taken) == 1 else 'them'} "
                "itself, or from couch2pg_login_host, couch2pg_login_password, couch2pg_ssl_mode and the like. Remove "
                f"{'it' if len(taken) == 1 else 'them'} there.",
                "connect_params",
            )
        return cls(
            database=options["database"],
            host=options["login_host"],
            port=options["login_port"],
            user=options["login_user"],
            password=options["login_password"],
            unix_socket=options["login_unix_socket"],
            ssl_mode=options["ssl_mode"],
            ca_cert=options["ca_cert"],
            ssl_cert=options["ssl_cert"],
            ssl_key=options["ssl_key"],
            connect_params=given,
            maintenance_database=options["maintenance_database"],
            container=options["login_container"],
        )

    def libpq(self) -> dict[str, str]:
        """Connection parameters for libpq, without the password."""
        parameters = {
            "dbname": self.database,
            "port": str(self.port),
            "user": self.user,
            "sslmode": self.ssl_mode,
            "connect_timeout": "15",
            # Detect a dead connection within minutes, even if nothing is sent for hours.
            "keepalives_idle": "60",
            "keepalives_interval": "15",
            "keepalives_count": "8",
        }
        if self.host or self.unix_socket:
            parameters["host"] = self.host or self.unix_socket
        files = {"sslrootcert": self.ca_cert, "sslcert": self.ssl_cert, "sslkey": self.ssl_key}
        parameters.update({name: path for name, path in files.items() if path})
        return {**parameters, **self.connect_params}

    def conninfo(self) -> str:
        """The ``--dbname`` of a program: the database, and parameters that may have no environment variable."""
        libpq = self.libpq()
        names = ["dbname", *(name for name in libpq if "keepalives" in name or name in self.connect_params)]
        return " ".join(f"{name}={_quoted(libpq[name])}" for name in names)

    def passfile_line(self) -> str:
        """A line for a libpq passfile with this password for every connection."""
        escaped = (self.password or "").replace("\\", "\\\\").replace(":", "\\:")
        return f"*:*:*:*:{escaped}\n"


def _quoted(value: str) -> str:
    """The value as a connection string of libpq has it."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
