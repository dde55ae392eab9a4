# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a connection of a dashboard leads to the source, to the target, or elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ..common.errors import MigrationError
from ..postgres.hba_line import hba_name

DEFAULT_PORT = 5432


@dataclass(frozen=True)
class Place:
    """The address of a database in the settings of a program."""

    host: str
    port: int
    database: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"


@dataclass(frozen=True)
class Sides:
    """Source and target of a cutover, and the passwords of the roles that dashboards log in with.

    names: names of the source's server that dashboards use, each as ``host`` (with ``port``) or ``host:port``.
    passwords: on the target, by role. source_passwords: on the source, when they differ.
    role_map: roles that have another name on the target. untested: roles on the target that have no login yet in check mode.
    """

    names: Sequence[str]
    port: int
    database: str
    target: Place
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    source_passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    role_map: Mapping[str, str] = field(default_factory=dict)
    untested: Sequence[str] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Sides:
        """The sides in a module's options. Raises MigrationError ``source_names``."""
        source, target = options["source"], options["target"]
        sides = cls(
            tuple(source["names"]),
            source["port"],
            source["database"],
            Place(target["host"], target["port"], target["database"]),
            options["passwords"],
            options["source_passwords"],
            options["role_map"],
            tuple(options.get("untested", ())),
        )
        if sides.is_source(sides.target):
            raise MigrationError(
                f"The target {sides.target} is one of the names of the source. Correct couch2pg_cutover_source_names or "
                "couch2pg_cutover_target.",
                "source_names",
            )
        return sides

    def is_source(self, place: Place) -> bool:
        """Whether the address is the source's database."""
        return place.database == self.database and any(
            (place.host.lower(), place.port) == _split(name, self.port) for name in self.names
        )

    def is_target(self, place: Place) -> bool:
        """Whether the address is the target's database."""
        return (place.host.lower(), place.port, place.database) == (
            self.target.host.lower(),
            self.target.port,
            self.target.database,
        )

    def role(self, user: str) -> str:
        """The role's name on the target."""
        return self.role_map.get(user, user)

    def password(self, user: str) -> str | None:
        """The password on the target of the source's role ``user``, or None."""
        return self.passwords.get(self.role(user))

    def source_password(self, user: str) -> str | None:
        """The password on the source; by default the one on the target."""
        return self.source_passwords.get(user, self.password(user))

    def set_password(self, user: str) -> str:
        """The sentence that says how to set the password on the target of the source's role ``user``."""
        return f"Set couch2pg_dashboard_passwords: {{{json.dumps(self.role(user))}: PASSWORD}}."

    @property
    def secrets(self) -> list[str]:
        """Every password."""
        return [*self.passwords.values(), *self.source_passwords.values()]

    def nothing_found(self, what: str) -> MigrationError:
        """The error when no connection leads to the source or the target."""
        tried = ", ".join(f"{host}:{port}" for host, port in (_split(name, self.port) for name in self.names))
        return MigrationError(
            f"{what} leads to the source's database {self.database!r} (looked for {tried}). Add the name that it uses for "
            "the source to couch2pg_cutover_source_names.",
            "nothing_found",
        )


def let_in(program: str, database: str, user: str) -> str:
    """The line of pg_hba.conf that a program needs."""
    names = f"{hba_name(database)} {hba_name(user) if user else 'ROLE'}"
    return (
        f"Let the address of {program} through the firewall of that server. Put this line first in its pg_hba.conf, with this address in "
        "the place of ADDRESS (and md5 instead of scram-sha-256 where the role's password is stored as md5), and reload PostgreSQL (SELECT "
        f"pg_reload_conf()): host {names} ADDRESS/32 scram-sha-256"
    )


def _split(name: str, port: int) -> tuple[str, int]:
    host, colon, number = name.rpartition(":")
    # An IPv6 address contains colons.
    if colon and number.isdigit() and ("]" in host or ":" not in host):
        return host.strip("[]").lower(), int(number)
    return name.strip("[]").lower(), port
