# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out which authentication method a PostgreSQL server requests from a role, by starting a connection.

This needs no password and no privilege. See "Message Flow" and "Message Formats" in PostgreSQL's documentation.
"""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import MigrationError
from ..host.files import read_json
from .connection import ConnectionSettings
from .hba_line import hba_line
from .identifiers import quote

PROTOCOL_3 = 196608
SSL_REQUEST = 80877103
TIMEOUT_SECONDS = 15.0
_METHODS = {0: "trust", 3: "password", 5: "md5", 7: "gss", 9: "sspi", 10: "scram"}
# The first release of node-postgres that supports SCRAM.
SCRAM_SINCE = (7, 9)
# SQLSTATE of a login that pg_hba.conf refuses; and, for a server without TLS, a value of our own that is not an SQLSTATE.
REFUSED, NO_TLS = "28000", "tls"


@dataclass(frozen=True)
class AuthRequest:
    """The server's answer: ``trust``, ``password``, ``md5``, ``scram``, ``gss``, ``sspi``, ``method N`` or ``refused``.

    reason, state: the server's message and SQLSTATE when it refused the connection; ``NO_TLS`` when it doesn't offer TLS.
    """

    method: str
    encrypted: bool
    reason: str = ""
    state: str = ""


def probe(host: str, port: int, user: str, database: str, encrypted: bool = False) -> AuthRequest:
    """Start a connection as couch2pg would, and close it after the server's first answer.

    encrypted: use TLS. Raises MigrationError ``unreachable``.
    """
    try:
        with socket.create_connection((host, port), TIMEOUT_SECONDS) as plain:
            if not encrypted:
                return _ask(plain, user, database, False)
            plain.sendall(struct.pack("!II", 8, SSL_REQUEST))
            if plain.recv(1) != b"S":
                return AuthRequest("refused", True, "the server does not offer TLS", NO_TLS)
            # No secret is sent, so the certificate need not be verified.
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with context.wrap_socket(plain) as secured:
                return _ask(secured, user, database, True)
    except (OSError, struct.error) as error:
        raise MigrationError(
            f"PostgreSQL at {host}:{port} can't be reached from this host: {getattr(error, 'strerror', None) or error}. "
            "Check that the server runs, its listen_addresses and port, and the firewalls in between.",
            "unreachable",
            place=f"{host}:{port}",
        ) from error


def _ask(connection: socket.socket, user: str, database: str, encrypted: bool) -> AuthRequest:
    names = b"".join(word.encode() + b"\0" for word in ("user", user, "database", database)) + b"\0"
    connection.sendall(struct.pack("!II", len(names) + 8, PROTOCOL_3) + names)
    kind, length = struct.unpack("!cI", _read(connection, 5))
    body = _read(connection, length - 4)
    if kind == b"E":
        fields = _fields(body)
        return AuthRequest("refused", encrypted, fields.get(b"M", "no reason given"), fields.get(b"C", ""))
    if kind != b"R":
        raise OSError(f"the server sent a message of type {kind!r}, which PostgreSQL doesn't send here")
    (code,) = struct.unpack("!I", body[:4])
    return AuthRequest(_METHODS.get(code, f"method {code}"), encrypted)


def _read(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise OSError("the server closed the connection without an answer")
        data += piece
    return data


def _fields(body: bytes) -> dict[bytes, str]:
    """The fields of an ErrorResponse, each of which starts with a letter and ends with a zero byte."""
    return {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0") if field}


def driver_version(folder: str) -> tuple[int, ...] | None:
    """The oldest version of the PostgreSQL driver in couch2pg's folder; None when no driver can be found.

    couch2pg has several: it logs in with its migrator's driver first, then with its own, so the oldest one decides.
    """
    packages = Path(folder) / "node_modules"
    found = [
        _version(description)
        # Packages of packages, down to the third level.
        for depth in range(3)
        for description in packages.glob("*/node_modules/" * depth + "pg/package.json")
    ]
    return min((version for version in found if version), default=None)


def _version(description: Path) -> tuple[int, ...] | None:
    try:
        known = read_json(description)
    except (MigrationError, OSError):
        return None
    parts = str(known.get("version", "")).split(".") if isinstance(known, dict) else []
    return tuple(int(part) for part in parts[:3] if part.isdigit()) or None


def knows_scram(driver: tuple[int, ...] | None) -> bool:
    """Whether the driver supports SCRAM. An unknown driver (None) is assumed to be couch2pg's own, which doesn't."""
    return driver is not None and driver >= SCRAM_SINCE


def login_problem(asked: AuthRequest, login: ConnectionSettings, driver: tuple[int, ...] | None) -> str:
    """Why couch2pg can't log in with ``login``, with the remedy; empty when it can. ``driver``: as ``driver_version`` returns it."""
    line = (
        "Put this line first in pg_hba.conf there, and reload it (SELECT pg_reload_conf()), then run again: "
        f"{hba_line(login.database, login.user, login.host, login.port, 'md5')}"
    )
    where = f"PostgreSQL at {login.host}:{login.port}"
    if asked.method == "refused":
        remedy = line if asked.state == REFUSED else "Correct that, then run again."
        if asked.state == NO_TLS:
            remedy = (
                "Remove ssl and sslmode from POSTGRESQL_URL, or turn on TLS on that server (ssl, ssl_cert_file and ssl_key_file in "
                "postgresql.conf), then run again."
            )
        return f"{where} refuses {login.user!r}: {asked.reason}. {remedy}"
    if asked.method in ("gss", "sspi") or asked.method.startswith("method "):
        return f"{where} requests {asked.method} from {login.user!r}, which couch2pg doesn't support. {line}"
    if asked.method == "scram" and not knows_scram(driver):
        return (
            f"{where} requests SCRAM from {login.user!r}, but couch2pg's driver supports only md5. Set couch2pg_give_login: true; or give "
            "it the password of couch2pg's settings there, as a superuser: SET password_encryption = 'md5'; ALTER ROLE "
            f"{quote(login.user)} LOGIN PASSWORD 'PASSWORD'; {line}"
        )
    return ""
