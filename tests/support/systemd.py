# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd that is in charge of a host of its own: process 1 of a name space, with the machine's files but its own /etc.

What runs on it uses the machine's network. When its first process ends, all of it is gone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from pathlib import Path

from .places import SupportError

START_SECONDS = 20
# Units start without the machine's own, which have no business here.
_SCRIPT = r"""
mount --make-rprivate /
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
rm -rf /etc/systemd/system/* /etc/init.d /etc/rc?.d
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
mount -t tmpfs tmpfs /lib/systemd/system
for target in basic sysinit shutdown multi-user; do
    printf '[Unit]\nDefaultDependencies=no\n' >"/lib/systemd/system/$target.target"
done
exec env -i container=test PATH="$PATH" /lib/systemd/systemd --system --unit=multi-user.target \
    --log-target=console --show-status=false
"""
_hosts = itertools.count()


class SystemdHost:
    """It runs from ``with`` on. Needs root. ``folder`` gets its /etc and what its systemd says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.etc = folder / "etc"
        self._group = _group_root() / f"cht-couch2pg-test-{os.getpid()}-{next(_hosts)}"
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0

    def __enter__(self) -> SystemdHost:
        if os.geteuid() != 0:
            raise SupportError("Only root can run a systemd: run the tests as root, too.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._group.mkdir()
        # It must be in its group before it gets a name space of groups that begins there.
        enter = f'echo $$ >"{self._group}/cgroup.procs"; exec "$@"'
        new = ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--kill-child", "--mount-proc"]
        with (self.folder / "systemd.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-ec", enter, "sh", *new, "sh", "-ec", _SCRIPT, "sh", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "systemd.log").read_text(errors="replace")[-2000:]
                self.__exit__()
                raise SupportError(f"systemd doesn't start: {said}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        deadline = time.monotonic() + START_SECONDS
        # A group can go when the last of its processes has.
        while self._group.exists():
            for folder, _folders, _names in os.walk(self._group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if time.monotonic() > deadline:
                raise SupportError(f"{self._group} can't be removed.")
            time.sleep(0.02)

    @property
    def through(self) -> list[str]:
        """The command that runs another one there."""
        return ["nsenter", f"--target={self._first}", "--mount", "--pid", "--uts", "--ipc", "--cgroup"]

    def run(self, *command: str) -> str:
        """What a command says there. Raises ``SupportError`` when it fails."""
        done = subprocess.run([*self.through, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SupportError(f"{' '.join(command)} failed: {done.stderr or done.stdout}")
        return done.stdout

    def unit(self, name: str, text: str) -> None:
        """Write a file of systemd's, such as a unit or a drop-in, and let systemd read it."""
        path = self.etc / "systemd" / "system" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.run("systemctl", "daemon-reload")

    def environment(self, unit: str) -> dict[str, str]:
        """What the unit's process was really given."""
        pid = self.run("systemctl", "show", "--property=MainPID", "--value", unit).strip()
        block = self.run("cat", f"/proc/{pid}/environ")
        return dict(entry.split("=", 1) for entry in block.split("\0") if entry)

    def _answers(self) -> bool:
        if self._process is None:
            raise SupportError("This host doesn't run.")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            self._first = int(children.read_text().split()[0])
        except (OSError, IndexError):
            return False
        with contextlib.suppress(SupportError):
            self.run("test", "-S", "/run/systemd/private")
            self.run("systemctl", "daemon-reload")
            return True
        return False


def _group_root() -> Path:
    """Where groups of version 2 are, which a machine of today has there, and one of yesterday beside the others."""
    root = Path("/sys/fs/cgroup")
    return root if (root / "cgroup.controllers").exists() else root / "unified"
