# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker daemon for the tests: the machine's own where one answers, else one of this checkout's.

Ours needs no firewall rules and has no bridge of its own, so that it disturbs nothing on the machine. It runs for as
long as somebody here uses it: the last to leave stops it, with all that it ran. What was built stays in ``.cache``.

    python -m support.docker_engine COMMAND...    # run a command that finds Docker in its environment
    python -m support.docker_engine               # stop a daemon that was left behind by a process that was killed
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Iterator

from .places import CACHE, ROOT, SupportError

INSTALLER = (ROOT / "tests" / "tools" / "system", "hosts")
# Socket paths are short, and those of a checkout may not be.
RUN = Path("/run") / f"cht-couch2pg-{hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:12]}"
SOCKET = RUN / "docker.sock"
PID_FILE = RUN / "dockerd.pid"
DATA = CACHE / "docker"
START_SECONDS = 60
PID_SECONDS = 5
STOP_SECONDS = 60
# Where Debian and Ubuntu have them; the package's come first, a client elsewhere may not fit the daemon.
PROGRAM_PATH = os.pathsep.join(("/usr/bin", "/usr/sbin", os.environ.get("PATH", "")))


class Engine:
    """How to talk to the daemon; ``ours`` says that it was started here."""

    def __init__(self, program: str, environment: dict[str, str], ours: bool) -> None:
        self.program = program
        self.environment = environment
        self.ours = ours

    def run(self, *arguments: str, stdin: bytes | IO[bytes] | None = None, seconds: float = 600) -> str:
        """One command of the client; what it printed. Raises ``SupportError`` with what it said when it fails."""
        given = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin or subprocess.DEVNULL}
        done = subprocess.run(
            [self.program, *arguments],
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=seconds,
            **given,  # type: ignore[call-overload]
        )
        if done.returncode:
            # What a build did is in the one, that it failed in the other.
            said = (done.stdout[-2000:] + b"\n" + done.stderr).decode(errors="replace").strip()
            raise SupportError(f"docker {' '.join(arguments[:2])} failed: {said[-4000:]}")
        text: str = done.stdout.decode(errors="replace").strip()
        return text


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """A daemon that answers, for as long as the block lasts. Raises ``SupportError`` where there can be none."""
    program = shutil.which("docker", path=PROGRAM_PATH)
    if program and _answers(program, os.environ):
        # Ours, where a command that was started below asks: who started it holds the lock.
        yield Engine(program, dict(os.environ), ours=os.environ.get("DOCKER_HOST") == f"unix://{SOCKET}")
        return
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "docker.lock").open("w", encoding="utf-8") as users, (CACHE / "docker-start.lock").open("w") as gate:
        with _held(gate):
            fcntl.flock(users, fcntl.LOCK_SH)
            started = _start()
        try:
            yield started
        finally:
            with _held(gate):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # Somebody else's test still needs it, and will stop it.
                    fcntl.flock(users, fcntl.LOCK_UN)
                else:
                    stop()


def stop() -> None:
    """Stop our daemon and everything that it runs; nothing if it doesn't run."""
    process = _daemon()
    if process is not None:
        started = Engine(_program("docker"), _environment(), ours=True)
        with contextlib.suppress(SupportError, subprocess.TimeoutExpired):
            containers = started.run("ps", "--all", "--quiet", seconds=30).split()
            if containers:
                started.run("rm", "--force", "--volumes", *containers, seconds=120)
            started.run("network", "prune", "--force", seconds=30)
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while _daemon() is not None:
            if time.monotonic() > deadline:
                raise SupportError(f"dockerd (process {process}) doesn't end: see {CACHE / 'dockerd.log'}")
            time.sleep(0.1)
    _unmount()
    if RUN.exists():
        shutil.rmtree(RUN)


def _start() -> Engine:
    started = Engine(_program("docker"), _environment(), ours=True)
    if _daemon() is not None and _answers(started.program, started.environment):
        return started
    if os.geteuid() != 0:
        raise SupportError("No Docker daemon answers, and only root can start one: start Docker, or run this as root.")
    stop()
    RUN.mkdir(mode=0o700)
    DATA.mkdir(exist_ok=True)
    log = CACHE / "dockerd.log"
    with log.open("wb") as output:
        # In a session of its own: Ctrl-C is for the tests, which still need it to clean up. It must not be a child of the tests either.
        subprocess.run(
            [
                *("setsid", "--fork", _program("dockerd")),
                f"--host=unix://{SOCKET}",
                f"--pidfile={PID_FILE}",
                f"--exec-root={RUN / 'exec'}",
                f"--data-root={DATA}",
                # Hosts only talk to each other and to this machine: nothing is forwarded.
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--shutdown-timeout=5",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(),
            check=True,
        )
    began = time.monotonic()
    while not _answers(started.program, started.environment):
        waited = time.monotonic() - began
        if waited > START_SECONDS or (waited > PID_SECONDS and _daemon() is None):
            said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
            stop()
            raise SupportError("dockerd doesn't start: " + " ".join([*said, f"See {log}."]))
        time.sleep(0.1)
    return started


def _environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    return {**clean, "DOCKER_HOST": f"unix://{SOCKET}", "PATH": PROGRAM_PATH}


def _program(name: str) -> str:
    found = shutil.which(name, path=PROGRAM_PATH)
    if found is None:
        subprocess.run(INSTALLER, check=True)
        found = shutil.which(name, path=PROGRAM_PATH)
    if found is None:
        raise SupportError(f"There is no {name}: install Docker (on Debian and Ubuntu, sudo apt install docker.io).")
    return found


def _answers(program: str, environment: os._Environ[str] | dict[str, str]) -> bool:
    asked = [program, "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(asked, env=environment, capture_output=True, check=False).returncode == 0


def _daemon() -> int | None:
    """The process of our daemon, wherever it was started from."""
    try:
        process = int(PID_FILE.read_text(encoding="utf-8"))
        # Empty when it has ended and nobody has asked how.
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return process if os.fsencode(PID_FILE) in command else None


def _unmount() -> None:
    """What a daemon leaves mounted: the network of the machine always, the rest when it was killed."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    for mount in reversed(mounts):
        if mount.startswith((f"{RUN}/", f"{DATA}/")):
            subprocess.run(["umount", "--lazy", mount], check=True)


@contextlib.contextmanager
def _held(lock: IO[str]) -> Iterator[None]:
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


def main(arguments: list[str]) -> int:
    """Run a command with a daemon, or without one stop what was left."""
    if not arguments:
        stop()
        return 0
    with engine() as found:
        process = subprocess.Popen(arguments, env=found.environment)
        # Both are the command's to answer; the daemon is stopped afterwards.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SupportError as error:
        sys.exit(f"docker: {error}")
