# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Klipfolio's data sources: find those that lead to the source, and change their properties.

The API allows five requests a second. The names of a data source's properties depend on its connector, and the documentation
doesn't list them, so that the operator can set them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Iterator, Mapping, TypedDict, Union
from urllib.parse import quote

from ..common.errors import MigrationError
from ..common.http_api import HttpApi
from .changes import Change
from .sides import DEFAULT_PORT, Place, Sides, let_in

TOOL = "klipfolio"
URL = "https://app.klipfolio.com/api/1.0"
PAGE = 100
PAUSE_SECONDS = 0.21
POLL_SECONDS = 2.0
# The usual names in the properties of a data source.
NAMES = {"host": "host", "port": "port", "database": "database", "user": "user", "password": "password"}


# The properties of a data source by name. The names depend on its connector.
Properties = Mapping[str, Union[str, int]]


class Source(TypedDict):
    """A data source, as the API lists it."""

    id: str
    name: str


@dataclass(frozen=True)
class Refreshed:
    """How often the refresh of a data source failed, and the time of its last refresh."""

    failures: int
    at: str


class Klipfolio:
    """Klipfolio with an API key. ``refresh_seconds``: the time limit of a refresh."""

    def __init__(
        self,
        api_key: str,
        sides: Sides,
        url: str = URL,
        names: Mapping[str, str] | None = None,
        refresh_seconds: float = 300.0,
        ca_cert: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sides = sides
        self.names = {**NAMES, **(names or {})}
        self.api = HttpApi(
            "Klipfolio",
            url,
            {"kf-api-key": api_key},
            [api_key, *sides.secrets],
            ca_cert,
            PAUSE_SECONDS,
            sleep,
            "couch2pg_klipfolio",
        )
        self._refresh_seconds = refresh_seconds
        self._sleep = sleep

    def plan(self) -> tuple[list[Change], list[str]]:
        """The changes to make, and the names of data sources that lead to the target already.

        Raises MigrationError ``nothing_found``.
        """
        changes: list[Change] = []
        ready: list[str] = []
        for source in self._sources():
            properties = self._properties(source["id"])
            place = self._place(properties)
            if place is not None and self.sides.is_target(place):
                ready.append(source["name"])
            if place is None or not self.sides.is_source(place):
                continue
            new = self._new(properties)
            old = {name: properties[name] for name in new}
            changes.append(
                {"tool": TOOL, "url": self.api.url, "id": source["id"], "name": source["name"], "old": old, "new": new}
            )
        if not changes and not ready:
            raise self.sides.nothing_found(f"No data source of {self.api.label}")
        return changes, ready

    def test(self, change: Change) -> None:
        """Check that the password is known. Klipfolio can't test a connection before it is changed.

        Raises MigrationError ``dashboard_login``.
        """
        user = str(change["old"].get(self.names["user"], ""))
        if user and self.sides.password(user) is None:
            raise MigrationError(
                f"Klipfolio's data source {change['name']!r} logs in as {user!r}, whose password on the target isn't known. "
                f"{self.sides.set_password(user)} Nothing was changed.",
                "dashboard_login",
            )

    def forward(self, change: Change) -> None:
        """Point it at the target, and wait for a refresh. Raises MigrationError ``refresh_failed`` or ``refresh_late``."""
        before = self._refreshed(change["id"])
        user = str(change["old"].get(self.names["user"], ""))
        self._put(change, change["new"], self.sides.password(user))
        self.api.ask("POST", f"/datasources/{_id(change)}/@/refresh")
        self._wait(change, before)

    def back(self, change: Change) -> bool:
        """Give it its old properties, and start a refresh; returns whether that was needed.

        Raises MigrationError ``changed_since`` when it was changed by something else.
        """
        if not self.needs_back(change):
            return False
        self._put(change, change["old"], self.sides.source_password(str(change["old"].get(self.names["user"], ""))))
        self.api.ask("POST", f"/datasources/{_id(change)}/@/refresh")
        return True

    def needs_back(self, change: Change) -> bool:
        """Whether it still has the properties that the cutover set. Raises MigrationError ``changed_since``."""
        try:
            found = self._properties(change["id"])
        except MigrationError as error:
            if error.code != "api_missing":
                raise
            # It was deleted.
            return False
        current = {name: found.get(name) for name in change["old"]}
        if current not in (change["old"], change["new"]):
            old = ", ".join(f"{name}={value}" for name, value in sorted(change["old"].items()))
            raise MigrationError(
                f"Klipfolio's data source {change['name']!r} was changed since the cutover, and stays as it is. Its old "
                f"properties were {old}. Give it these and its password on the source in Klipfolio, or delete it there; then run again.",
                "changed_since",
            )
        return bool(current == change["new"] != change["old"])

    def _place(self, properties: Properties) -> Place | None:
        host, database = (properties.get(self.names[key]) for key in ("host", "database"))
        port = str(properties.get(self.names["port"]) or DEFAULT_PORT)
        return Place(str(host), int(port), str(database)) if host and database and port.isdigit() else None

    def _new(self, properties: Properties) -> Properties:
        """The new values of the properties that the data source has, each of the type of the old value."""
        target = self.sides.target
        user = str(properties.get(self.names["user"], ""))
        role = self.sides.role(user)
        wanted: Properties = {"host": target.host, "port": target.port, "database": target.database, "user": role}
        found = {self.names[key]: value for key, value in wanted.items() if self.names[key] in properties}
        # Without a property for the port, a data source uses the default port.
        if self.names["port"] not in found and target.port != DEFAULT_PORT:
            raise MigrationError(
                f"A data source of {self.api.label} has no property {self.names['port']!r}, and the target's port is "
                f"{target.port}. Add that property in Klipfolio, or set its name in couch2pg_klipfolio (properties).",
                "klipfolio_port",
            )
        return {name: int(value) if isinstance(properties[name], int) else str(value) for name, value in found.items()}

    def _put(self, change: Change, wanted: Properties, password: str | None) -> None:
        properties = dict(wanted)
        if password is not None:
            properties[self.names["password"]] = password
        self.api.ask("PUT", f"/datasources/{_id(change)}/properties", {"properties": properties})

    def _wait(self, change: Change, before: Refreshed) -> None:
        waited = 0.0
        while True:
            now = self._refreshed(change["id"])
            if now.failures > before.failures:
                user = str(change["new"].get(self.names["user"], ""))
                raise MigrationError(
                    f"Klipfolio could not refresh its data source {change['name']!r} from the target {self.sides.target}. Correct "
                    f"couch2pg_dashboard_passwords, or allow the connection. {let_in('Klipfolio', self.sides.target.database, user)}",
                    "refresh_failed",
                )
            if now.at != before.at:
                return
            if waited >= self._refresh_seconds:
                raise MigrationError(
                    f"Klipfolio has not refreshed its data source {change['name']!r} within {waited:g} s. Check it in Klipfolio, "
                    "or increase refresh_seconds in couch2pg_klipfolio.",
                    "refresh_late",
                )
            self._sleep(POLL_SECONDS)
            waited += POLL_SECONDS

    def _refreshed(self, number: str) -> Refreshed:
        found = self.api.ask("GET", f"/datasource-instances/{quote(str(number), safe='')}")["data"]
        return Refreshed(int(found.get("refresh_fail_count") or 0), str(found.get("date_last_refresh") or ""))

    def _properties(self, number: str) -> Properties:
        found = self.api.ask("GET", f"/datasources/{quote(str(number), safe='')}/properties")["data"]["properties"]
        # A data source without properties answers with a text.
        return found if isinstance(found, dict) else {}

    def _sources(self) -> Iterator[Source]:
        offset = 0
        while True:
            answer = self.api.ask("GET", f"/datasources?limit={PAGE}&offset={offset}")
            rows = answer["data"]["datasources"]
            yield from rows
            offset += len(rows)
            if not rows or offset >= int(answer["meta"].get("total", 0)):
                return


def _id(change: Change) -> str:
    return quote(str(change["id"]), safe="")
