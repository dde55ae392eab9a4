# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Unix socket on the target that leads through the gate to the source's PostgreSQL server.

Each connection to the socket has its own ssh process. So several connections use several cores, and a lost one doesn't end the others.
Only this user can enter the socket's folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

from ..common.progress_line import amount
from ..host import processes, programs
from ..postgres.connection import ConnectionSettings
from . import access, forced_command, key, line

PORT = 5432
# A lost connection is noticed after this time.
SILENCE_SECONDS = 90
INSTEAD = "Or set couch2pg_method to archive."
_POLL_SECONDS = 0.2
_WAITING_CONNECTIONS = 64


@contextmanager
def to_source(
    settings: ConnectionSettings,
    job_folder: Path,
    parameters: Mapping[str, Any] | None,
    owner: tuple[int, int] | None = None,
    log: Callable[[str], None] | None = None,
) -> Iterator[ConnectionSettings]:
    """The settings with which this host reaches the source's server: through a tunnel, or as they are without ``parameters``.

    job_folder: the folder of the job that the key was made for. parameters: as for ``access.begin``.
    owner: uid and gid of the user who connects, if it isn't this user.
    log: given by a job, which transfers much data: the line is measured, and ssh compresses if the line is slow.
    Raises MigrationError as ``access.begin``.
    """
    if not parameters:
        yield settings
        return
    configuration = access.begin(key.key_folder(job_folder), parameters, INSTEAD)
    compress = False
    if log is not None:
        rate = line.bytes_per_second(configuration)
        compress = line.is_slow(rate)
        log(
            f"The network link carries {amount(int(rate), 'bytes')} in a second{', so ssh compresses' if compress else ''}."
        )
    folder = _socket_folder(job_folder)
    # For a way through the controller, ``address`` is an address of this host.
    far = str(parameters.get("source_host") or parameters["address"])
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(folder / f".s.PGSQL.{PORT}"))
        if owner is not None and owner[0] != os.geteuid():
            for path in (folder, folder / f".s.PGSQL.{PORT}"):
                os.chown(path, *owner)
        with _Listening(listener, configuration, compress):
            yield replace(settings, host="", unix_socket=str(folder), port=PORT, container="", tunnel=far)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _socket_folder(job_folder: Path) -> Path:
    """A new folder (0700) whose path is short enough for a socket. Folders of killed processes of the same job are removed."""
    mark = hashlib.sha256(os.fsencode(job_folder)).hexdigest()[:8]
    root = Path(tempfile.gettempdir())
    for path in root.glob(f"couch2pg-{mark}-*"):
        process = path.name.split("-")[2]
        if not (process.isdigit() and processes.is_alive(int(process))):
            shutil.rmtree(path, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"couch2pg-{mark}-{os.getpid()}-"))


def parameters(options: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """The parameters of a job for a module's option ``tunnel``."""
    return dict(options, silence=SILENCE_SECONDS) if options else None


class _Listening:
    """Connects each client of the socket to an ssh, until it is closed."""

    def __init__(self, listener: socket.socket, configuration: Path, compress: bool) -> None:
        self._listener = listener
        ssh = programs.locate("ssh", "Install OpenSSH's client on the target.")
        words = ["-o", "Compression=yes"] if compress else []
        self._command = [ssh, "-F", str(configuration), *words, "-T", key.SOURCE, forced_command.CONNECT]
        self._started: list[subprocess.Popen[bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="tunnel", daemon=True)

    def __enter__(self) -> _Listening:
        self._listener.listen(_WAITING_CONNECTIONS)
        self._listener.settimeout(_POLL_SECONDS)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()
        for process in self._started:
            with suppress(ProcessLookupError):
                process.terminate()
            process.wait()

    def _accept(self) -> None:
        while not self._stop.is_set():
            self._started = [process for process in self._started if process.poll() is None]
            try:
                client, _address = self._listener.accept()
            except socket.timeout:
                continue
            with client:
                client.setblocking(True)
                # The core runs without Ansible, so it can't use run_command. ssh outlives this call; its input and output are the
                # client's connection.
                process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                    self._command, stdin=client.fileno(), stdout=client.fileno(), env=programs.environment()
                )
                self._started.append(process)
