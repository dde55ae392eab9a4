# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore the three sections of an archive with pg_restore, and digest the tables while their indexes are built."""

from __future__ import annotations

import functools
import threading
import time
from pathlib import Path
from typing import BinaryIO, Callable, Mapping

from ..archive import pg_restore
from ..archive.messages import Listener, Message, Rule, sentence, then, written_for_newer
from ..common import restart
from ..common.clock import utc_now
from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..common.parallel import run_together
from ..evidence import digest
from ..evidence.document import sequence_values
from ..host import programs
from ..jobs.context import JobContext
from ..pipeline import marks
from ..postgres import (
    changes,
    collations,
    compression,
    event_triggers,
    extension_versions,
    function_paths,
    loading,
    public_schema,
    session_settings,
)
from ..postgres.connection import ConnectionSettings
from ..postgres.program_environment import program_environment
from ..postgres.relations import Table, list_tables
from ..postgres.server_progress import COPY_SINCE, CopyProgress, DatabaseSize, IndexProgress
from ..postgres.session import Session
from ..postgres.workers import Growing
from ..record.restored import Done
from . import large_tables
from . import steps as restore_steps
from .parameters import Parameters
from .steps import RestoreSteps


def _ignore(_line: str) -> None:
    pass


class Sections:
    """Restores the sections that ``steps`` doesn't list as done, and marks them there.

    load_rows: loads the rows that the archive doesn't contain, after the archive's own rows.
    harmless: the harmless messages of pg_restore; seconds: the duration of each section.
    """

    def __init__(
        self,
        context: JobContext,
        incoming: ConnectionSettings,
        root: Path,
        evidence: Evidence,
        steps: RestoreSteps,
        load_rows: Callable[[], None] | None = None,
    ) -> None:
        self._load_rows = load_rows
        self._context = context
        self._incoming = incoming
        self._root = root
        self._evidence = evidence
        self._compression = evidence.get("compression", compression.UNKNOWN)
        self._steps = steps
        self._parameters = context.given(Parameters)
        self._jobs = self._parameters["jobs"]
        self._resumed = steps.done.get("pre-data") is not None
        self._stop = threading.Event()
        self._program = programs.find("pg_restore", self._parameters["bin_dir"])
        self._archive = root
        self._lines: list[str] = []
        self._rules: tuple[Rule, ...] = ()
        # Tables whose rows are loaded after those of all others.
        self._taken: list[Table] = []
        self.harmless: list[Message] = []
        self.seconds: dict[str, float] = {}

    def run(self) -> None:
        """Run all steps that are not done yet."""
        progress = self._context.progress
        progress.plan(3 if self._steps.done.get("data") else 4)
        progress.step("prepare")
        done = self._steps.done
        if not (done.get("pre-data") and done.get("data") and done.get("post-data")):
            self._archive = pg_restore.unpacked(self._root, self._evidence["dump"]["format"], self._context.work)
            self._lines = pg_restore.read_list(self._program, self._archive)
            with Session(self._incoming) as session:
                self._rules = written_for_newer(pg_restore.dumped_by(self._lines), programs.major(session.version))
        if not self._steps.done.get("pre-data"):
            with Session(self._incoming) as session:
                collations.import_system(session)
            self._extensions()
            self._restore("pre-data", 1)
            with Session(self._incoming) as session:
                public_schema.carry_over(session, public_schema.PublicSchema.of_evidence(self._evidence))
            # Large objects can't be loaded twice, so with them the next attempt must start from the beginning.
            if not pg_restore.has_large_objects(self._lines):
                self._done({"pre-data": True})
        paths = self._parameters["function_search_path"]
        # Also when resuming: refresh may show that a function needs a search_path after everything else is done.
        if paths:
            with Session(self._incoming) as session, event_triggers.silent_transaction(session):
                applied = function_paths.apply(session, paths)
            self._steps.mark({"functions": {**(self._steps.done.get("functions") or {}), **applied}})
            self._steps.mark({"paths": {**(self._steps.done.get("paths") or {}), **paths}})
        self._rows()
        if not self._steps.done.get("post-data"):
            with Session(self._incoming) as session:
                # Not earlier: until here, another attempt could need the marks.
                marks.remove(session)
        self._post_data_and_digests()

    def _rows(self) -> None:
        """The section ``data``: most tables, the large ones, and those that come after all others."""
        loaded = self._steps.done.get("last") or self._steps.done.get("post-data")
        if not loaded:
            with Session(self._incoming) as session:
                compression.begin(session, self._compression)
        last = [] if loaded else self._last()
        load_rows = self._load_rows
        if load_rows is None and not self._steps.done.get("rows"):
            load_rows = self._large_tables_apart()
        if not self._steps.done.get("data"):
            self._data()
        if load_rows is not None and not self._steps.done.get("rows"):
            started = time.monotonic()
            load_rows()
            self._done({"rows": True})
            self.seconds["rows"] = time.monotonic() - started
        if last:
            # With one worker, as in a manual restore: one table after the other, in the order of pg_dump.
            self._restore("data", 1, lines=last)
        if not loaded:
            with Session(self._incoming) as session:
                compression.end(session, self._compression)
            self._done({"last": True})

    def _extensions(self) -> None:
        """Create the extensions whose version the operator chose, after restoring the schemas that they need."""
        versions = self._parameters["extension_versions"]
        installed = {name: entry["schema"] for name, entry in self._evidence["objects"]["extension"].items()}
        needed = set(extension_versions.schemas(versions, installed).values()) - {"public", "pg_catalog"}
        if needed:
            first = pg_restore.schemas(self._lines, needed)
            rest = [line for line in self._lines if line not in first]
            self._lines = first
            self._restore("pre-data", 1)
            self._lines = rest
        with Session(self._incoming) as session:
            extension_versions.create(session, versions, installed)

    def _last(self) -> list[str]:
        """Remove the lines of tables that are loaded after all others from the list; returns those that are not loaded yet."""
        with Session(self._incoming) as session:
            oids = loading.last(session)
            tables = [table for table in list_tables(session).kept if table.oid in oids]
        entries = {pg_restore.entry_of_rows(table.schema, table.name, table.owner): table for table in tables}
        others, unclear = pg_restore.without(self._lines, set(entries))
        lines = [line for line in self._lines if line not in others]
        self._lines = others
        self._taken = [table for entry, table in entries.items() if entry not in unclear]
        return restore_steps.leave_out_loaded(self._incoming, lines, self._taken)[0]

    def _data(self) -> None:
        sizes = {table["table"]: table["bytes"] for table in self._evidence["tables"]}
        total = sum(sizes.values())
        loaded: set[str] = set()
        if self._resumed:
            with Session(self._incoming) as session:
                taken = {table.oid for table in self._taken}
                tables = [table for table in list_tables(session).kept if table.oid not in taken]
                self._lines, loaded = restore_steps.leave_out_loaded(self._incoming, self._lines, tables)
                restore_steps.empty_extensions(session, self._lines)
        else:
            with Session(self._incoming) as session:
                # Rows that CREATE EXTENSION inserted have the same keys as those of the source.
                restore_steps.empty_extensions(session, self._lines)
        with Session(self._incoming) as session:
            first = restore_steps.rows_of_extensions(session, self._lines)
        if first:
            self._restore("data", 1, lines=first)
            self._lines = [line for line in self._lines if line not in first]
        with Session(self._incoming) as session:
            reports_copies = session.version >= COPY_SINCE
        if reports_copies:
            # The numbers of rows are exact, from the evidence.
            rows = {table["table"]: table["rows"] for table in self._evidence["tables"]}
            one_by_one = self._jobs == 1 or self._evidence["dump"]["format"] == "tar"
            copied = CopyProgress(self._incoming, sizes, rows, one_by_one, loaded)
            self._context.progress.step("data", total, "bytes", probe=copied)
            self._restore("data", self._jobs, copied.listen)
            copied.close()
        else:
            size = DatabaseSize(self._incoming)
            self._context.progress.step("data", total, "bytes", estimated=True, probe=size)
            self._restore("data", self._jobs)
            size.close()
        self._done({"data": True})

    def _large_tables_apart(self) -> Callable[[], None] | None:
        """Remove the lines of large tables from the list. Returns a function that loads their rows; None without large tables."""
        names = large_tables.choose(self._evidence, self._jobs)
        if self._steps.done.get("data"):
            # The earlier attempt has loaded all other tables. Load those that it set apart, even if the number of jobs has changed.
            names = self._steps.done.get("apart") or []
        large = large_tables.find(self._incoming, names, self._lines) if names else {}
        self._steps.mark({"apart": sorted(large)})
        if not large:
            return None
        rows = {line for _table, line in large.values()}
        self._lines = [line for line in self._lines if line not in rows]
        return functools.partial(self._large_tables, large)

    def _large_tables(self, large: dict[str, tuple[Table, str]]) -> None:
        """Load the rows of these tables from the archive. large: by name, the target's table and its line of the list."""
        context = self._context
        expected = {row["table"]: row for row in self._evidence["tables"]}
        context.progress.step("rows", sum(expected[name]["rows"] for name in large), "rows")
        for name, (table, line) in large.items():
            listing = context.work / "rows.list"
            pg_restore.write_list([line], listing)
            command = pg_restore.script_of_rows(self._program, self._archive, listing)

            def unpack(output: BinaryIO, command: list[str] = command) -> None:
                self.harmless += _run_pg_restore(
                    context, self._incoming, "rows", command, Listener(resumed=False), _ignore, self._stop, output
                )

            def on_piece(size: int, rows: int, name: str = name) -> None:
                context.progress.advance(rows, name)
                context.throttle.wait(size, self._stop)

            loaded = large_tables.load(self._incoming, table, self._jobs, unpack, on_piece, self._stop)
            if loaded != expected[name]["rows"]:
                raise MigrationError(
                    f"The archive has {counted(loaded, 'row')} of {name}, and the source had {expected[name]['rows']}. Dump again: "
                    f"{restart.command('dump')}",
                    "rows_differ",
                    table=name,
                )

    def _post_data_and_digests(self) -> None:
        jobs = self._jobs
        indexes = self._evidence["indexes"]
        built = IndexProgress(self._incoming, indexes)
        total = sum(index["bytes"] for index in indexes)
        self._context.progress.step("indexes", total, "bytes", estimated=True, probe=built)
        # The digests take longer than the indexes. They get all workers as soon as the indexes are built.
        indexed = threading.Event()

        def post_data() -> None:
            self._post_data(max(1, jobs - jobs // 2))
            indexed.set()

        try:
            run_together(
                post_data,
                lambda: self._digests(Growing(jobs, max(1, jobs // 2), indexed)),
                self._stop,
                one_by_one=jobs == 1,
            )
        finally:
            built.close()

    def _post_data(self, jobs: int) -> None:
        if not self._steps.done.get("post-data"):
            self._restore("post-data", jobs)
            self._done({"post-data": True})

    def _digests(self, workers: Growing) -> None:
        if self._steps.done.get("digests"):
            return
        with Session(self._incoming) as session:
            tables = list_tables(session).kept
            counts = changes.read_counts(session)
            self._steps.mark({"sequences": sequence_values(session)})
        total = sum(table.table_bytes for table in tables)
        track = self._context.progress.parallel_track("digests", total, "bytes")
        found = digest.digest_tables(
            tables,
            self._evidence["digest_method"],
            workers,
            lambda: Session(self._incoming),
            track.advance,
            self._stop,
            self._evidence["tables"],
        )
        self._steps.mark({"digested_at": utc_now(), "counts": counts})
        self._done({"digests": [table.as_dict() for table in found]})

    def _restore(
        self,
        section: str,
        workers: int,
        on_line: Callable[[str], None] = _ignore,
        lines: list[str] | None = None,
    ) -> None:
        started = time.monotonic()
        listing = self._context.work / f"{section}.list"
        pg_restore.write_list(self._lines if lines is None else lines, listing)
        command = pg_restore.build(self._program, section, self._archive, listing, self._incoming.conninfo(), workers)
        if self._parameters["tablespaces"] == "default":
            command.insert(1, "--no-tablespaces")
        listener = Listener(self._resumed and section == "post-data", self._rules)
        own = self._own_settings(section)
        self.harmless += _run_pg_restore(
            self._context, self._incoming, section, command, listener, on_line, self._stop, own=own
        )
        self.seconds[section] = self.seconds.get(section, 0.0) + time.monotonic() - started

    def _own_settings(self, section: str) -> dict[str, str]:
        """The settings of pg_restore for this section. In pre-data, event triggers may fire: the scripts of extensions may need them."""
        if section == "pre-data":
            return {}
        with Session(self._incoming) as session:
            indexes = compression.for_indexes(session, self._compression) if section == "post-data" else {}
            return {**event_triggers.settings(session), **indexes}

    def _done(self, done: Done) -> None:
        restore_steps.make_durable(self._incoming)
        self._steps.mark(done)


def _run_pg_restore(
    context: JobContext,
    incoming: ConnectionSettings,
    section: str,
    command: list[str],
    listener: Listener,
    on_line: Callable[[str], None],
    stop: threading.Event,
    output: BinaryIO | None = None,
    own: Mapping[str, str] | None = None,
) -> list[Message]:
    """Run pg_restore; returns its harmless messages. own: additional settings of its sessions.

    Raises MigrationError for any other message and for a failed run.
    """

    def listen(line: str) -> None:
        context.log(line)
        listener.line(line)
        on_line(line)

    code = programs.run(command, _environment(context, incoming, own or {}), listen, stop, output)
    listener.flush()
    if stop.is_set():
        raise MigrationError("pg_restore was stopped.", "stopped")
    failures = listener.failures
    if failures:
        more = f" ({counted(len(failures) - 1, 'more message')} in the details)" if len(failures) > 1 else ""
        raise MigrationError(
            f"pg_restore ({section}) reported: {sentence(failures[0])}{more}{then(failures[0])}",
            "pg_restore_failed",
            section=section,
            exit_code=code,
            messages=failures[:20],
        )
    # pg_restore exits with 1 when it continued after errors; at this point all of them were harmless.
    if code not in (0, 1) or (code == 1 and not listener.found):
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise MigrationError(
            f"pg_restore ({section}) {ended} without a message. Check its log in {context.folder / 'log'}, then run again.",
            "pg_restore_failed",
            section=section,
            exit_code=code,
        )
    return listener.found


def _environment(context: JobContext, incoming: ConnectionSettings, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of pg_restore."""
    environment = program_environment(incoming, context.passfile(), session_settings.NOT_FOR_RESTORE)
    parameters = context.given(Parameters)
    own = {
        "maintenance_work_mem": parameters["maintenance_work_mem"],
        "max_parallel_maintenance_workers": parameters["jobs"],
        **loading.SETTINGS,
        **more,
    }
    environment["PGOPTIONS"] += f" {session_settings.as_options(own)}"
    return environment
