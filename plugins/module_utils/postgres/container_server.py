# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server in a container of this host: find it, and derive the connection options from its container."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping

from ..common.errors import MigrationError
from ..host import containers
from ..host.compose import is_refusal
from ..host.container_programs import SCHEME
from ..host.containers import Container

HOST, CONTAINER = "host", "container"
# The kind when only root may ask Docker.
UNDECIDED = "undecided"
SOCKET_FOLDERS = ("/run/postgresql", "/var/run/postgresql", "/tmp")
DEFAULT_USER = "postgres"
DEFAULT_PORT = 5432
# Addresses that a program on the host uses for a container's published port.
LOCAL_HOSTS = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class FoundServer:
    """Where PostgreSQL runs on this host, and why that is known. For a container, also its name, and what the other roles need of it.

    user: the superuser. engine_user, recreate_command: as in ``containers.Container``. published: host and port that lead to the server,
    and whether other hosts reach them (``outside``); empty if there are none.
    """

    kind: str
    reason: str
    container: str = ""
    image: str = ""
    user: str = ""
    engine_user: str = ""
    recreate_command: str = ""
    published: dict[str, object] = field(default_factory=dict)


def effective(options: Mapping[str, Any]) -> dict[str, Any]:
    """The connection options, completed with those of the container ``login_container``; unchanged without a container.

    The container gives host and port, unless ``login_host`` is given; the superuser and its password, unless they are given; and
    its image as the place of the programs, unless ``bin_dir`` is given.
    Raises MigrationError when the container can't be inspected or reached, or doesn't run.
    """
    if not options.get("login_container"):
        return dict(options)
    found = containers.get(options["login_container"])
    variables = found.variables
    result = dict(options, login_container=found.name)
    if not options["login_host"]:
        result["login_host"], result["login_port"] = found.address(port_of(found))
    if options["login_user"] == DEFAULT_USER:
        result["login_user"] = variables.get("POSTGRES_USER") or DEFAULT_USER
    if not options["login_password"] and result["login_user"] == (variables.get("POSTGRES_USER") or DEFAULT_USER):
        result["login_password"] = _password(found)
    if options.get("bin_dir") == "":
        result["bin_dir"] = f"{SCHEME}{found.image}"
    return result


def find(
    database: str, port: int, has_database: Callable[[str], bool], kind: str = "", container: str = ""
) -> FoundServer:
    """Where PostgreSQL runs on this host.

    has_database: a function that takes a container's name and returns whether the server in it has ``database``.
    kind: CONTAINER when it is known to be one. container: its name, as ``containers.get`` takes it, when that is known.
    Raises MigrationError ``ambiguous`` when the operator has to choose, ``container_stopped`` when the only server doesn't run, and
    what ``containers.get`` raises for a ``container`` that is not there.
    """
    try:
        if container:
            return _described(containers.get(container), "couch2pg_postgres names it")
        running = [one for one in containers.all_of_them() if _is_server(one)]
        stopped = [] if running else [one for one in containers.all_of_them(False) if one.is_postgres]
    except MigrationError as error:
        if _may_not_ask(error):
            return FoundServer(UNDECIDED, error.message)
        if container or kind == CONTAINER:
            raise
        # Without Docker, or when it doesn't run, there is no container.
        return FoundServer(HOST, error.message)
    if kind != CONTAINER and _listens_on_host(port):
        both = [one for one in running if has_database(one.name)]
        if not both:
            return FoundServer(HOST, "PostgreSQL has a socket on this host")
        raise _ambiguous(f"PostgreSQL runs on this host, and in the container {both[0].name}", database, both)
    if not running:
        return _nowhere(stopped, kind)
    chosen = running if len(running) == 1 else [one for one in running if has_database(one.name)]
    if len(chosen) != 1:
        names = ", ".join(one.name for one in running)
        raise _ambiguous(f"PostgreSQL runs in {len(running)} containers of this host ({names})", database, running)
    return _described(chosen[0], f"the container {chosen[0].name} is the PostgreSQL server of this host")


def _nowhere(stopped: list[Container], kind: str) -> FoundServer:
    """The answer when no server runs, on the host or in a container."""
    if stopped:
        raise MigrationError(
            f"No PostgreSQL runs on this host. There is the container {stopped[0].name}, which is stopped: docker start "
            f"{stopped[0].name}, then run again.",
            "container_stopped",
        )
    if kind == CONTAINER:
        raise MigrationError(
            "No container of this host is a PostgreSQL server. Start it (docker ps --all shows it), or correct couch2pg_postgres.",
            "container_missing",
        )
    return FoundServer(HOST, "no container of this host is a PostgreSQL server")


def _may_not_ask(error: MigrationError) -> bool:
    """Whether Docker refused this user, who is not root, so that root might get an answer."""
    return os.geteuid() != 0 and is_refusal(error.message)


def _described(server: Container, reason: str) -> FoundServer:
    port = port_of(server)
    published = server.published(port)
    return FoundServer(
        kind=CONTAINER,
        reason=reason,
        container=server.name,
        image=str(server.inspected["Config"].get("Image") or server.image),
        user=server.variables.get("POSTGRES_USER") or DEFAULT_USER,
        engine_user=server.engine_user,
        recreate_command=server.recreate_command,
        published=dict(zip(("host", "port"), published[0]), outside=server.is_public(port)) if published else {},
    )


def port_of(server: Container) -> int:
    """The port on which the server listens in its container."""
    given = server.variables.get("PGPORT", "")
    return int(given) if given.isdigit() else DEFAULT_PORT


def _ambiguous(what: str, database: str, found: list[Container]) -> MigrationError:
    return MigrationError(
        f"{what}. Say which one has the database {database!r}, for this host: couch2pg_postgres: {{kind: container, container: "
        f"{found[0].name}}}, or couch2pg_postgres: {{kind: host}}.",
        "ambiguous",
        containers=[one.name for one in found],
    )


def _password(server: Container) -> str | None:
    variables = server.variables
    path = variables.get("POSTGRES_PASSWORD_FILE", "")
    if path and not variables.get("POSTGRES_PASSWORD"):
        place = server.on_host(path)
        # Without trailing line breaks, because the image's entrypoint reads the file in a shell. If it can't be read, the login will fail.
        with suppress(OSError, UnicodeDecodeError):
            return place.read_text(encoding="utf-8").rstrip("\n") if place else None
        return None
    return variables.get("POSTGRES_PASSWORD") or None


def _is_server(one: Container) -> bool:
    """Whether a PostgreSQL server runs in the container. The image alone doesn't prove it: a backup job may use the same image."""
    if not one.is_postgres:
        return False
    try:
        return _answers(one.address(port_of(one)))
    except MigrationError:
        # The container can't be reached from this host, so look at its first process.
        return any(
            Path(f"/proc/{process}/comm").read_text(encoding="utf-8").startswith("postgres")
            for process in (one.process,)
            if Path(f"/proc/{process}/comm").exists()
        )


def _answers(place: tuple[str, int]) -> bool:
    """Whether PostgreSQL listens at ``place``: it answers an SSLRequest with one letter."""
    try:
        with socket.create_connection(place, containers.CONNECT_SECONDS) as connection:
            connection.sendall(bytes.fromhex("0000000804d2162f"))
            return connection.recv(1) in (b"S", b"N")
    except OSError:
        return False


def _listens_on_host(port: int) -> bool:
    for folder in SOCKET_FOLDERS:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(f"{folder}/.s.PGSQL.{port}")
            except OSError:
                continue
            return True
    return False
