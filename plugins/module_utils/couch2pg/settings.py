# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's settings, as one model for every kind of deployment.

A Node.js deployment names PostgreSQL by ``POSTGRESQL_URL``. The Docker image's entrypoint builds that URL from four variables, always
with port 5432, and inserts the password unchanged: special characters must be percent-encoded in the variable.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, TypedDict
from urllib.parse import parse_qs, quote, unquote

from ..common.errors import MigrationError
from ..common.redaction import SHORTEST_SECRET
from ..couchdb import url as couchdb_url
from ..couchdb.url import CouchdbUrl
from ..host.files import read_json, write_json

FORMAT = 1
# The file with couch2pg's settings on the target, in the migration's state folder there.
EFFECTIVE = "couch2pg_target.json"
URL, ENTRYPOINT = "url", "entrypoint"
STYLES = (URL, ENTRYPOINT)
DEFAULT_PORT = 5432
# couch2pg's default, in minutes.
SLEEP_MINUTES = 60.0
# In the order of the URL that the entrypoint builds.
ENTRYPOINT_VARIABLES = ("POSTGRES_USER_NAME", "POSTGRES_PASSWORD", "POSTGRES_SERVER_NAME", "POSTGRES_DB_NAME")
MASK = "********"
# Paths of certificates. They can differ from host to host.
_OF_HOST = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR")
# Variables that decide which certificates Node.js trusts.
OF_NODE = (*_OF_HOST, "NODE_TLS_REJECT_UNAUTHORIZED", "NODE_OPTIONS")

_URL = re.compile(
    r"^(postgres(?:ql)?)://(?:([^/?#]*)@)?(\[[0-9a-fA-F:.]+\]|[^/?#@:]+)(?::(\d{1,5}))?/([^?#]+)(?:\?([^#]*))?$"
)
_NOT_ONE = (
    "POSTGRESQL_URL is not a URL that couch2pg can use: it must look like postgres://user:password@host:5432/database. "
    "Percent-encode special characters of user and password (@ is %40, / is %2F, # is %23)."
)
# Variables that couch2pg reads. The target must not have one that the source lacks.
_ITS_OWN = re.compile(
    r"POSTGRESQL_URL|POSTGRES_(USER_NAME|PASSWORD|SERVER_NAME|DB_NAME)|COUCHDB_URL|COUCH2PG_\w+|SYNC_DB_\w+"
)
_BREAKS = (
    "POSTGRES_PASSWORD (or POSTGRES_USER_NAME) contains a character that breaks the URL which couch2pg's entrypoint builds from it. "
    "Percent-encode it there (/ is %2F, ? is %3F, # is %23)."
)
_SECRET = re.compile(r"PASS|SECRET|TOKEN|PRIVATE|CREDENTIAL|API_?KEY|_KEY$", re.IGNORECASE)
# Up to the last @, because a password may contain an unencoded @.
_CREDENTIALS = re.compile(r"(://[^:/@\s]*):\S*@")


class ShownPlace(TypedDict):
    """The address of PostgreSQL without the password."""

    host: str
    port: int
    database: str
    user: str
    encrypted: bool


class ShownSettings(TypedDict):
    """Settings without secrets: masked variables, their style, and both servers (None or empty when the URL is unusable)."""

    settings: dict[str, str]
    style: str
    postgres: ShownPlace | None
    couchdb: str


class StoredSettings(TypedDict):
    """Settings with their secrets, as they are stored in a file (0600) or passed between tasks."""

    format: int
    style: str
    variables: dict[str, str]


@dataclass(frozen=True)
class PostgresPlace:
    """The address of PostgreSQL for couch2pg, decoded. ``query`` follows the question mark of the URL, such as ``ssl=true``."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(default="", repr=False)
    query: str = ""

    @property
    def encrypted(self) -> bool:
        """Whether couch2pg's driver uses TLS."""
        asked = parse_qs(self.query)
        return asked.get("ssl", [""])[-1] in ("1", "true") or asked.get("sslmode", ["disable"])[-1] != "disable"

    @property
    def url(self) -> str:
        """POSTGRESQL_URL, percent-encoded."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = f"?{self.query}" if self.query else ""
        return f"postgresql://{_quoted(self.user)}:{_quoted(self.password)}@{host}:{self.port}/{_quoted(self.database)}{query}"

    def as_dict(self) -> ShownPlace:
        """The address for results and the record, without the password."""
        return {
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "user": self.user,
            "encrypted": self.encrypted,
        }


@dataclass(frozen=True)
class Settings:
    """couch2pg's environment. ``style`` tells how it names PostgreSQL: ``url`` or ``entrypoint``."""

    variables: Mapping[str, str] = field(repr=False)
    style: str = URL

    @property
    def couchdb(self) -> CouchdbUrl:
        """The parsed COUCHDB_URL. Raises MigrationError ``couchdb_url`` or ``setting_missing``."""
        return couchdb_url.parse(self._required("COUCHDB_URL"))

    @property
    def postgres(self) -> PostgresPlace:
        """The address of PostgreSQL. Raises MigrationError ``postgresql_url`` or ``setting_missing``."""
        if self.style == URL:
            return parse_postgres(self._required("POSTGRESQL_URL"))
        user, password, host, database = (self._required(name) for name in ENTRYPOINT_VARIABLES)
        if any(character in user + password for character in "/?#"):
            raise MigrationError(
                _BREAKS,
                "postgresql_url",
            )
        return PostgresPlace(host, DEFAULT_PORT, database, unquote(user), unquote(password))

    @property
    def sleep_minutes(self) -> float:
        """Minutes between two runs; couch2pg's default when the variable is missing or no number."""
        try:
            minutes = float(self.variables.get("COUCH2PG_SLEEP_MINS", ""))
        except ValueError:
            return SLEEP_MINUTES
        return minutes if minutes > 0 else SLEEP_MINUTES

    def as_dict(self) -> ShownSettings:
        """The settings for results and the record, without secrets. An unusable URL becomes None or an empty text."""
        postgres: ShownPlace | None = None
        couchdb = ""
        with suppress(MigrationError):
            postgres = self.postgres.as_dict()
        with suppress(MigrationError):
            couchdb = f"{self.couchdb.scheme}://{self.couchdb.key}"
        return {"settings": self.redacted(), "style": self.style, "postgres": postgres, "couchdb": couchdb}

    def redacted(self) -> dict[str, str]:
        """The variables to show: credentials, and values of names that look secret, are masked."""
        known = [secret for secret in self.secrets() if len(secret) >= SHORTEST_SECRET]
        shown = {name: _masked(name, value) for name, value in sorted(self.variables.items())}
        # A variable of any name may contain the same password.
        return {name: MASK if any(secret in value for secret in known) else value for name, value in shown.items()}

    def secrets(self) -> list[str]:
        """Every secret value, decoded and as written."""
        found = {value for name, value in self.variables.items() if _SECRET.search(name)}
        for name, value in self.variables.items():
            if "URL" in name and "://" in value:
                credentials = value.partition("://")[2].rpartition("@")[0]
                password = credentials.partition(":")[2]
                found |= {password, unquote(password)}
        return sorted(found - {""}, key=len, reverse=True)

    def problems(self) -> list[str]:
        """What is unusual about the settings, each with what to do. couch2pg may run nevertheless."""
        found = []
        try:
            found += [f"COUCHDB_URL: {problem}" for problem in self.couchdb.problems]
            found += _unencoded("COUCHDB_URL", _credentials(self.variables["COUCHDB_URL"]))
        except MigrationError as error:
            found.append(error.message)
        try:
            _place = self.postgres
            found += self._unencoded_postgres()
        except MigrationError as error:
            found.append(error.message)
        port = self.variables.get("POSTGRES_PORT", "")
        if self.style == ENTRYPOINT and port not in ("", str(DEFAULT_PORT)):
            found.append(
                f"POSTGRES_PORT is {port}, which couch2pg's entrypoint ignores: it always uses {DEFAULT_PORT}. Let PostgreSQL listen on "
                "that port, or forward it."
            )
        return found

    def moved_to(self, place: PostgresPlace, style: str | None = None) -> Settings:
        """The same settings with PostgreSQL at ``place``, in the variables of ``style``.

        Raises MigrationError ``entrypoint_port`` when that style can't express the address.
        """
        style = style or self.style
        if style == self.style and self._is_at(place):
            # Keep the variables byte for byte as the source has them.
            return self
        kept = {
            name: value
            for name, value in self.variables.items()
            if name not in ("POSTGRESQL_URL", *ENTRYPOINT_VARIABLES) and not (style == URL and name == "POSTGRES_PORT")
        }
        if style == URL:
            return Settings({**kept, "POSTGRESQL_URL": place.url}, style)
        if place.port != DEFAULT_PORT or place.query:
            what = f"port {place.port}" if place.port != DEFAULT_PORT else f"?{place.query}"
            raise MigrationError(
                f"couch2pg's Docker entrypoint can't use {what}: it always uses port {DEFAULT_PORT}, and no query after the database's "
                "name. Let PostgreSQL listen on that port, or forward it.",
                "entrypoint_port",
                port=place.port,
            )
        # The entrypoint passes all but the password to pg_isready unchanged. The password is only a part of the URL.
        values = (place.user, _quoted(place.password), place.host, place.database)
        return Settings({**kept, **dict(zip(ENTRYPOINT_VARIABLES, values))}, style)

    def with_couchdb(self, url: str) -> Settings:
        """The same settings with CouchDB at ``url``. A URL without credentials gets those of the present one.

        Raises MigrationError ``couchdb_url``.
        """
        if not couchdb_url.parse(url).user:
            scheme, _colon, rest = url.strip().partition("://")
            credentials = _credentials(self._required("COUCHDB_URL"))
            url = f"{scheme}://{credentials}@{rest.rpartition('@')[2]}" if credentials else url
        return Settings({**self.variables, "COUCHDB_URL": url}, self.style)

    def stored(self) -> StoredSettings:
        """The settings with their secrets, as ``restored`` reads them."""
        return {"format": FORMAT, "style": self.style, "variables": dict(self.variables)}

    def as_json(self) -> str:
        """The settings with their secrets, as ``parse_json`` reads them."""
        return json.dumps(self.stored())

    def save(self, path: Path) -> None:
        """Write the settings with their secrets to ``path`` (0600)."""
        write_json(path, self.stored())

    def _is_at(self, place: PostgresPlace) -> bool:
        try:
            return self.postgres == place
        except MigrationError:
            return False

    def _unencoded_postgres(self) -> list[str]:
        if self.style == URL:
            return _unencoded("POSTGRESQL_URL", _credentials(self.variables["POSTGRESQL_URL"]))
        user, password = (self.variables[name] for name in ENTRYPOINT_VARIABLES[:2])
        # The entrypoint passes the user to pg_isready unchanged, and not the password.
        return _unencoded("POSTGRES_USER_NAME", user) + _unencoded("POSTGRES_PASSWORD", f":{password}")

    def _required(self, name: str) -> str:
        value = self.variables.get(name, "").strip()
        if not value:
            raise MigrationError(
                f"couch2pg's settings have no {name}. Check that the deployment is the right one, and that this user may read it.",
                "setting_missing",
                variable=name,
            )
        return value


def style_of(variables: Mapping[str, str], otherwise: str = URL) -> str:
    """How these variables name PostgreSQL; ``otherwise`` when they don't name it."""
    if variables.get("POSTGRESQL_URL"):
        return URL
    return ENTRYPOINT if any(variables.get(name) for name in ENTRYPOINT_VARIABLES) else otherwise


def is_its_own(name: str) -> bool:
    """Whether couch2pg itself, or its entrypoint, reads this variable."""
    return _ITS_OWN.fullmatch(name) is not None


def unwanted(have: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """The variables in ``have`` that couch2pg reads, and that ``wanted`` lacks."""
    return sorted(name for name in have if is_its_own(name) and name not in wanted)


def for_target(
    captured: Settings, present: Settings, postgres: Mapping[str, Any], couchdb_url: str | None = None
) -> Settings:
    """The settings that couch2pg gets on the target: those of the source, with the target's PostgreSQL and CouchDB address.

    Only this function computes them, so that preflight checks the same settings that ``couch2pg_settings`` writes.
    present: the settings of the target's deployment. Their style and their paths of certificates stay, and those other variables of
    ``OF_NODE`` that the source doesn't set. postgres: the options that replace parts of the source's address; None keeps the
    source's value. couchdb_url: replaces COUCHDB_URL; None or empty keeps it.
    Raises MigrationError for settings that can't be used, or that the style can't express.
    """
    given = {name: value for name, value in postgres.items() if value is not None}
    moved = captured.moved_to(replace(captured.postgres, **given), present.style)
    moved = moved.with_couchdb(couchdb_url) if couchdb_url else moved
    own = {
        name: present.variables[name]
        for name in OF_NODE
        if present.variables.get(name) and (name in _OF_HOST or name not in captured.variables)
    }
    return replace(moved, variables={**moved.variables, **own}) if own else moved


def load(path: Path) -> Settings:
    """The settings that ``save`` wrote. Raises MigrationError ``settings_missing`` or ``damaged_file``."""
    stored = read_json(path)
    if stored is None:
        raise MigrationError(
            f"couch2pg's settings are not in {path}. Run the playbook from its beginning, which writes them.",
            "settings_missing",
            path=str(path),
        )
    return restored(stored, str(path))


def parse_json(text: str) -> Settings:
    """The settings in the JSON of ``Settings.stored``, as a task passes them. Raises MigrationError ``damaged_file``."""
    try:
        stored = json.loads(text)
    except ValueError:
        stored = None
    return restored(stored, "The option settings")


def restored(stored: Any, where: str) -> Settings:
    """The settings that ``Settings.stored`` described. Raises MigrationError ``damaged_file``."""
    variables = stored.get("variables") if isinstance(stored, dict) and stored.get("format") == FORMAT else None
    if not isinstance(variables, dict) or stored.get("style") not in STYLES:
        raise MigrationError(
            f"{where} does not contain couch2pg's settings. Look at it, then move it away and run again.",
            "damaged_file",
            path=where,
        )
    return Settings({str(name): str(value) for name, value in variables.items()}, stored["style"])


def load_if_there(path: Path) -> Settings:
    """The settings in ``path``; empty settings when the file doesn't exist."""
    return load(path) if path.exists() else Settings({})


def parse_postgres(text: str) -> PostgresPlace:
    """Parse a POSTGRESQL_URL.

    Raises MigrationError ``postgresql_url``, whose message contains no credentials.
    """
    url = _URL.match(text.strip())
    if url is None or int(url.group(4) or 0) > 65535:
        raise MigrationError(_NOT_ONE, "postgresql_url")
    _scheme, credentials, host, port, database, query = url.groups()
    user, _colon, password = (credentials or "").partition(":")
    return PostgresPlace(
        host.strip("[]"),
        int(port or DEFAULT_PORT),
        unquote(database),
        unquote(user),
        unquote(password),
        query or "",
    )


def _credentials(url: str) -> str:
    """The part before the last @ of the URL, as written."""
    return url.partition("://")[2].rpartition("@")[0].strip()


def _unencoded(what: str, credentials: str) -> list[str]:
    """A problem for special characters in ``user:password`` that should be percent-encoded."""
    user, _colon, password = credentials.partition(":")
    text = re.sub(r"%[0-9a-fA-F]{2}", "", user + password)
    odd = sorted({letter for letter in text if letter in '@:/?#%[]\\"<>^`{|} ' or not letter.isprintable()})
    if not odd:
        return []
    shown = ", ".join(f"{'space' if letter == ' ' else letter} is {_quoted(letter)}" for letter in odd)
    return [f"{what}: user or password contains a special character that should be percent-encoded there ({shown})."]


def _masked(name: str, value: str) -> str:
    if _SECRET.search(name):
        return MASK if value else ""
    return _CREDENTIALS.sub(rf"\1:{MASK}@", value)


def _quoted(text: str) -> str:
    return quote(text, safe="")
