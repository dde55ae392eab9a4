# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed host whose network can be cut and whose power can go, as seen by a controller with a network of its own.

The host is this machine, reached by a real sshd whose processes live in a name space of their own: when that ends, all
of them are gone at once, as when the power goes. The controller runs in a network name space with one cable to it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes

from .places import SupportError

# One network for each process that tests, so that two may run at the same time.
NUMBER = os.getpid()
PREFIX = 30
PORT = 2213
CABLE, FAR_END = f"c2h-{NUMBER}", f"c2c-{NUMBER}"
NAMESPACE_PREFIX = "couch2pg-controller-"
NAMESPACE = f"{NAMESPACE_PREFIX}{NUMBER}"
# And an address for each machine: Ansible keeps connections open, and would use those of the one before.
_machines = itertools.count()
START_SECONDS = 20
NAME_SPACE = ("unshare", "--pid", "--mount-proc", "--kill-child", "--fork")


class Machine:
    """The host and the controller's cable to it. Needs root; there is one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sshd: subprocess.Popen[bytes] | None = None
        self._key = folder / "key"
        network = f"10.213.{NUMBER % 250}."
        last = next(_machines) * 4
        self._address, self._controller_address = f"{network}{last + 1}", f"{network}{last + 2}"

    def __enter__(self) -> Machine:
        if os.geteuid() != 0:
            raise SupportError("Only root can cut a network: run the tests as root, too.")
        self._sweep()
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self) -> None:
        run("ip", "netns", "add", NAMESPACE)
        run("ip", "link", "add", CABLE, "type", "veth", "peer", "name", FAR_END, "netns", NAMESPACE)
        run("ip", "address", "add", f"{self._address}/{PREFIX}", "dev", CABLE)
        run("ip", "link", "set", CABLE, "up")
        for command in (
            ("ip", "address", "add", f"{self._controller_address}/{PREFIX}", "dev", FAR_END),
            ("ip", "link", "set", FAR_END, "up"),
            ("ip", "link", "set", "lo", "up"),
        ):
            run(*self.controller, *command)
        for name in ("key", "host_key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._folder / name))
        self.start()

    def __exit__(self, *_exc: object) -> None:
        self.power_off()
        if Path("/run/netns", NAMESPACE).exists():
            # A run that a failed test left would keep the network, and Ansible's open connections with it.
            pids = subprocess.run(["ip", "netns", "pids", NAMESPACE], capture_output=True, text=True, check=True).stdout
            processes.kill_all([int(pid) for pid in pids.split()])
            # The cable goes with its end in the name space.
            run("ip", "netns", "delete", NAMESPACE)

    @property
    def controller(self) -> list[str]:
        """The command that runs another one as the controller."""
        return ["ip", "netns", "exec", NAMESPACE]

    @property
    def variables(self) -> dict[str, Any]:
        """Ansible's variables that lead to the host."""
        known = self._folder / "known_hosts"
        return {
            "ansible_connection": "ssh",
            "ansible_host": self._address,
            "ansible_port": PORT,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self._key),
            "ansible_ssh_common_args": f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={known}",
            "ansible_python_interpreter": sys.executable,
        }

    def start(self) -> None:
        """Switch the host on."""
        options = {
            "ListenAddress": f"{self._address}:{PORT}",
            "HostKey": self._folder / "host_key",
            "AuthorizedKeysFile": self._folder / "key.pub",
            "PidFile": "none",
            "PermitRootLogin": "yes",
            "StrictModes": "no",
            "UsePAM": "no",
            "Subsystem": "sftp internal-sftp",
        }
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        if sshd is None:
            raise SupportError("There is no sshd: tests/tools/system should have brought it.")
        arguments = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        with (self._folder / "sshd.log").open("ab") as log:
            self._sshd = subprocess.Popen(
                [*NAME_SPACE, sshd, "-D", "-e", "-f", "/dev/null", *arguments],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while b"Server listening" not in (self._folder / "sshd.log").read_bytes():
            if self._sshd.poll() is not None or time.monotonic() > deadline:
                raise SupportError(f"sshd doesn't start: {(self._folder / 'sshd.log').read_text()}")
            time.sleep(0.05)

    def power_off(self) -> None:
        """Everything that runs on the host is gone at once."""
        if self._sshd is not None:
            self._sshd.kill()
            self._sshd.wait()
            self._sshd = None
            (self._folder / "sshd.log").unlink(missing_ok=True)

    def cut(self) -> None:
        """Pull the cable."""
        run("ip", "link", "set", CABLE, "down")

    def restore_network(self) -> None:
        """Put it back."""
        run("ip", "link", "set", CABLE, "up")

    @staticmethod
    def _sweep() -> None:
        """Remove what killed tests left."""
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            name = line.split()[0]
            if name.startswith(NAMESPACE_PREFIX) and not Path(f"/proc/{name[len(NAMESPACE_PREFIX) :]}").exists():
                run("ip", "netns", "delete", name)


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True)
