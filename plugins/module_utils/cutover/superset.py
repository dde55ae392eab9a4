# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Superset's database connections: which lead to the source, whether the target would let them in, and the change itself.

Superset shows an address with a mask in place of the password. Given back with the mask, it keeps the password that it
has; it tests an address with a mask only where nothing else was changed. So a password that is needed on the other
side must be given, and both ways are tested before anything is changed.
"""

from __future__ import annotations

from typing import Any, Iterator
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ..common.errors import MigrationError
from ..common.http_api import HttpApi
from .changes import Change
from .sides import DEFAULT_PORT, Place, Sides

TOOL = "superset"
MASK = "XXXXXXXXXX"
PAGE = 100
# What each is called, by which its list can be ordered so that its pages fit together.
NAMES = {"database": "database_name", "dataset": "table_name", "chart": "slice_name"}


class Superset:
    """A Superset at ``url``, logged in as a user who may change databases. Raises MigrationError ``api_unauthorized``."""

    def __init__(
        self, url: str, user: str, password: str, sides: Sides, provider: str = "db", ca_cert: str = ""
    ) -> None:
        self.sides = sides
        secrets = [password, *sides.secrets]
        # A form protected against forgery asks where a request comes from.
        self.api = HttpApi("Superset", url, {"Referer": url}, secrets, ca_cert)
        credentials = {"username": user, "password": password, "provider": provider, "refresh": False}
        token = self.api.ask("POST", "/api/v1/security/login", credentials)["access_token"]
        self.api.headers["Authorization"] = f"Bearer {token}"
        self.api.headers["X-CSRFToken"] = self.api.ask("GET", "/api/v1/security/csrf_token/")["result"]

    def plan(self) -> tuple[list[Change], list[str]]:
        """What is to be changed, and the names of what already leads to the target.

        Raises MigrationError ``nothing_found``, or ``ssh_tunnel`` for one that can't be tested from here.
        """
        changes, ready = [], []
        for number, name in self._databases():
            connection = self._connection(number)
            uri = connection["sqlalchemy_uri"]
            place = place_of(uri)
            if place is not None and self.sides.is_target(place):
                ready.append(name)
            if place is None or not self.sides.is_source(place):
                continue
            if connection.get("ssh_tunnel"):
                raise MigrationError(
                    f"Superset's database {name!r} reaches the source through an SSH tunnel, which only you can lead "
                    "elsewhere: change it in Superset, then run again.",
                    "ssh_tunnel",
                )
            changes.append(
                {"tool": TOOL, "url": self.api.url, "id": number, "name": name, "old": uri, "new": self._new(uri)}
            )
        if not changes and not ready:
            raise self.sides.nothing_found(f"No database of {self.api.label}")
        return changes, ready

    def test(self, change: Change) -> None:
        """See that Superset can log in on both sides: where it will go, and where it would have to go back to.

        Raises MigrationError ``dashboard_login``.
        """
        user = user_of(change["old"])
        new, old = self.sides.password(user), self.sides.source_password(user)
        if has_password(change["old"]) and new is None:
            raise MigrationError(
                f"Superset's database {change['name']!r} logs in as {user!r}, whose password on the target isn't known: "
                "set it in couch2pg_dashboard_passwords.",
                "dashboard_login",
            )
        if self.sides.role(user) not in self.sides.untested:
            self._try(change, change["new"], new, "the target", "couch2pg_dashboard_passwords")
        self._try(
            change, change["old"], old, "the source, to which it would go back", "couch2pg_dashboard_source_passwords"
        )

    def forward(self, change: Change) -> None:
        """Lead it to the target, and ask what a chart of it asks. Raises MigrationError."""
        self._put(change["id"], change["new"], self.sides.password(user_of(change["old"])))
        self.ask_chart(change)

    def back(self, change: Change) -> bool:
        """Lead it to where it led before; returns whether that was needed.

        Raises MigrationError ``changed_since`` when somebody has led it elsewhere since.
        """
        if not self.needs_back(change):
            return False
        self._put(change["id"], change["old"], self.sides.source_password(user_of(change["old"])))
        return True

    def needs_back(self, change: Change) -> bool:
        """Whether it leads to where the cutover led it. Raises MigrationError ``changed_since``."""
        found = self._connection(change["id"]).get("sqlalchemy_uri")
        if found is None:
            # Somebody has deleted it.
            return False
        if found not in (change["old"], change["new"]):
            raise MigrationError(
                f"Superset's database {change['name']!r} was changed since the cutover; it is left as it is. It was "
                f"{change['old']} before.",
                "changed_since",
            )
        return bool(found == change["new"] != change["old"])

    def ask_chart(self, change: Change) -> str:
        """Run the query of a chart, or count a dataset where no chart has one; returns what was asked.

        Raises MigrationError ``chart``.
        """
        for dataset in self._list("dataset", f"(col:database,opr:rel_o_m,value:{change['id']})"):
            charts = self._list(
                "chart", f"(col:datasource_id,opr:eq,value:{dataset['id']}),(col:datasource_type,opr:eq,value:table)"
            )
            for chart in charts:
                # One that was never saved anew has no query to be asked for.
                if self.api.ask("GET", f"/api/v1/chart/{chart['id']}")["result"].get("query_context"):
                    name = f"chart {chart['slice_name']!r}"
                    self._answered(change, name, "GET", f"/api/v1/chart/{chart['id']}/data/?force=true", None)
                    return name
            name = f"dataset {dataset['table_name']!r}"
            count = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "rows"}
            question = {
                "datasource": {"id": dataset["id"], "type": "table"},
                "queries": [{"columns": [], "metrics": [count], "row_limit": 1}],
                "force": True,
            }
            self._answered(change, name, "POST", "/api/v1/chart/data", question)
            return name
        return ""

    def _answered(self, change: Change, what: str, method: str, path: str, body: object) -> None:
        try:
            results = self.api.ask(method, path, body)["result"]
            said = next((str(result["error"]) for result in results if result.get("error")), "")
        except MigrationError as error:
            if error.code != "api_refused":
                raise
            said = error.message
        if said:
            raise MigrationError(
                f"Superset's database {change['name']!r} was led to the target, but its {what} fails there: {said}",
                "chart",
            )

    def _try(self, change: Change, uri: str, password: str | None, where: str, variable: str) -> None:
        question = {"database_name": change["name"], "sqlalchemy_uri": with_password(uri, password)}
        try:
            self.api.ask("POST", "/api/v1/database/test_connection/", question)
        except MigrationError as error:
            if error.code != "api_refused":
                raise
            said = error.details.get("reason") or "it can't connect"
            raise MigrationError(
                f"Superset can't use {where} ({place_of(uri)}) for its database {change['name']!r} as {user_of(uri)!r}: "
                f"{said}. Check {variable}, pg_hba.conf and the firewall. Nothing was changed.",
                "dashboard_login",
            ) from None

    def _put(self, number: int, uri: str, password: str | None) -> None:
        self.api.ask("PUT", f"/api/v1/database/{number}", {"sqlalchemy_uri": with_password(uri, password)})

    def _new(self, uri: str) -> str:
        parts = urlsplit(uri)
        user = quote(self.sides.role(user_of(uri)), safe="")
        password = f":{parts.password}" if parts.password is not None else ""
        target = self.sides.target
        host = f"[{target.host}]" if ":" in target.host else target.host
        netloc = f"{user}{password}@{host}:{target.port}"
        return urlunsplit(parts._replace(netloc=netloc, path=f"/{quote(target.database, safe='')}"))

    def _connection(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.api.ask("GET", f"/api/v1/database/{number}/connection")["result"]
        return found

    def _databases(self) -> Iterator[tuple[int, str]]:
        for row in self._list("database", ""):
            yield row["id"], row["database_name"]

    def _list(self, kind: str, filters: str) -> Iterator[dict[str, Any]]:
        """Every row of a list that Superset gives by pages."""
        page = 0
        while True:
            asked = (
                f"(filters:!({filters}),order_column:{NAMES[kind]},order_direction:asc,page:{page},page_size:{PAGE})"
            )
            rows = self.api.ask("GET", f"/api/v1/{kind}/?q={quote(asked, safe='')}")["result"]
            yield from rows
            if len(rows) < PAGE:
                return
            page += 1


def place_of(uri: str) -> Place | None:
    """Where an address of PostgreSQL leads; None for anything else."""
    parts = urlsplit(uri)
    if not parts.scheme.startswith("postgres") or not parts.hostname:
        return None
    return Place(parts.hostname, parts.port or DEFAULT_PORT, unquote(parts.path.lstrip("/")))


def user_of(uri: str) -> str:
    """The role in an address."""
    return unquote(urlsplit(uri).username or "")


def has_password(uri: str) -> bool:
    """Whether a password goes with an address."""
    return urlsplit(uri).password is not None


def with_password(uri: str, password: str | None) -> str:
    """The address with a password in place of the mask; without one it keeps the mask, and Superset what it has."""
    if password is None or not has_password(uri):
        return uri
    parts = urlsplit(uri)
    user, _colon, rest = parts.netloc.partition(":")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{rest.rpartition('@')[2]}"))
