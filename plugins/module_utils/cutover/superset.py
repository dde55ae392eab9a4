# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Superset's database connections: which lead to the source, whether the target would let them in, and the change itself.

Superset shows an address with a mask in place of the password. When such an address is written back, Superset keeps the
password. It tests an address with a mask only if nothing else in it was changed. So the operator must give the passwords
of the other side, and the connections to both sides are tested before anything is changed.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, TypedDict
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ..common.errors import MigrationError
from ..common.http_api import HttpApi
from .changes import Change
from .sides import DEFAULT_PORT, Place, Sides, let_in

TOOL = "superset"
MASK = "XXXXXXXXXX"
PAGE = 100
# The column that orders each list, so that its pages don't overlap.
NAMES = {"database": "database_name", "dataset": "table_name", "chart": "slice_name"}


class Connection(TypedDict, total=False):
    """A database of Superset, as its API shows it."""

    sqlalchemy_uri: str
    ssh_tunnel: Mapping[str, object] | None


class Superset:
    """A Superset at ``url``, logged in as a user who may change databases. Raises MigrationError ``api_unauthorized``."""

    def __init__(
        self, url: str, user: str, password: str, sides: Sides, provider: str = "db", ca_cert: str = ""
    ) -> None:
        self.sides = sides
        secrets = [password, *sides.secrets]
        # The protection against forged requests checks the referrer.
        self.api = HttpApi("Superset", url, {"Referer": url}, secrets, ca_cert, setting="couch2pg_superset")
        credentials = {"username": user, "password": password, "provider": provider, "refresh": False}
        token = self.api.ask("POST", "/api/v1/security/login", credentials)["access_token"]
        self.api.headers["Authorization"] = f"Bearer {token}"
        self.api.headers["X-CSRFToken"] = self.api.ask("GET", "/api/v1/security/csrf_token/")["result"]

    def plan(self) -> tuple[list[Change], list[str]]:
        """The changes to make, and the names of databases that lead to the target already.

        Raises MigrationError ``nothing_found``, or ``ssh_tunnel`` for a database behind an SSH tunnel.
        """
        changes: list[Change] = []
        ready: list[str] = []
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
                    f"Superset's database {name!r} reaches the source through an SSH tunnel, which this module can't "
                    "change. Change it in Superset, then run again.",
                    "ssh_tunnel",
                )
            changes.append(
                {"tool": TOOL, "url": self.api.url, "id": number, "name": name, "old": uri, "new": self._new(uri)}
            )
        if not changes and not ready:
            raise self.sides.nothing_found(f"No database of {self.api.label}")
        return changes, ready

    def test(self, change: Change) -> None:
        """Test that Superset can log in on both sides: on the target, and on the source for the way back.

        Raises MigrationError ``dashboard_login``.
        """
        user = user_of(change["old"])
        new, old = self.sides.password(user), self.sides.source_password(user)
        if has_password(change["old"]) and new is None:
            raise MigrationError(
                f"Superset's database {change['name']!r} logs in as {user!r}, whose password on the target isn't known. "
                f"{self.sides.set_password(user)} Nothing was changed.",
                "dashboard_login",
            )
        if self.sides.role(user) not in self.sides.untested:
            self._try(change, change["new"], new, "the target", "couch2pg_dashboard_passwords")
        self._try(
            change, change["old"], old, "the source, to which it would go back", "couch2pg_dashboard_source_passwords"
        )

    def forward(self, change: Change) -> None:
        """Point it at the target, and run the query of one of its charts. Raises MigrationError."""
        self._put(change["id"], change["new"], self.sides.password(user_of(change["old"])))
        self.ask_chart(change)

    def back(self, change: Change) -> bool:
        """Give it its old address; returns whether that was needed.

        Raises MigrationError ``changed_since`` when it was changed to a third address since.
        """
        if not self.needs_back(change):
            return False
        self._put(change["id"], change["old"], self.sides.source_password(user_of(change["old"])))
        return True

    def needs_back(self, change: Change) -> bool:
        """Whether it still has the address that the cutover set. Raises MigrationError ``changed_since``."""
        found = self._connection(change["id"]).get("sqlalchemy_uri")
        if found is None:
            # It was deleted.
            return False
        if found not in (change["old"], change["new"]):
            raise MigrationError(
                f"Superset's database {change['name']!r} was changed since the cutover, and stays as it is. Its old "
                f"address was {change['old']}. Give it that address with its password on the source, or delete it; then run again.",
                "changed_since",
            )
        return bool(found == change["new"] != change["old"])

    def ask_chart(self, change: Change) -> str:
        """Run the query of a chart, or count a dataset when no chart has a saved query; returns what was run.

        Raises MigrationError ``chart``.
        """
        for dataset in self._list("dataset", f"(col:database,opr:rel_o_m,value:{change['id']})"):
            charts = self._list(
                "chart", f"(col:datasource_id,opr:eq,value:{dataset['id']}),(col:datasource_type,opr:eq,value:table)"
            )
            for chart in charts:
                # Old charts have no saved query.
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
                f"Superset's database {change['name']!r} leads to the target now, but its {what} fails there: {said.rstrip('.')}. "
                f"Correct that on the target, where {self.sides.role(user_of(change['old']))!r} needs the same tables and rights as on the "
                "source, or correct the chart in Superset.",
                "chart",
            )

    def _try(self, change: Change, uri: str, password: str | None, where: str, variable: str) -> None:
        question = {"database_name": change["name"], "sqlalchemy_uri": with_password(uri, password)}
        try:
            self.api.ask("POST", "/api/v1/database/test_connection/", question)
        except MigrationError as error:
            if error.code != "api_refused":
                raise
            said = str(error.details.get("reason") or "it can't connect").rstrip(".")
            place, user = place_of(uri), user_of(uri)
            raise MigrationError(
                f"Superset can't use {where} ({place}) for its database {change['name']!r} as {user!r}: {said}. Nothing was changed. "
                f"Correct {variable}, or allow the connection. {let_in('Superset', place.database if place else '', user)}",
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

    def _connection(self, number: int) -> Connection:
        found: Connection = self.api.ask("GET", f"/api/v1/database/{number}/connection")["result"]
        return found

    def _databases(self) -> Iterator[tuple[int, str]]:
        for row in self._list("database", ""):
            yield row["id"], row["database_name"]

    def _list(self, kind: str, filters: str) -> Iterator[Mapping[str, Any]]:
        """Every row of a list, read page by page."""
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
    """The place of a PostgreSQL URI; None for other databases."""
    parts = urlsplit(uri)
    if not parts.scheme.startswith("postgres") or not parts.hostname:
        return None
    return Place(parts.hostname, parts.port or DEFAULT_PORT, unquote(parts.path.lstrip("/")))


def user_of(uri: str) -> str:
    """The role in a URI."""
    return unquote(urlsplit(uri).username or "")


def has_password(uri: str) -> bool:
    """Whether a URI has a password."""
    return urlsplit(uri).password is not None


def with_password(uri: str, password: str | None) -> str:
    """The URI with the password in place of its mask. Without a password the mask stays, and Superset keeps its own password."""
    if password is None or not has_password(uri):
        return uri
    parts = urlsplit(uri)
    user, _colon, rest = parts.netloc.partition(":")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{rest.rpartition('@')[2]}"))
