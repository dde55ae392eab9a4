# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method physical: a base backup of the whole server, recovered to a point that shows what the evidence's snapshot shows.

The evidence is the same as in every method, in the same kind of folder; refresh and verify run against a private server on the copy.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Mapping

from ..archive import layout
from ..archive.identity import manifest_sha256
from ..archive.partial import start_empty, take_back
from ..common.clock import utc_now
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..dump import job as dump_job
from ..evidence import document as evidence_document
from ..gate import access, key, tunnel
from ..host import processes, programs
from ..host.files import expand, fsync_path, moving_away, read_json, remove_tree
from ..host.programs import Program
from ..jobs import lock_notes
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..jobs.limits import Limits
from ..postgres import public_schema
from ..postgres.connection import ConnectionSettings
from ..postgres.database import current_oid
from ..postgres.session import Session, server_identity
from ..record.promoted import PROMOTED
from ..restore.job import bytes_of_matviews
from ..restore.steps import RestoreSteps
from . import (
    backup,
    collation,
    compression,
    evidence,
    indexes,
    placement,
    private_server,
    recovery,
    replication,
    server_programs,
    upgrade,
    upgrade_obstacles,
    wal,
)
from .conditions_of_source import check_rights, check_source
from .folders import SOURCE_FILES, Folders, Owner, Steps
from .moment import Moment, Point
from .parameters import Fingerprint, Known, Options, Parameters, Result, Source

VERIFIES_SINCE = 130000


def examine(settings: ConnectionSettings, source: ConnectionSettings, options: Options) -> Known:
    """Everything that can be checked before the backup starts. Raises MigrationError for what would make it fail."""
    if source.container:
        raise MigrationError(
            f"The source's server runs in the container {source.container}, and the method physical copies the files of a server on the "
            "host. Use couch2pg_method: stream.",
            "container",
        )
    with Session(settings.maintenance) as session:
        data = placement.data_directory(session)
        identity, target_major = server_identity(session), programs.major(session.version)
    from_source = dump_job.examine(source, options["bin_dir"], "directory", "none", options["digest_method"])
    with Session(source) as session:
        check_source(session)
        check_rights(session)
        replication.check(source)
        source_version, source_major = session.version, programs.major(session.version)
        known: Source = {
            **from_source,
            "settings": private_server.source_settings(session),
            "collations": collation.of_source(session),
            "major": source_major,
            "version": source_version,
        }
        obstacles = upgrade_obstacles.find(session) if source_major < target_major else upgrade_obstacles.NOTHING
        compression.check(options["compression"], compression.of_server(session))
    with Session(settings.maintenance) as session:
        upgrade_obstacles.check(session, obstacles, source_major, target_major)
    running = server_programs.of_data_directory(data)
    source_bin = str(server_programs.server_folder(source_major, options["server_bin_dir"], [running]))
    target_bin = str(server_programs.server_folder(target_major, "", [running]))
    upgrades = source_major != target_major
    server_programs.check_complete(
        Path(source_bin), server_programs.UPGRADE_FROM if upgrades else ("pg_ctl",), source_major
    )
    if upgrades:
        server_programs.check_complete(Path(target_bin), server_programs.UPGRADE_TO, target_major)
    clients = [
        server_programs.client(name, source_bin, options["bin_dir"], target_bin, source_major)
        for name in (server_programs.BACKUP, server_programs.RECEIVE, server_programs.VERIFY)
        if name != server_programs.VERIFY or source_version >= VERIFIES_SINCE
    ]
    compression.check_unpacking(options["compression"], Path(clients[0].path).parent, data)
    return {
        "identity": identity,
        "source": known,
        "data": str(data),
        "source_bin": source_bin,
        "target_bin": target_bin,
        "target_major": target_major,
    }


def job_spec(
    settings: ConnectionSettings,
    source: ConnectionSettings,
    options: Options,
    known: Known,
    limits: Limits,
) -> JobSpec:
    """The job for the module's ``options``, given what ``examine`` returned.

    Its kind is ``restore``, because later phases ask that job for the restored database, whatever the method.
    """
    fingerprint: Fingerprint = {
        "method": "physical",
        "server_identity": known["identity"],
        "database": source.database,
        "source_identity": known["source"]["identity"],
        "data": known["data"],
    }
    parameters: Parameters = {
        **fingerprint,
        "migration_id": options["migration_id"],
        "state_dir": str(expand(options["state_dir"])),
        "archive": str(expand(options["archive"])),
        "connection": settings.public(),
        "source": source.public(),
        "from_source": known["source"],
        "source_bin": known["source_bin"],
        "target_bin": known["target_bin"],
        "target_major": known["target_major"],
        "bin_dir": options["bin_dir"],
        "jobs": max(1, options["jobs"]),
        "lock_seconds": options["lock_seconds"],
        "compression": options["compression"],
        "collations": options["collations"],
        "digest_method": known["source"]["digest_method"],
        "tunnel": tunnel.parameters(options["tunnel"]),
    }
    secrets = {"login_password": settings.password or "", "source_password": source.password or ""}
    return JobSpec("restore", run, parameters, fingerprint, secrets, initial_limits=limits)


def still_valid(state: Path, result: Mapping[str, Any]) -> bool:
    """Whether the copy of an earlier attempt is there, with the server on it running, or was promoted.

    state: the migration's folder.
    """
    folders = Folders(Path(result["data_directory"]))
    if not folders.incoming.exists():
        return (state / PROMOTED).exists()
    login = result["login"]
    socket = Path(login["login_unix_socket"]) / f".s.PGSQL.{login['login_port']}"
    return socket.exists() and private_server.runs_on(folders.incoming)


def run(context: JobContext) -> Result:
    """Make the copy; the work of the job. Raises MigrationError; the target's own server is not touched.

    An interrupted backup starts from the beginning. Later steps are resumed.
    """
    parameters = context.given(Parameters)
    source = ConnectionSettings.restored(parameters["source"], context.secrets.get("source_password"))
    owner = Owner.of(Path(parameters["data"]))
    try:
        with tunnel.to_source(
            source, context.folder, parameters["tunnel"], (owner.uid, owner.gid), context.log
        ) as reached:
            return _Copy(context, reached, owner).run()
    finally:
        access.end(key.key_folder(context.folder))


class _Copy:
    def __init__(self, context: JobContext, source: ConnectionSettings, owner: Owner) -> None:
        parameters = context.given(Parameters)
        self._context, self._parameters = context, parameters
        self._source, self._owner = source, owner
        data = Path(parameters["data"])
        self._folders = Folders.beside(data, parameters["migration_id"])
        self._facts = parameters["from_source"]
        self._final = expand(parameters["archive"])
        self._partial = layout.partial_folder(self._final)
        self._same_major = self._facts["major"] == parameters["target_major"]
        self._seconds: dict[str, float] = {}
        self._steps: Steps
        self._socket: Path

    def run(self) -> Result:
        """The result of the job."""
        started = time.monotonic()
        self._owner.folder(self._folders.work)
        self._steps = Steps(
            self._folders,
            {
                "migration_id": self._parameters["migration_id"],
                "source_identity": self._parameters["source_identity"],
                "database": self._parameters["database"],
            },
        )
        self._check_there()
        self._socket = self._folders.make_socket_folder(self._steps, self._owner)
        server = self._server(self._data, self._parameters["source_bin"])
        finished = False
        final = server if self._same_major else self._server(self._folders.incoming, self._parameters["target_bin"])
        try:
            if not self._steps.done.get("final"):
                self._copy(server)
                if not self._same_major:
                    self._upgrade(server, final)
                upgraded_from = None if self._same_major else self._facts["major"]
                self._seconds.update(
                    indexes.settle(self._context, final, self._steps, self._facts["collations"], upgraded_from)
                )
                self._steps.mark({"final": True})
            result = self._serve(final, started)
            finished = True
        finally:
            if not finished:
                server.end()
                final.end()
        return result

    def _check_there(self) -> None:
        """Start from the beginning if the copy of an earlier attempt was removed."""
        done = self._steps.done.get("upgraded") or self._same_major
        there = self._folders.incoming if done else self._data
        if self._steps.done.get("backup") and not there.exists():
            self._context.log(f"{there} is gone, so the backup begins again.")
            self._steps.forget()

    @property
    def _data(self) -> Path:
        """Where the copy of the source's major version is made."""
        return self._folders.incoming if self._same_major else self._folders.old

    def _server(self, data: Path, bin_dir: str) -> private_server.PrivateServer:
        return private_server.PrivateServer(
            Path(bin_dir), data, self._folders, self._socket, self._owner, self._facts["settings"]
        )

    def _copy(self, server: private_server.PrivateServer) -> None:
        steps = self._steps
        self._context.progress.plan(6)
        if not steps.done.get("point"):
            self._check_free()
            if not steps.done.get("backup"):
                self._backup()
            self._evidence()
        if not self._final.exists():
            self._partial.rename(self._final)
            fsync_path(self._final.parent)
        if not steps.done.get("recovered"):
            self._recover(server)

    def _check_free(self) -> None:
        """Remove the evidence of an earlier copy of this migration, because that copy is gone. Refuse any other folder."""
        if not self._final.exists():
            return
        document = read_json(self._final / layout.EVIDENCE)
        if not isinstance(document, dict) or (
            document.get("migration_id"),
            document.get("server", {}).get("identity"),
            document.get("dump", {}).get("method"),
        ) != (self._parameters["migration_id"], self._parameters["source_identity"], "physical"):
            raise MigrationError(
                f"{self._final} is not the folder of this copy's evidence. {moving_away(self._final)}",
                "archive_exists",
                path=str(self._final),
            )
        take_back(self._final)

    def _backup(self) -> None:
        context, started = self._context, time.monotonic()
        if self._data.exists():
            self._begins_again("backup")
        self._steps.mark({"begun": True})
        remove_tree(self._folders.wal)
        # Left by an earlier copy. As long as it exists, ``configure`` doesn't keep the postgresql.auto.conf of this copy.
        (self._folders.work / private_server.SETTINGS_OF_SOURCE).unlink(missing_ok=True)
        program = self._client(server_programs.BACKUP)
        with Session(self._source) as session:
            total = backup.expected_bytes(session)
        progress = backup.BackupProgress(self._source, self._data)
        context.progress.step("backup", total, "bytes", estimated=True, probe=progress)
        try:
            with backup.replication_environment(
                self._source, self._owner, self._folders.work
            ) as environment, context.throttle.pacing("pg_basebackup", progress.done):
                end = backup.take(
                    program,
                    self._source,
                    self._data,
                    self._owner,
                    environment,
                    context.log,
                    self._parameters["compression"],
                )
        finally:
            progress.close()
            # When pg_basebackup is killed, its child process that receives WAL keeps running.
            mine = processes.of_job(context.folder)
            processes.kill_all([process for process in mine if processes.name(process) == "pg_basebackup"])
        with Session(self._source) as session:
            first = wal.file_of(session, end)
        self._steps.mark({"backup": {"end": end, "first": first, "at": utc_now()}})
        self._seconds["backup"] = time.monotonic() - started

    def _begins_again(self, what: str) -> None:
        """Report that work which can't be resumed starts from the beginning."""
        again = f"an earlier {what} was interrupted, so it begins again"
        self._context.log(f"Restarted: {again}.")
        self._context.progress.note("restarted", lambda: f"restarted: {again}")

    def _client(self, name: str) -> Program:
        parameters = self._parameters
        folders = (parameters["source_bin"], parameters["bin_dir"], parameters["target_bin"])
        return server_programs.client(name, *folders, self._facts["major"])

    def _evidence(self) -> None:
        """Take the moment, receive the WAL before it, digest the source as it was then, and check the backup's files."""
        context, started = self._context, time.monotonic()
        receiver_program = self._client(server_programs.RECEIVE)
        wal.prepare(self._folders.wal, self._owner, self._steps.done["backup"]["first"])
        start_empty(self._partial)
        name = f"cht_couch2pg_{int(time.time())}"
        context.progress.step("moment")
        with backup.replication_environment(self._source, self._owner, self._folders.work) as environment:
            receiver = wal.Receiver(
                receiver_program, self._source, self._folders.wal, self._owner, environment, context.log
            )
            with lock_notes.shown(context.progress, self._source), receiver, Moment.take(
                self._source, name, self._parameters["lock_seconds"], waiting=self._waiting
            ) as moment:
                context.progress.note("moment", None)
                context.log(f"Restore point {moment.point.name} at {moment.point.lsn}, attempt {moment.attempts}.")
                document = evidence.begin(moment, self._parameters["migration_id"], self._facts["pg_dump_major"])
                try:
                    receiver.finish(moment.point.lsn)
                except MigrationError as error:
                    if error.code == "wal_lost":
                        self._steps.forget()
                    raise
                evidence.archive_schema(context, self._source, moment, self._partial)
                self._seconds["digests"] = evidence.add_digests(
                    context, self._source, moment, document, self._verify_backup
                )
                moment.snapshot.check_alive()
                values = evidence_document.sequence_values(moment.snapshot.session)
                evidence_document.add_sequences_after(document, evidence.ahead(values))
        document["dump"]["seconds"] = round(time.monotonic() - started, 1)
        evidence.finish(self._partial, document, self._parameters["jobs"])
        self._steps.mark({"point": moment.point.as_dict()})
        self._seconds["evidence"] = time.monotonic() - started

    def _waiting(self, attempts: int) -> None:
        self._context.progress.note(
            "moment", lambda: f"waits for a moment without a write on the source, attempt {attempts}"
        )

    def _verify_backup(self, stop: threading.Event) -> None:
        if self._steps.done.get("verified") or self._facts["version"] < VERIFIES_SINCE:
            return
        program = self._client(server_programs.VERIFY)
        try:
            backup.verify(program, self._data, self._owner, self._context.log, stop)
        except MigrationError as error:
            if error.code == "backup_damaged":
                self._steps.forget()
            raise
        self._steps.mark({"verified": True})

    def _recover(self, server: private_server.PrivateServer) -> None:
        context, started = self._context, time.monotonic()
        point = Point(**self._steps.done["point"])
        context.progress.step("recovery")
        if not self._steps.done.get("armed"):
            server.end()
            self._folders.log.unlink(missing_ok=True)
            # The source may be a copy itself. Then this folder is from the migration that made it.
            remove_tree(self._data / SOURCE_FILES)
            wal.complete(self._folders.wal)
            more = recovery.arm(self._data, self._facts["major"], self._folders.wal, point, self._owner)
            server.configure(more)
            self._steps.mark({"armed": True})
        recovery.run(server, point)
        with Session(server.connection("postgres")) as session:
            self._steps.mark({"recovered": upgrade.cluster_properties(session)})
        self._seconds["recovery"] = time.monotonic() - started

    def _upgrade(self, old: private_server.PrivateServer, new: private_server.PrivateServer) -> None:
        context, parameters, started = self._context, self._parameters, time.monotonic()
        major, jobs = parameters["target_major"], parameters["jobs"]
        context.progress.plan(4)
        context.progress.step("upgrade")
        superuser = self._facts["settings"]["superuser"]
        if not self._steps.done.get("upgraded"):
            # A server that was killed must recover before pg_upgrade accepts its data directory.
            if (self._data / "postmaster.pid").exists() and not old.running:
                old.start()
                old.wait()
            old.stop()
            properties = self._steps.done["recovered"]
            upgrade.upgrade(old, new, properties, superuser, major, self._folders, self._owner, jobs, context.log)
            self._steps.mark({"upgraded": True})
        context.progress.step("analyze")
        new.ready()
        document: Evidence = read_json(self._final / layout.EVIDENCE)
        if not document.get("public_has_comment", True):
            with Session(new.connection(parameters["database"])) as session:
                public_schema.drop_comment(session)
        if not self._steps.done.get("analyzed"):
            # From PostgreSQL 18 on, vacuumdb analyses only tables without statistics, so it doesn't repeat work.
            if self._steps.done.get("analysis begun") and major < upgrade.KEEPS_STATISTICS_SINCE:
                self._begins_again("analysis of the tables")
            self._steps.mark({"analysis begun": True})
            upgrade.analyze(new, major, self._owner, self._folders, jobs, context.log)
            self._steps.mark({"analyzed": True})
        remove_tree(self._data)
        self._seconds["upgrade"] = time.monotonic() - started

    def _serve(self, server: private_server.PrivateServer, started: float) -> Result:
        """Start the server on the finished copy; returns the result of the job, which has ``started``."""
        if not server.running:
            server.ready()
        state = expand(self._parameters["state_dir"]) / self._parameters["migration_id"]
        database = self._parameters["database"]
        document: Evidence = read_json(self._final / layout.EVIDENCE)
        with Session(server.connection(database)) as session:
            identity, oid = server_identity(session), current_oid(session)
            version = session.version
            sequences = evidence_document.sequence_values(session)
        sha256 = manifest_sha256(self._final)
        # Refresh reads these steps to find what it needn't repeat: the views of the copy are populated already.
        restored = RestoreSteps(state, identity, str(sha256))
        if restored.oid != oid:
            restored.start(oid)
            restored.mark({"sequences": sequences, "matviews": bytes_of_matviews(document)})
        archive = dump_job.describe_archive(self._final)
        return {
            "data_directory": str(self._folders.incoming),
            "work_folder": str(self._folders.work),
            "login": server.describe(),
            "restore_point": self._steps.done["point"],
            "reindexed": self._steps.done.get("reindexed", []),
            "incoming": database,
            "database": database,
            "oid": oid,
            "server_identity": identity,
            "server_version": version,
            "manifest_sha256": sha256,
            "archive": str(self._final),
            "dump": archive,
            "created_roles": [],
            "moved_roles": {},
            "settings_left_out": [],
            "tables": [],
            "rows": archive["rows"],
            "seconds": round(time.monotonic() - started, 1),
            "section_seconds": {name: round(value, 1) for name, value in self._seconds.items()},
        }
