# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source's schema without rows, as a custom archive in memory: small enough to travel through the controller.

It may hold passwords (of user mappings, for example), so the action plugin of preflight keeps it out of the displayed result.
"""

from __future__ import annotations

import base64

from ..archive import pg_dump
from ..common.errors import MigrationError
from ..common.findings import Findings
from ..evidence.leave_out import LeaveOut
from ..host import programs
from ..host.files import FILE_MODE
from ..host.temporary import temporary_folder
from ..postgres import limited_program
from ..postgres.connection import ConnectionSettings
from ..postgres.extension_versions import installed_versions
from ..postgres.program_environment import program_environment
from ..postgres.relations import list_tables
from ..postgres.session import Session
from .options import Options
from .source_facts import SourceFacts

NAME = "schema for the target"
LIMIT_BYTES = 64 * 1024 * 1024


def read(settings: ConnectionSettings, findings: Findings, options: Options, facts: SourceFacts) -> str | None:
    """The schema for the trial on the target, or None if the target does not make one. If the schema can't be read, adds a failure."""
    if findings.failed or options["check_mode"] or options["method"] == "physical" or facts.get("dropped"):
        return None
    schema: list[str] = []
    leaving = LeaveOut.of(options["leave_out"])
    findings.attempt(NAME, lambda: schema.append(dump(settings, options["bin_dir"], leaving)))
    return schema[0] if schema else None


def dump(settings: ConnectionSettings, bin_dir: str, leaving: LeaveOut) -> str:
    """pg_dump of the schema alone, as base64.

    Raises MigrationError ``schema_dump_failed`` with pg_dump's reason, ``schema_too_large``, and ``locked``.
    """
    program = programs.find("pg_dump", bin_dir)
    with Session(settings) as session:
        programs.check_pg_dump(program, session.version)
        tables = list_tables(session).kept
        leaving.check(tables, installed_versions(session), program.major)
    said: list[str] = []
    with temporary_folder() as folder:
        passfile, archive = folder / "passfile", folder / "schema.dump"
        passfile.touch(mode=FILE_MODE)
        passfile.write_text(settings.passfile_line(), encoding="utf-8")
        command = pg_dump.schema_only(program, archive, settings.conninfo(), leaving.arguments(tables))
        if limited_program.run(settings, command, program_environment(settings, passfile), said.append):
            reason = next((line for line in said if "error:" in line), "it gave no reason")
            raise MigrationError(
                f"pg_dump can't dump the source's schema: {reason}. Remove the cause, then run again.",
                "schema_dump_failed",
                messages=said[:20],
            )
        size = archive.stat().st_size
        if size > LIMIT_BYTES:
            raise MigrationError(
                f"The source's schema is {size} bytes, too large to be tried on the target before the dump.",
                "schema_too_large",
                bytes=size,
            )
        return base64.b64encode(archive.read_bytes()).decode("ascii")
