# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the target: can it hold what the source has, under the name it shall bear? Everything is only read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import disk_plan, programs, promotion, target_database
from .connection import ConnectionSettings, Session, check_no_pooler, server_identity
from .database import find_database, is_empty, other_sessions, server
from .errors import MigrationError
from .files import expand, read_json
from .findings import Findings
from .identifiers import check_length, literal
from .preflight_source import check_folders, report_disk

OLDEST = 13
SAFE_SEARCH_PATH_SINCE = 17


def examine(
    settings: ConnectionSettings, options: dict[str, Any], source: dict[str, Any]
) -> tuple[Findings, dict[str, Any]]:
    """Every finding, and facts of the target. ``source`` has the facts of the source; empty, what needs them is left out."""
    findings = Findings()
    facts: dict[str, Any] = {}
    check_folders(findings, options)
    findings.ask("pg_restore", lambda: _pg_restore(options, source), lambda p: f"{p.path}, version {p.major}")
    session = findings.ask(
        "connection", lambda: Session(settings.maintenance), lambda _s: f"connected to {settings.maintenance}"
    )
    if session is None:
        return findings, facts
    with session:
        _Target(session, settings, findings, facts, options, source).examine()
    return findings, facts


def _pg_restore(options: dict[str, Any], source: dict[str, Any]) -> programs.Program:
    program = programs.find("pg_restore", options["bin_dir"])
    if "pg_dump_major" in source:
        programs.check_pg_restore(program, source["pg_dump_major"])
    return program


class _Target:
    def __init__(
        self,
        session: Session,
        settings: ConnectionSettings,
        findings: Findings,
        facts: dict[str, Any],
        options: dict[str, Any],
        source: dict[str, Any],
    ) -> None:
        self.session = session
        self.settings = settings
        self.findings = findings
        self.facts = facts
        self.options = options
        self.source = source
        self.state: Path = expand(options["state_dir"]) / options["migration_id"]

    def examine(self) -> None:
        find = self.findings
        find.ask("pooler", lambda: check_no_pooler(self.session), lambda _none: "PostgreSQL itself answers")
        find.attempt("server version", self._server)
        find.attempt("names", self._names)
        find.attempt("target database", self._real)
        if self.facts.get("promoted"):
            return
        find.attempt("incoming database", self._incoming)
        if self.source:
            for name, check in (
                ("locale", self._locale),
                ("extensions", self._extensions),
                ("roles", self._roles),
                ("rights", self._rights),
                ("materialized views", self._hazards),
                ("tablespaces", self._tablespaces),
                ("disk", self._disk),
            ):
                find.attempt(name, check)

    def _server(self) -> None:
        facts = server(self.session)
        self.facts["server"] = facts
        version, theirs = facts["major"], self.source.get("server", {}).get("major", 0)
        if version < OLDEST:
            self.findings.failure(
                "server version",
                f"The target is PostgreSQL {facts['version']}; {OLDEST} or newer is needed. Upgrade it first.",
            )
        elif version < theirs:
            self.findings.failure(
                "server version",
                f"The target is PostgreSQL {version}, older than the source ({theirs}): a database can't go back. "
                f"Install PostgreSQL {theirs} or newer on the target.",
            )
        elif facts["standby"]:
            self.findings.failure("server version", "The target is a standby, which can't be written. Use its primary.")
        else:
            self.findings.ok("server version", f"PostgreSQL {facts['version']}")

    def _names(self) -> None:
        name = self.settings.database
        for each in (self.options["incoming"], f"{name}_replaced_20000101T000000"):
            check_length(each)
        self.findings.ok("names", "all names fit into 63 bytes")

    def _real(self) -> None:
        name = self.settings.database
        promoted = promotion.already_promoted(self.settings, self.state, name)
        self.facts["promoted"] = promoted is not None
        if promoted is not None:
            self.findings.ok("target database", f"{name!r} was promoted by this migration already")
            return
        found = target_database.check_real_database(self.settings, name, self.options["replace_existing"])
        if found is None:
            self.findings.ok("target database", f"there is no {name!r} yet")
            return
        with Session(self.settings) as session:
            empty = is_empty(session)
        if empty:
            self.findings.ok("target database", f"{name!r} is empty, and lends its owner, settings and grants")
        else:
            self.findings.warning(
                "target database", f"{name!r} is not empty and will be kept as {name}_replaced_<time>."
            )
        connected = other_sessions(self.session, name)
        if connected:
            who = ", ".join(f"{row['role']} from {row['client']}" for row in connected[:3])
            self.findings.warning(
                "open sessions", f"{name!r} is used by {who}: it can't be renamed until these sessions have ended."
            )

    def _incoming(self) -> None:
        name = self.options["incoming"]
        if find_database(self.session, name) is None:
            self.findings.ok("incoming database", f"there is no {name!r} yet")
            return
        intent = read_json(self.state / target_database.INTENT)
        if intent == {"identity": server_identity(self.session), "name": name}:
            self.findings.ok("incoming database", f"{name!r} is this migration's own")
            return
        raise MigrationError(
            f"The target already has a database {name!r}, and this migration didn't make it. "
            "Rename or drop it if nobody needs it, then run again.",
            "incoming_exists",
        )

    def _locale(self) -> None:
        wanted = self.source["database"]
        existing = find_database(self.session, self.settings.database)
        if existing is not None and existing["encoding"] != wanted["encoding"]:
            raise MigrationError(
                f"The target's database {existing['name']!r} has the encoding {existing['encoding']}, the source's "
                f"{wanted['encoding']}. Drop the empty one, or create it with the source's encoding.",
                "encoding",
            )
        if wanted["locale_provider"] != "c":
            self.findings.ok("locale", f"{wanted['locale']} of provider {wanted['locale_provider']!r}")
            return
        for locale in sorted({wanted["lc_collate"], wanted["lc_ctype"]} - {"C", "POSIX"}):
            self._check_locale(locale)
        self.findings.ok("locale", f"{wanted['encoding']}, {wanted['lc_collate']} is there")

    def _check_locale(self, locale: str) -> None:
        """Have the server load the locale, in a transaction that is rolled back: it keeps no list that is complete."""
        self.session.execute("BEGIN")
        try:
            self.session.execute(f"CREATE COLLATION pg_temp.couch2pg_tried (LOCALE = {literal(locale)})")
        except MigrationError as error:
            # No right to try is no proof that it isn't there; CREATE DATABASE will tell.
            if error.details.get("sqlstate") == "42501":
                return
            raise MigrationError(
                f"The target's server doesn't have the locale {locale!r} of the source: install it on that host "
                "(Debian: dpkg-reconfigure locales), and restart PostgreSQL.",
                "locale_missing",
            ) from error
        finally:
            self.session.execute("ROLLBACK")

    def _extensions(self) -> None:
        available = {
            row["name"]: row["version"]
            for row in self.session.rows(
                "SELECT name, default_version AS version FROM pg_catalog.pg_available_extensions"
            )
        }
        wanted = self.source.get("extensions", {})
        missing = sorted(set(wanted) - set(available))
        if missing:
            raise MigrationError(
                f"The target's server lacks the extension {', '.join(missing)}: install its package there.",
                "extension_missing",
                extensions=missing,
            )
        self.findings.ok("extensions", f"available: {', '.join(sorted(wanted)) or 'none needed'}")

    def _roles(self) -> None:
        missing = [role["name"] for role in target_database.missing_roles(self.session, self.source)]
        if not missing:
            self.findings.ok("roles", "every role of the source is there")
            return
        target_database.check_may_create_roles(self.session, missing, self.options["missing_roles"])
        self.findings.warning(
            "roles",
            f"The target lacks {', '.join(missing)}: created without login by the restore. "
            "Give them login and password before somebody needs them.",
            roles=missing,
        )

    def _rights(self) -> None:
        facts = self.facts["server"]
        user = self.session.settings.user
        if facts["superuser"]:
            self.findings.ok("rights", f"{user!r} is a superuser")
            return
        if not facts["create_database"]:
            raise MigrationError(
                f"{user!r} may not create databases on the target. Use 'postgres' (login_user), or grant it CREATEDB.",
                "rights",
            )
        there = self.session.rows(
            "SELECT rolname AS name, pg_catalog.pg_has_role(current_user, oid, 'MEMBER') AS member "
            "FROM pg_catalog.pg_roles WHERE rolname = ANY(%s)",
            [self.source.get("owners", [])],
        )
        strangers = [row["name"] for row in there if not row["member"]]
        if strangers:
            raise MigrationError(
                f"{user!r} may not give objects to {', '.join(strangers)} on the target. Use 'postgres' (login_user), "
                f"or make it a member (GRANT {strangers[0]} TO {user}).",
                "rights",
                roles=strangers,
            )
        self.findings.ok("rights", f"{user!r} may create databases and is a member of every owner")

    def _hazards(self) -> None:
        hazards = self.source.get("hazards", [])
        if not hazards:
            self.findings.ok("materialized views", "none depends on the search_path")
            return
        names = ", ".join(hazard["matview"] for hazard in hazards[:5])
        text = (
            f"{names}: a function in it names an object without its schema. Set search_path on that function on the source "
            "(ALTER FUNCTION ... SET search_path = public, pg_temp)."
        )
        if self.facts["server"]["major"] >= SAFE_SEARCH_PATH_SINCE:
            self.findings.failure(
                "materialized views",
                f"PostgreSQL {SAFE_SEARCH_PATH_SINCE} and later can't refresh {text}",
                hazards=hazards,
            )
        else:
            self.findings.warning(
                "materialized views",
                f"PostgreSQL {SAFE_SEARCH_PATH_SINCE} and later could not refresh {text}",
                hazards=hazards,
            )

    def _tablespaces(self) -> None:
        there = {row["name"] for row in self.session.rows("SELECT spcname AS name FROM pg_catalog.pg_tablespace")}
        missing = sorted(set(self.source.get("sizes", {}).get("tablespaces", {})) - there)
        if missing:
            raise MigrationError(
                f"The target's server lacks the tablespace {', '.join(missing)}, where the source keeps tables or indexes. "
                "Create it there (CREATE TABLESPACE ... LOCATION ...).",
                "tablespace_missing",
                tablespaces=missing,
            )

    def _disk(self) -> None:
        if "sizes" in self.source:
            options = dict(
                self.options, side="target", sizes=self.source["sizes"], neighbour_needs=self.source.get("needs", [])
            )
            report_disk(self.findings, disk_plan.examine(self.session, options))
