# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the target: check whether the database can be restored and promoted here.

Only a scratch database with its roles and a temporary table are written, and removed again.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ..archive import pg_dump
from ..common import restart
from ..common.errors import MigrationError
from ..common.findings import FAILURE, Findings
from ..host import file_systems, programs
from ..host.files import expand, read_json
from ..physical import conditions
from ..postgres.connection import ConnectionSettings
from ..postgres.database import ending, find_database, is_empty, other_sessions, server, users
from ..postgres.identifiers import check_length
from ..postgres.session import Session, check_no_pooler, running_server, server_identity
from ..record import document as record_document
from ..record import permission
from ..record.promoted import PROMOTED, already_promoted
from ..record.rolled_back import already_reversed
from ..record.verified import check_counted
from ..restore import target_database
from . import connections, disk_plan, estimate, lock_room, message_language, pace, schema_rehearsal
from .differences import Differences
from .options import Options
from .source import check_folders, report_disk
from .source_facts import SourceFacts
from .target_facts import TargetFacts

OLDEST = 13
USUAL_STATE_DIR = "~/couch2pg-migration"
# Checks whose failure prevents restoring the schema.
NEEDED = ("pg_restore", "pooler", "server version", "names", "locale", "extensions", "roles", "rights", "tablespaces")


def examine(settings: ConnectionSettings, options: Options, source: SourceFacts) -> tuple[Findings, TargetFacts]:
    """All findings, and facts of the target. ``source``: the source's facts; when empty, the checks that need them are skipped."""
    findings = Findings()
    # Read before the server is asked: even if it doesn't answer, no message may recommend to rehearse a promoted migration.
    state = expand(options["state_dir"]) / options["migration_id"]
    facts: TargetFacts = {"promotion_stored": (state / PROMOTED).exists()}
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


def _pg_restore(options: Options, source: SourceFacts) -> programs.Program:
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
        facts: TargetFacts,
        options: Options,
        source: SourceFacts,
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
        if self._is_the_source():
            find.failure(
                "other server",
                f"Source and target are the same server ({self.settings.place}). "
                "Correct couch2pg_login_host, _port and _unix_socket of each host.",
            )
            return
        find.ask("pooler", lambda: check_no_pooler(self.session), lambda _none: "PostgreSQL itself answers")
        find.attempt("server version", self._server)
        find.ask("pg_dump", self._pg_dump, lambda program: f"{program.path}, version {program.major}")
        find.ask("connections", lambda: connections.check(self.session, self.options["jobs"], "target"), str)
        find.attempt("language", self._language)
        find.ask("counts", lambda: check_counted(self.settings.maintenance), lambda _none: "the server counts writes")
        find.attempt("names", self._names)
        find.attempt("state folder of this migration", self._state_known)
        find.attempt("target database", self._real)
        if self.facts.get("promoted"):
            return
        if self.source:
            find.attempt("estimate", self._estimate)
        if self.options["method"] == "physical":
            conditions.examine_target(self.session, self.settings, find, self.options, self.source)
            return
        find.attempt("incoming database", self._incoming)
        if "sizes" in self.source:
            find.attempt(
                lock_room.NAME, lambda: lock_room.examine_target(self.session, self.source["sizes"]["table_count"])
            )
        if self.source:
            Differences(self.session, self.settings, self.findings, self.facts, self.options, self.source).examine()
            find.attempt("disk", self._disk)
            if self.options["schema"] or self.options["check_mode"]:
                find.attempt(schema_rehearsal.NAME, self._schema)

    def _estimate(self) -> None:
        """How long each method takes. Check mode writes nothing, so it measures no loading."""
        if "sizes" not in self.source:
            return
        may_write = not (self.options["check_mode"] or server(self.session)["standby"])
        sizes, matviews = self.source["sizes"], len(self.source.get("matviews", ()))
        one_machine = sizes["machine"] == file_systems.machine()
        line, no_line = (0, "") if one_machine else pace.line(self.options["server"])
        measured = estimate.Pace(
            self.source.get("reading", 0),
            pace.loading(self.session) if may_write else 0,
            self.options["jobs"],
            line,
            no_line,
        )
        found = estimate.of_methods(sizes, matviews, measured, one_machine)
        chosen = self.options["method"]
        self.facts["seconds"] = next([each.shortest, each.longest] for each in found if each.method == chosen)
        self.findings.ok(
            "estimate",
            estimate.sentence(found, chosen, measured),
            estimates=[asdict(each) for each in found],
            one_machine=one_machine,
            line=line,
        )

    def _pg_dump(self) -> programs.Program:
        """The program that prints the schemas which the verification compares."""
        program = programs.find("pg_dump", self.options["bin_dir"])
        programs.check_pg_dump(program, self.session.version)
        # Whether pg_restore supports the compression can't be tested without an archive. It comes with this pg_dump.
        compression = self.source.get("compression", "none")
        if self.options["method"] == "archive" and not pg_dump.supports(compression, program):
            raise MigrationError(
                f"The archive will be compressed with {compression}, and the target's programs in {Path(program.path).parent} were built "
                "without that. Set couch2pg_compression: gzip:1.",
                "compression",
            )
        return program

    def _language(self) -> None:
        problem = message_language.problem(self.session)
        if problem:
            self.findings.warning("language", problem)

    def _schema(self) -> None:
        """Restore the source's schema alone into a scratch database, which check mode may not create."""
        name = schema_rehearsal.NAME
        unmet = [
            finding.name for finding in self.findings.found if finding.status == FAILURE and finding.name in NEEDED
        ]
        if self.options["check_mode"]:
            self.findings.warning(name, "Not tried in check mode, because it needs a scratch database on the target.")
        elif unmet:
            self.findings.warning(name, f"Not tried, because it needs {', '.join(unmet)} to be right.")
        elif find_database(self.session, self.options["incoming"]) is None:
            schema_rehearsal.examine(self.settings, self.findings, self.options, self.source, self.options["schema"])

    def _is_the_source(self) -> bool:
        return running_server(self.session) == self.source.get("running_server")

    def _server(self) -> None:
        facts = server(self.session)
        self.facts["server"] = facts
        version = facts["major"]
        theirs = self.source["server"]["major"] if "server" in self.source else 0
        if version < OLDEST:
            self.findings.failure(
                "server version",
                f"The target is PostgreSQL {facts['version']}; {OLDEST} or newer is needed. Upgrade it first.",
            )
        elif version < theirs:
            self.findings.failure(
                "server version",
                f"The target is PostgreSQL {version}, older than the source ({theirs}), and a downgrade is not possible. "
                f"Install PostgreSQL {theirs} or newer on the target.",
            )
        elif facts["standby"]:
            self.findings.failure("server version", "The target is a standby, which is read-only. Use its primary.")
        else:
            self.findings.ok("server version", f"PostgreSQL {facts['version']}")

    def _names(self) -> None:
        check_length(self.options["incoming"], "Set couch2pg_incoming to a shorter name.")
        self.findings.ok("names", "all names fit into 63 bytes")

    def _state_known(self) -> None:
        """Refuse another state folder than the one that has the record: the migration would start from the beginning without a message."""
        usual = expand(USUAL_STATE_DIR) / self.state.name
        if self.state != usual and not self._has_record and (usual / record_document.NAME).exists():
            raise MigrationError(
                f"This migration has its record in {usual}, but couch2pg_state_dir is {self.state.parent} now. Nothing was "
                f"changed. Set couch2pg_state_dir to {usual.parent} again, or choose another couch2pg_migration_id.",
                "state_elsewhere",
                state=str(usual),
            )

    @property
    def _has_record(self) -> bool:
        return (self.state / record_document.NAME).exists()

    def _hint_at_state(self) -> str:
        """A hint for a database that this migration doesn't know: the state folder may have changed. Empty if the record exists."""
        if self._has_record:
            return ""
        return f" If an earlier run of this migration made it, set its couch2pg_state_dir again: {self.state} has no record."

    def _real(self) -> None:
        name = self.settings.database
        reversed_ = already_reversed(self.settings, self.state)
        if reversed_ is not None:
            raise MigrationError(
                f"The migration {self.state.name!r} was rolled back, and its database is kept as {reversed_['kept_as']!r}. To migrate "
                f"again, use another name: {restart.migrate_as(self.state.name)}",
                "rolled_back",
            )
        promoted = already_promoted(self.settings, self.state, name)
        self.facts["promoted"] = promoted is not None
        self.facts["promotion_recorded"] = False
        if promoted is not None:
            known = record_document.load(self.state / record_document.NAME)
            self.facts["promotion_recorded"] = known is not None and permission.done(known, "promote") is not None
            self.facts["cleaned_up"] = known is not None and bool(permission.done(known, "cleanup"))
            self.findings.ok("target database", f"{name!r} was promoted by this migration already")
            return
        rehearsal, replace = self.options["rehearsal"], self.options["replace_existing"]
        try:
            exists = target_database.check_real_database(self.settings, name, replace or rehearsal)
        except MigrationError as error:
            raise MigrationError(error.message + self._hint_at_state(), error.code, **error.details) from error
        if not exists:
            self.findings.ok("target database", f"there is no {name!r} yet")
            return
        with Session(self.settings) as session:
            empty = is_empty(session)
        if empty:
            self.findings.ok("target database", f"{name!r} is empty and will be replaced")
        elif replace:
            self.findings.warning(
                "target database", f"{name!r} is not empty and will be kept as {name}_replaced_<time>."
            )
        else:
            self.findings.warning(
                "target database",
                f"{name!r} is not empty. The rehearsal doesn't change it. The migration will refuse it, unless "
                "couch2pg_replace_existing allows renaming it.",
            )
        connected = other_sessions(self.session, name)
        if connected:
            self.findings.warning(
                "open sessions",
                f"{name!r} is used by {users(connected)}: it can't be renamed until they have ended. {ending(name, connected)}",
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
        error = target_database.taken(self.state, server_identity(self.session), name)
        hint = "" if "migration_id" in error.details else self._hint_at_state()
        raise MigrationError(error.message + hint, error.code, **error.details)

    def _disk(self) -> None:
        if "sizes" in self.source:
            sizes = self.source["sizes"]
            if self.options["tablespaces"] == "default":
                sizes = sizes.copy()
                sizes["tablespaces"] = {}
            neighbour = self.source.get("needs", [])
            report_disk(self.findings, disk_plan.examine(self.session, self.options, "target", sizes, neighbour))
