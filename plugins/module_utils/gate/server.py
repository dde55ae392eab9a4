# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL server that the gate leads to: where the source finds it, and whether the target needs the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Iterable, TypedDict

from ..common.errors import MigrationError
from ..common.progress_line import amount
from ..postgres.connection import ConnectionSettings
from ..postgres.hba_line import hba_line
from ..postgres.server_folders import is_this_host
from ..postgres.session import Session
from . import line, reach
from .tunnel import INSTEAD

ELSEWHERE = "the server is not on the source's own host."
CHOICES = ("auto", "direct", "ssh", "controller")


class Way(TypedDict):
    """The way to the source's server: ``direct``, ``ssh`` or ``controller``, and why it was chosen."""

    way: str
    reason: str


def place(settings: ConnectionSettings) -> tuple[str, int]:
    """The host, or the folder of the Unix socket, and the port of the server that this host reaches with ``settings``.

    Raises MigrationError ``gate_not_opened`` for a server on another host, or one that requires TLS: the target's end of the
    gate is a Unix socket, on which libpq doesn't use TLS.
    """
    with Session(settings) as session:
        host, port = session.address
    if host.startswith("/"):
        return host, port
    if not (settings.container or is_this_host(settings)):
        raise MigrationError(
            f"The source's server at {settings.place} is not on the source's own host, so what is sent between them would not be "
            f"encrypted. Let the target connect to it (couch2pg_copy_way: direct). {INSTEAD}",
            "gate_not_opened",
        )
    try:
        with Session(replace(settings, ssl_mode="disable")):
            return host, port
    except MigrationError as error:
        reason = error.details.get("reason", error.message).rstrip(".")
        by_line = (
            "Or add this line at the top of pg_hba.conf there, and reload it (SELECT pg_reload_conf()), then run again: "
            f"{hba_line('all', settings.user, host, port)}"
        )
        raise MigrationError(
            f"The source's server at {settings.place} refuses connections without TLS from its own host, where the target's connection "
            f"through SSH ends: {reason}. Log in to it by its Unix socket (couch2pg_login_unix_socket of the source). {INSTEAD}"
            f"{f' {by_line}' if settings.password else ''}",
            "gate_not_opened",
        ) from error


def choose(
    settings: ConnectionSettings,
    wanted: str,
    ssh: tuple[str, int],
    of_source: Iterable[str],
    on_source: bool = True,
    controller: bool = False,
    check: Callable[[ConnectionSettings], None] = lambda _settings: None,
) -> Way:
    """The way from this host to the source's server.

    settings: how this host would log in to the server directly. check: checks what else it must be able to do there; raises MigrationError.
    ssh: address and port of the source's sshd. of_source: what ``authorized_keys.obstacles`` found there.
    on_source: whether the server runs on the source's own host, which a way through SSH requires.
    controller: whether the controller logs in to both hosts with ssh, so that it can connect this host to the source's sshd.
    Raises the MigrationError of the direct login when no way is possible, MigrationError ``ssh_impossible`` or ``controller_impossible``.
    """
    by_controller = _of_controller(of_source, controller) if on_source else ELSEWHERE
    if wanted in ("direct", "controller"):
        if wanted == "controller" and by_controller:
            raise MigrationError(
                f"The target can't reach the source's server through the controller: {by_controller} {INSTEAD}",
                "controller_impossible",
            )
        return {"way": wanted, "reason": "it was requested"}
    refusal = None
    if wanted == "auto":
        try:
            with Session(settings):
                check(settings)
            rate = line.bytes_per_second_to(settings)
        except MigrationError as error:
            refusal = error
        else:
            carries = f"the network link carries {amount(int(rate), 'bytes')} in a second"
            if line.is_slow(rate) and on_source and not reach.obstacles(of_source, *ssh):
                return {"way": "ssh", "reason": f"{carries}, and ssh compresses"}
            return {"way": "direct", "reason": f"the target may log in to the source's server, and {carries}"}
    blocked = " ".join(reach.obstacles(of_source, *ssh)) if on_source else ELSEWHERE
    if refusal is not None and blocked and not by_controller:
        return {
            "way": "controller",
            "reason": f"{refusal.message.split('. ')[0]}. The way through SSH isn't possible either: {blocked}",
        }
    if refusal is not None and blocked:
        raise MigrationError(
            f"{refusal.message} The way through SSH isn't possible either: {blocked}", refusal.code, **refusal.details
        )
    if blocked:
        instead = INSTEAD if by_controller else f"Set couch2pg_copy_way to controller. {INSTEAD}"
        raise MigrationError(
            f"The target can't reach the source's server through SSH: {blocked} {instead}", "ssh_impossible"
        )
    return {"way": "ssh", "reason": "it was requested" if refusal is None else refusal.message.split(". ")[0]}


def _of_controller(of_source: Iterable[str], controller: bool) -> str:
    """Why this host can't reach the source's sshd through the controller; empty when it can."""
    missing = "Ansible does not log in to both hosts with ssh and a key (ansible_connection, ansible_password)."
    return " ".join([*([] if controller else [missing]), *reach.anywhere(of_source)])
