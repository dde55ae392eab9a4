# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the source: check whether it can be dumped, and collect facts for the target. Read-only."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..archive import pg_dump
from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.findings import Findings
from ..common.progress_line import amount
from ..evidence import digest
from ..evidence.leave_out import EXTENSIONS_SINCE, LeaveOut
from ..host import programs
from ..host.files import check_writable, expand
from ..jobs.job import read_state
from ..physical import conditions
from ..postgres import backends, extension_versions, role_plan, role_transfer, search_path_checks
from ..postgres.connection import ConnectionSettings
from ..postgres.database import database_size, find_database, server
from ..postgres.database_properties import thawing_statements
from ..postgres.identifiers import literal, quote
from ..postgres.matview_graph import Matview, read_graph
from ..postgres.objects import Objects, read_objects
from ..postgres.relations import Tables, check_couchdb, check_readable, list_tables
from ..postgres.session import Session, check_no_pooler, running_server
from ..record.dropped import DROPPED, was_dropped
from . import connections, disk_plan, pace, utf8
from . import contents as preflight_contents
from .disk_plan import DiskPlan, FileSystemReport
from .options import Options
from .source_facts import SourceFacts

OLDEST = 10
_DELAYS = """
SELECT name, pg_catalog.current_setting(name) AS value, coalesce(sourcefile ~ 'postgresql[.]auto[.]conf$', false) AS by_alter_system
FROM pg_catalog.pg_settings WHERE name IN ('max_standby_archive_delay', 'max_standby_streaming_delay') AND setting <> '-1' ORDER BY 1
"""


def examine(settings: ConnectionSettings, options: Options) -> tuple[Findings, SourceFacts]:
    """All findings, and the facts for the target as far as they could be collected."""
    findings = Findings()
    facts: SourceFacts = {}
    if _was_dropped(settings, options):
        findings.ok(
            "database",
            f"{settings.database!r} was dropped here after its migration (couch2pg_cleanup: source_database)",
        )
        return findings, {"dropped": True}
    check_folders(findings, options)
    session = findings.ask("connection", lambda: Session(settings), lambda _s: f"connected to {settings}")
    if session is None:
        findings.ask("pg_dump", lambda: programs.find("pg_dump", options["bin_dir"]), _say_program)
        return findings, facts
    with session:
        _Source(session, findings, facts, options).examine()
    return findings, facts


def _was_dropped(settings: ConnectionSettings, options: Options) -> bool:
    """Whether this migration is finished, and cleanup has dropped the database. Problems are reported by the checks that follow."""
    state = expand(options["state_dir"]) / options["migration_id"]
    if not (state / DROPPED).exists():
        return False
    try:
        with Session(settings.maintenance) as session:
            return was_dropped(session, state) and find_database(session, settings.database) is None
    except MigrationError:
        return False


def check_folders(findings: Findings, options: Options) -> None:
    """Check the folders that this host will write into."""
    for name, folder in (("state folder", options["state_dir"]), ("staging folder", options["staging_dir"])):
        findings.ask(name, partial(_writable, folder), lambda path: f"{path} can be written")
    findings.attempt("other migrations", lambda: _other_migrations(findings, options))


def _other_migrations(findings: Findings, options: Options) -> None:
    """Warn about running jobs of other migrations, which use the host's resources."""
    running = [
        f"{folder.parents[1].name} ({folder.name})"
        for folder in sorted(expand(options["state_dir"]).glob("*/jobs/*"))
        if folder.parents[1].name != options["migration_id"] and read_state(folder).status == "running"
    ]
    if running:
        findings.warning(
            "other migrations",
            f"Other migrations are running on this host: {', '.join(running)}. Both will be slower, and both need disk space.",
        )


def _writable(folder: str) -> Path:
    path = expand(folder)
    check_writable(path)
    return path


def _say_program(program: programs.Program) -> str:
    return f"{program.path}, version {program.major}"


class _Source:
    def __init__(self, session: Session, findings: Findings, facts: SourceFacts, options: Options) -> None:
        self.session = session
        self.findings = findings
        self.facts = facts
        self.options = options
        self.objects: Objects = {}

    @property
    def _loaded(self) -> bool:
        """Whether the target loads the rows; the method physical copies the files as they are."""
        return self.options["method"] != "physical"

    def examine(self) -> None:
        find = self.findings
        find.ask("pooler", lambda: check_no_pooler(self.session), lambda _none: "PostgreSQL itself answers")
        find.attempt("server version", self._server)
        if self.options["limited"]:
            find.attempt("limits", self._limits)
        find.ask("connections", self._connections, str)
        find.ask("pg_dump", self._pg_dump, _say_program)
        find.attempt("database", self._database)
        tables = find.ask(
            "tables", self._kept_tables, lambda found: f"{counted(len(found.kept), 'table')} to carry over"
        )
        find.attempt("schema", self._schema)
        if tables is not None:
            self._tables(tables)
        find.attempt("roles", self._roles)
        find.attempt("materialized views", self._matviews)
        if self._loaded:
            find.attempt("indexes", self._expressions)
        else:
            find.attempt("physical", self._physical)

    def _connections(self) -> str:
        """With the method archive, the workers of the dump run here; with the others, those of the target's copy connect."""
        method = self.options["method"]
        jobs_of = "source" if method == "archive" else "target"
        return connections.check(self.session, self.options["jobs"], jobs_of, streams=method == "stream")

    def _server(self) -> None:
        facts = server(self.session)
        self.facts["server"] = facts
        self.facts["running_server"] = running_server(self.session)
        if facts["major"] < OLDEST:
            self.findings.failure(
                "server version",
                f"The source is PostgreSQL {facts['version']}, and {OLDEST} is the oldest supported version. "
                "Upgrade it first, or dump by hand.",
            )
            return
        self.findings.ok("server version", f"PostgreSQL {facts['version']}")
        if facts["standby"]:
            self.findings.attempt("standby", self._standby)

    def _standby(self) -> None:
        """Warn if replay may cancel the dump. With any hot_standby_feedback, it cancels queries that read a table which was truncated."""
        limited = self.session.rows(_DELAYS)
        if not limited:
            self.findings.ok("standby", "the source is a standby, and its replay waits for the dump")
            return
        delays = " and ".join(f"{row['name']} ({row['value']})" for row in limited)
        before = " ".join(f"ALTER SYSTEM SET {row['name']} = -1;" for row in limited)
        afterwards = " ".join(
            f"ALTER SYSTEM SET {row['name']} = {literal(row['value'])};"
            if row["by_alter_system"]
            else f"ALTER SYSTEM RESET {row['name']};"
            for row in limited
        )
        self.findings.warning(
            "standby",
            f"The source is a standby. Its replay cancels a query, such as the dump, that delays it for longer than {delays}. Use the "
            f"primary as the source. Or let the replay wait. On the standby, as a superuser, before the dump: {before} "
            f"SELECT pg_reload_conf(); After the dump: {afterwards} SELECT pg_reload_conf();",
        )

    def _limits(self) -> None:
        why = backends.out_of_reach(self.session)
        if why:
            self.findings.warning(
                "limits",
                f"couch2pg_nice and couch2pg_io_class apply only to the programs on this host: {why}. couch2pg_rate_limit limits the "
                "server's work, too.",
            )
        else:
            self.findings.ok("limits", "couch2pg_nice and couch2pg_io_class apply to the server's processes, too")

    def _physical(self) -> None:
        self.facts["physical"] = conditions.examine_source(self.session, self.findings)

    def _pg_dump(self) -> programs.Program:
        program = programs.find("pg_dump", self.options["bin_dir"])
        programs.check_pg_dump(program, self.session.version)
        chosen = pg_dump.choose_compression(self.options["compression"], program, self.options["format"])
        self.facts["compression"] = chosen
        digest.choose_method(self.options["digest_method"], self.session.version)
        self.facts["pg_dump_major"] = program.major
        return program

    def _database(self) -> None:
        name = self.session.settings.database
        properties = find_database(self.session, name)
        if properties is None:
            raise MigrationError(f"The source has no database {name!r}. Check the name.", "database_missing")
        properties["bytes"] = database_size(self.session, name)
        self.facts["database"] = properties
        thawing = thawing_statements(name, properties)
        if thawing:
            self.findings.warning(
                "read-only",
                f"The source's database {name!r} refuses writes or logins (default_transaction_read_only, or a connection limit of 0), and "
                "so will the target's after its promotion: couch2pg can't write there. Check why that was set. When the database is "
                f"promoted, run on the target: {'; '.join(thawing)}",
                statements=thawing,
            )
        self.facts["extensions"] = extension_versions.installed_versions(self.session)
        if properties["encoding"] != "SQL_ASCII" or not self._loaded:
            self.findings.ok("encoding", f"{properties['encoding']}, {properties['lc_collate']}")

    def _sql_ascii(self, tables: Tables) -> None:
        """A database without an encoding becomes a UTF8 database, when the operator wants it and every row allows it."""
        if self.options["encoding"] != "UTF8":
            raise MigrationError(
                f"The source's database {self.session.settings.database!r} has the encoding SQL_ASCII, which accepts any "
                "bytes. Set couch2pg_encoding to UTF8: preflight then checks that all rows are valid UTF-8, and the target's "
                "database becomes UTF8.",
                "encoding",
            )
        rows = utf8.check_rows(self.session.settings, tables.kept)
        self.facts["database"]["encoding"] = "UTF8"
        self.findings.warning(
            "encoding",
            f"The target's database becomes UTF8 instead of SQL_ASCII: all text on the source is valid UTF-8 ({counted(rows, 'row')}).",
        )

    def _tables(self, tables: Tables) -> None:
        find = self.findings
        user = self.session.settings.user
        find.ask("couch2pg", lambda: check_couchdb(tables.kept), lambda _none: "there is a table couchdb")
        find.ask("rights", lambda: check_readable(self.session), lambda _none: f"{user!r} may read every table")
        if tables.left_out:
            names = ", ".join(f"{entry['table']} ({entry['reason']})" for entry in tables.left_out[:5])
            find.warning("left out", f"Not copied like other tables: {names}", tables=tables.left_out)
        if self._loaded and self.facts.get("database", {}).get("encoding") == "SQL_ASCII":
            find.attempt("encoding", lambda: self._sql_ascii(tables))
        find.attempt("disk", lambda: self._disk(tables))

        if self.objects:
            preflight_contents.examine(self.session, find, self.facts, self.objects, tables, self._loaded)

    def _kept_tables(self) -> Tables:
        tables, leaving = list_tables(self.session), LeaveOut.of(self.options["leave_out"])
        extensions = self.facts.get("extensions", {})
        leaving.check(tables.kept, extensions, self.facts.get("pg_dump_major", EXTENSIONS_SINCE))
        for name in leaving.extensions:
            del extensions[name]
        if leaving.extensions:
            self.findings.warning(
                "extensions left out",
                f"couch2pg_leave_out leaves out {', '.join(leaving.extensions)}: the target's database will not have them.",
                extensions=list(leaving.extensions),
            )
        return leaving.kept(tables)

    def _schema(self) -> None:
        self.objects = read_objects(self.session)
        self.facts["extension_schemas"] = {name: entry["schema"] for name, entry in self.objects["extension"].items()}

    def _disk(self, tables: Tables) -> None:
        sizes = disk_plan.measure(self.session, tables)
        self.facts["sizes"] = sizes
        report = disk_plan.examine(self.session, self.options, "source", sizes)
        # For a target on the same machine: then its disks need space for both servers.
        self.facts["needs"] = report["needs"]
        report_disk(self.findings, report)
        archive = next((need["bytes"] for need in report["needs"] if need["use"] == "archive"), 0)
        self.facts["reading"] = pace.reading(self.session, tables.kept)
        self.findings.ok(
            "archive",
            f"{amount(sizes['tables'], 'bytes')} in tables make an archive of at most about {amount(archive, 'bytes')}",
            archive_bytes=archive,
            table_bytes=sizes["tables"],
        )

    def _roles(self) -> None:
        properties = self.facts.get("database")
        if properties is None or not self.objects:
            return
        wanted = role_plan.needed(self.session, self.objects, properties)
        names = [role["name"] for role in wanted]
        self.facts["roles"] = wanted
        self.facts["owners"] = sorted(role_plan.owners(self.objects))
        self.facts["acted_for"] = sorted(role_plan.acted_for(self.objects))
        powerful = [role["name"] for role in wanted if role["superuser"]]
        self.facts["of_superusers"] = {
            name: [f"DATABASE {quote(self.session.settings.database)}"] * (name == properties["owner"])
            + role_transfer.owned(self.session, self.objects, name)
            for name in powerful
        }
        self.facts["defaults_of_superusers"] = {
            name: role_transfer.removing_defaults(self.session, name) for name in powerful
        }
        self.findings.ok(
            "roles", f"{counted(len(names), 'role')} with objects or rights of the database: {', '.join(names)}"
        )
        members = role_plan.members(self.session, names)
        if members:
            who = "; ".join(f"{', '.join(found[:5])} (of {group})" for group, found in sorted(members.items()))
            self.findings.warning(
                "members of roles",
                f"Not copied, because nothing in the database refers to them: the members {who}. Create them on the target "
                "if they are needed, and grant them their groups.",
                members=members,
            )

    def _matviews(self) -> None:
        matviews = read_graph(self.session)
        self.facts["matviews"] = [matview.key for matview in matviews]
        refreshers = self._refreshers()
        refresher = refreshers[0] if len(refreshers) == 1 else ""
        reasons = {matview.key: _problem(matview, refresher) for matview in matviews}
        sick = [f"{key} ({reason})" for key, reason in reasons.items() if reason]
        if not refreshers:
            # Something else refreshes them, such as dbt.
            self.findings.ok(
                "materialized views", f"{len(matviews)}, and no function refresh_matviews() that refreshes them"
            )
        elif sick:
            self.findings.warning(
                "materialized views",
                f"refresh_matviews() can't refresh {', '.join(sick[:5])}, so couch2pg already fails there on the source. "
                "Fix them, or drop them if they are not needed.",
                matviews=sick,
            )
        else:
            self.findings.ok("materialized views", f"{len(matviews)}, all populated, each with a unique index")
        found = search_path_checks.of_matviews(self.session, matviews, self.options["function_search_path"])
        self.facts["hazards"] = [hazard.as_dict() for hazard in found]

    def _refreshers(self) -> list[str]:
        """The owners of all functions ``refresh_matviews()``. If there is only one, its owner must own every materialized view."""
        owners = self.session.rows(
            "SELECT pg_catalog.pg_get_userbyid(proowner) AS owner FROM pg_catalog.pg_proc "
            "WHERE proname = 'refresh_matviews' AND pronargs = 0"
        )
        return [str(row["owner"]) for row in owners]

    def _expressions(self) -> None:
        for hazard in search_path_checks.of_tables(self.session, self.options["function_search_path"]):
            name = f"{hazard.kind} {hazard.name}"
            if hazard.extensions and not hazard.fixed:
                # Left to preflight on the target, because the target's version of the extension decides.
                self.facts.setdefault("hazards", []).append(hazard.as_dict())
            elif hazard.fixed:
                self.findings.warning(
                    name,
                    f"The {name} needs a search_path, which the restore gives to {', '.join(hazard.functions)} "
                    "on the target only.",
                    **hazard.as_dict(),
                )
            else:
                self.findings.failure(
                    name, f"The {name} can't be restored: {hazard.reason} {hazard.remedy}", **hazard.as_dict()
                )


def _problem(matview: Matview, refresher: str) -> str:
    if not matview.populated:
        return "not populated"
    if not matview.has_unique_index:
        return "no unique index"
    if refresher and matview.owner != refresher:
        return f"owned by {matview.owner}, not by {refresher}"
    return "" if matview.schema == "public" else "not in schema public"


def report_disk(findings: Findings, report: DiskPlan) -> None:
    """The disk plan as findings: one for each file system, and one for each unknown one."""
    for place in report["file_systems"]:
        name = f"disk {place['mount_point']}"
        findings.attempt(name, partial(_report_place, findings, name, place))
    for name in report["unknown"]:
        findings.warning(
            f"disk of {name}",
            f"The free space of the {name} is unknown: {report['unknown_reason']}. Check it yourself.",
        )


def _report_place(findings: Findings, name: str, place: FileSystemReport) -> None:
    disk_plan.check(place)
    needed, free, left = (amount(size, "bytes") for size in (place["needed"], place["free"], place["left_over"]))
    findings.ok(name, f"{needed} needed for {', '.join(place['uses'])}, {free} free, {left} left over", **place)
