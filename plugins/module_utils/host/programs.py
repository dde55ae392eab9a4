# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's programs: where they are, how old PostgreSQL's are, and running them without a shell."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Mapping, Sequence

from ..common.errors import MigrationError

# The core runs without Ansible, so that there is no run_command to call.
# pylint: disable=ansible-bad-function

ASK_SECONDS = 60
# A program that streams says nothing for so long only when it hangs.
SILENCE_SECONDS = 120
# The end of what an operator's command says is enough to see why it failed.
SAID_BYTES = 4000
# As a shell has it.
NOT_ENDED, NOT_RUN = 124, 127
OUTPUT_CHUNK = 1 << 17


@dataclass(frozen=True)
class Answer:
    """What a short-lived program answered: its exit code, its output and what it said beside it."""

    code: int
    output: str
    said: str


def ask(
    command: Sequence[str],
    inherit: bool = False,
    folder: Path | None = None,
    given: Mapping[str, str] | None = None,
    seconds: float = ASK_SECONDS,
) -> Answer:
    """Run ``command`` to its end, within a minute, with messages in English and without any ``PG*`` variable.

    With ``inherit`` it gets the rest of our environment, with ``given`` that; without ``folder`` it runs where we are.
    """
    variables = environment() if inherit else {**(given or {}), "LC_ALL": "C"}
    done = subprocess.run(
        list(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=variables,
        cwd=folder,
        check=False,
        timeout=seconds,
    )
    # Names in an archive may be in any encoding; they are handed on byte for byte.
    output = done.stdout.decode(errors="surrogateescape")
    return Answer(done.returncode, output, done.stderr.decode(errors="replace").strip())


def call(command: Sequence[str], seconds: float) -> tuple[int, list[str]]:
    """Run an operator's own command: its exit code, and the lines that it said.

    One that can't be run, or that doesn't end in time, has the code ``NOT_RUN`` or ``NOT_ENDED``.
    """
    # A file: what such a command leaves running would keep a pipe open.
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment(),
                check=False,
                timeout=seconds,
            )
        except OSError as error:
            return NOT_RUN, [f"it can't be run: {error.strerror}"]
        except subprocess.TimeoutExpired:
            return NOT_ENDED, [f"it had not ended after {seconds:.0f} s"]
        size = said.seek(0, os.SEEK_END)
        said.seek(max(0, size - SAID_BYTES))
        return done.returncode, said.read().decode(errors="replace").splitlines()


def environment() -> dict[str, str]:
    """Our own environment (home, proxies, where a daemon is), with messages in English and without any ``PG*``."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PG")}, "LC_ALL": "C"}


def locate(name: str, remedy: str) -> str:
    """The path of the program ``name``. Raises MigrationError ``program_missing``, with ``remedy``, when it isn't there."""
    # An Ansible connection's PATH often lacks these.
    path = shutil.which(name) or shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
    if path is None:
        raise MigrationError(f"{name} was not found on this host. {remedy}", "program_missing", program=name)
    return path


class Output:
    """What a program writes, in chunks while it runs. ``code`` and ``said`` are known when the iteration is over.

    With ``merged``, what it says beside its output is a part of that. It ends with the iteration, whatever happens.
    Raises MigrationError ``program_hangs`` when it is silent for too long.
    """

    def __init__(self, command: Sequence[str], merged: bool = False, silence: float = SILENCE_SECONDS) -> None:
        self._command = list(command)
        self._merged = merged
        self._silence = silence
        self.code = 0
        self.said = ""

    def __iter__(self) -> Iterator[bytes]:
        with ExitStack() as stack:
            # A file: nobody reads a second pipe while the first one is read.
            beside = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                self._command,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if self._merged else beside,
            )
            stack.callback(_end, [process])
            if process.stdout is None:
                raise AssertionError("there is a pipe")
            output = stack.enter_context(process.stdout)
            while self._wait_for(output.fileno()):
                chunk = os.read(output.fileno(), OUTPUT_CHUNK)
                if not chunk:
                    break
                yield chunk
            self.code = process.wait()
            beside.seek(0)
            self.said = beside.read(2000).decode(errors="replace").strip()

    def _wait_for(self, descriptor: int) -> bool:
        if select.select([descriptor], [], [], self._silence)[0]:
            return True
        raise MigrationError(
            f"{self._command[0]} has said nothing for {self._silence:.0f} s and was ended. See whether its service hangs, "
            "then run again.",
            "program_hangs",
            program=self._command[0],
        )


@dataclass(frozen=True)
class Program:
    """An installed client program and its major version."""

    path: str
    major: int


def find(name: str, bin_dir: str = "") -> Program:
    """The program ``name`` in ``bin_dir`` (or on PATH).

    Raises MigrationError ``program_missing`` when it isn't there or doesn't tell its version.
    """
    path = shutil.which(name, path=bin_dir or None)
    where = f"in {bin_dir}" if bin_dir else "on this host's PATH"
    remedy = "Install PostgreSQL's client programs (Debian: postgresql-client), or set bin_dir to their folder."
    if path is None:
        raise MigrationError(f"{name} was not found {where}. {remedy}", "program_missing", program=name)
    try:
        answer = ask([path, "--version"])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MigrationError(f"{path} can't be run: {error}. {remedy}", "program_missing", program=name) from error
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.output)
    if version is None:
        raise MigrationError(
            f"{path} doesn't tell its version: {answer.output.strip() or answer.said}. {remedy}", "program_missing"
        )
    return Program(path, int(version.group(1)))


def major(server_version: int) -> int:
    """The major version of a ``server_version_num`` (160014 is 16; 90624 is 9)."""
    return server_version // 10000


def check_pg_dump(program: Program, server_version: int) -> None:
    """Raise MigrationError ``program_too_old`` when this pg_dump refuses such a server."""
    if program.major < major(server_version):
        raise MigrationError(
            f"{program.path} is version {program.major}, older than the server ({major(server_version)}), and would "
            f"refuse to dump it. Install postgresql-client-{major(server_version)} or newer, or set bin_dir.",
            "program_too_old",
            program=program.path,
        )


def check_pg_restore(program: Program, pg_dump_major: int) -> None:
    """Raise MigrationError ``program_too_old`` when this pg_restore may not read such an archive."""
    if program.major < pg_dump_major:
        raise MigrationError(
            f"{program.path} is version {program.major}, older than the pg_dump that writes the archive "
            f"({pg_dump_major}), and may refuse to read it. Install postgresql-client-{pg_dump_major} or newer, or set bin_dir.",
            "program_too_old",
            program=program.path,
        )


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    stop: threading.Event | None = None,
    output: Path | None = None,
    through: Sequence[str] | None = None,
) -> int:
    """Run ``command``, hand every line of its standard error to ``on_line``, and return its exit code.

    With ``output``, its standard output goes into that new file, through the filter ``through`` when given (a
    failed filter gives its own exit code). The processes end with this call, whatever happens; ``stop`` ends them early.
    """
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        target = stack.enter_context(output.open("xb")) if output else None
        stack.callback(_end, processes)
        processes.append(
            subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if through else target or subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        )
        if through:
            source = processes[0].stdout
            if source is None:
                raise AssertionError("a filter needs the output of the program before it")
            processes.append(
                subprocess.Popen(
                    list(through), env=dict(environment), stdin=source, stdout=target, stderr=subprocess.PIPE
                )
            )
            source.close()
        readers = [threading.Thread(target=_read, args=(process, on_line), daemon=True) for process in processes]
        for reader in readers:
            reader.start()
        while any(process.poll() is None for process in processes):
            if stop is not None and stop.wait(0.1):
                break
            for process in processes:
                _wait_briefly(process)
        if stop is not None and stop.is_set():
            _end(processes)
        for reader in readers:
            reader.join()
        # The filter first: a program that loses its reader only fails because the filter did.
        return next((process.returncode for process in reversed(processes) if process.returncode), 0)


def _wait_briefly(process: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.1)


def _read(process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> None:
    for line in process.stderr or ():
        on_line(line.decode("utf-8", errors="replace").rstrip("\n"))


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
            # One that was halted, for a limit of its rate, must go on to end.
            process.send_signal(signal.SIGCONT)
    for process in processes:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
