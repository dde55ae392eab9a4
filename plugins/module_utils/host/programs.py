# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find external programs, check the versions of PostgreSQL's, and run them without a shell."""

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
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Callable, Generator, Mapping, Sequence

from ..common.errors import MigrationError
from . import container_programs

# The core runs without Ansible, so it can't use run_command.
# pylint: disable=ansible-bad-function

ASK_SECONDS = 60
# A program that streams its output for longer than this without a byte hangs.
SILENCE_SECONDS = 120
# The end of the output of an operator's command is enough to show why it failed.
OUTPUT_BYTES = 4000
# The exit codes of timeout(1) and of a shell.
NOT_ENDED, NOT_RUN = 124, 127
OUTPUT_CHUNK = 1 << 17


@dataclass(frozen=True)
class Answer:
    """The result of a short-lived program: exit code, standard output, standard error."""

    code: int
    output: str
    stderr: str


def ask(
    command: Sequence[str],
    inherit: bool = False,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
    seconds: float = ASK_SECONDS,
) -> Answer:
    """Run ``command`` to its end and return its output, with messages in English and without any ``PG*`` variable.

    inherit: pass on this process's environment; otherwise only ``variables``.
    folder: working directory; None for the current one.
    seconds: raises subprocess.TimeoutExpired after that time.
    """
    given = environment() if inherit else {**(variables or {}), "LC_ALL": "C"}
    words, given = _on_this_host(command, given)
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=given,
        cwd=folder,
        check=False,
        timeout=seconds,
    )
    # Names in an archive may be in any encoding; surrogateescape preserves their bytes.
    output = done.stdout.decode(errors="surrogateescape")
    return Answer(done.returncode, output, done.stderr.decode(errors="replace").strip())


def check_not_killed(path: str, answer: Answer) -> None:
    """Raise MigrationError ``program_killed`` when the program was killed before it answered."""
    if answer.code < 0:
        raise MigrationError(
            f"{path} was killed by signal {-answer.code}, by somebody or because memory ran out (see journalctl -k). Run again.",
            "program_killed",
        )


def call(command: Sequence[str], seconds: float) -> tuple[int, list[str]]:
    """Run an operator's own command; returns its exit code and the last lines of its output and errors.

    The code is ``NOT_RUN`` when the command can't be run, ``NOT_ENDED`` when it takes longer than ``seconds``.
    """
    # A file instead of a pipe: a process that the command leaves running would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(),
                check=False,
                timeout=seconds,
            )
        except OSError as error:
            return NOT_RUN, [f"it can't be run: {error.strerror}"]
        except subprocess.TimeoutExpired:
            return NOT_ENDED, [f"it had not ended after {seconds:.0f} s"]
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - OUTPUT_BYTES))
        return done.returncode, output.read().decode(errors="replace").splitlines()


def environment() -> dict[str, str]:
    """This process's environment (home, proxies, Docker's address) without ``PG*``, and with messages in English."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PG")}, "LC_ALL": "C"}


def _on_this_host(command: Sequence[str], variables: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command and its environment; where the program is in a container image, the command of Docker that runs it."""
    if not container_programs.is_one(command[0]):
        return list(command), dict(variables)
    docker = locate_docker("Install Docker's command line for this user, or set couch2pg_bin_dir to a folder.")
    if container_programs.JOB in os.environ:
        variables = {**variables, container_programs.JOB: os.environ[container_programs.JOB]}
    return container_programs.command(docker, command, variables, _is_rootless(docker)), {**environment(), **variables}


@lru_cache(maxsize=None)
def _is_rootless(docker: str) -> bool:
    """Whether the engine runs without root's rights, as this user."""
    if os.geteuid() == 0:
        return False
    described = ask([docker, "info", "--format={{json .}}"], inherit=True).output.replace(" ", "")
    return "name=rootless" in described or '"rootless":true' in described


def locate(name: str, remedy: str) -> str:
    """The path of the program ``name``. Raises MigrationError ``program_missing``, which ends with ``remedy``."""
    # The PATH of an Ansible connection often lacks these folders.
    path = shutil.which(name) or shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
    if path is None:
        raise MigrationError(f"{name} was not found on this host. {remedy}", "program_missing", program=name)
    return path


def locate_docker(remedy: str) -> str:
    """The path of Docker's command line; without it, of Podman's, which has the same commands and output.

    Raises MigrationError ``program_missing``, which ends with ``remedy``.
    """
    with suppress(MigrationError):
        return locate("docker", remedy)
    with suppress(MigrationError):
        return locate("podman", remedy)
    return locate("docker", remedy)


class Output:
    """Iterate over the output of a program in chunks while it runs. Leaving the iteration ends the program.

    code, stderr: exit code and standard error, set after the iteration.
    merged: include standard error in the output.
    silence: raises MigrationError ``program_hangs`` after that many seconds without output.
    """

    def __init__(self, command: Sequence[str], merged: bool = False, silence: float = SILENCE_SECONDS) -> None:
        self._command = list(command)
        self._merged = merged
        self._silence = silence
        self.code = 0
        self.stderr = ""

    def __iter__(self) -> Generator[bytes, None, None]:
        with ExitStack() as stack:
            # A file instead of a second pipe, which would fill up while only the first one is read.
            errors = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                self._command,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if self._merged else errors,
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
            errors.seek(0)
            self.stderr = errors.read(2000).decode(errors="replace").strip()

    def _wait_for(self, descriptor: int) -> bool:
        if select.select([descriptor], [], [], self._silence)[0]:
            return True
        raise MigrationError(
            f"{self._command[0]} printed nothing for {self._silence:.0f} s and was ended. Check whether its service hangs, "
            "then run again.",
            "program_hangs",
            program=self._command[0],
        )


@dataclass(frozen=True)
class Program:
    """A client program and its major version. ``path``: on this host, or ``docker://IMAGE/PROGRAM``."""

    path: str
    major: int


def find(name: str, bin_dir: str = "") -> Program:
    """PostgreSQL's program ``name`` in ``bin_dir`` (a folder, or ``docker://IMAGE``), or on PATH.

    Raises MigrationError ``program_missing`` when the program doesn't exist or doesn't print its version, and ``program_killed``.
    """
    in_image = container_programs.is_one(bin_dir)
    path = f"{bin_dir}/{name}" if in_image else shutil.which(name, path=bin_dir or None)
    where = f"in {bin_dir}" if bin_dir else "on this host's PATH"
    remedy = (
        "Install PostgreSQL's client programs (Debian: postgresql-client), or set couch2pg_bin_dir to their folder."
    )
    if in_image:
        remedy = "Set couch2pg_bin_dir to docker://IMAGE with an image of PostgreSQL, or to a folder on this host."
    if path is None:
        raise MigrationError(f"{name} was not found {where}. {remedy}", "program_missing", program=name)
    try:
        answer = ask([path, "--version"])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MigrationError(f"{path} can't be run: {error}. {remedy}", "program_missing", program=name) from error
    check_not_killed(path, answer)
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.output)
    if version is None:
        raise MigrationError(
            f"{path} doesn't print its version: {answer.output.strip() or answer.stderr}. {remedy}", "program_missing"
        )
    return Program(path, int(version.group(1)))


def major(server_version: int) -> int:
    """The major version of a ``server_version_num`` (160014 is 16; 90624 is 9)."""
    return server_version // 10000


def check_pg_dump(program: Program, server_version: int) -> None:
    """Raise MigrationError ``program_too_old`` when this pg_dump is older than the server (a ``server_version_num``)."""
    if program.major < major(server_version):
        raise MigrationError(
            f"{program.path} is version {program.major}, older than the server ({major(server_version)}), and would "
            f"refuse to dump it. {_installing(major(server_version))}",
            "program_too_old",
            program=program.path,
        )


def _installing(wanted: int) -> str:
    return (
        f"Install postgresql-client-{wanted} or newer (ansible-playbook cht.couch2pg.prepare -i inventory.yml -e "
        f"couch2pg_client_major={wanted}), "
        "or set couch2pg_bin_dir to the folder of newer programs."
    )


def check_pg_restore(program: Program, pg_dump_major: int) -> None:
    """Raise MigrationError ``program_too_old`` when this pg_restore is older than the pg_dump that writes the archive."""
    if program.major < pg_dump_major:
        raise MigrationError(
            f"{program.path} is version {program.major}, older than the pg_dump that writes the archive "
            f"({pg_dump_major}), and may refuse to read it. {_installing(pg_dump_major)}",
            "program_too_old",
            program=program.path,
        )


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    stop: threading.Event | None = None,
    output: Path | BinaryIO | None = None,
    through: Sequence[str] | None = None,
) -> int:
    """Run ``command``, pass every line of its standard error to ``on_line``, and return its exit code.

    output: a new file for standard output, or an open one; None to discard it.
    through: a filter command between the program and ``output``; when the filter fails, its exit code is returned.
    stop: an event that ends the processes early. They always end before this function returns or raises.
    """
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        target = stack.enter_context(output.open("xb")) if isinstance(output, Path) else output
        stack.callback(_end, processes)
        words, variables = _on_this_host(command, environment)
        processes.append(
            subprocess.Popen(
                words,
                env=variables,
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
        # The filter's code first: when the filter fails, the program before it fails only as a consequence.
        return next((process.returncode for process in reversed(processes) if process.returncode), 0)


def _wait_briefly(process: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.1)


def _read(process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> None:
    if process.stderr is None:
        raise AssertionError("a program's messages are read from a pipe")
    with process.stderr:
        for line in process.stderr:
            on_line(line.decode("utf-8", errors="replace").rstrip("\n"))


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
            # A process stopped by SIGSTOP (for a rate limit) must continue to handle the signal.
            process.send_signal(signal.SIGCONT)
    for process in processes:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
