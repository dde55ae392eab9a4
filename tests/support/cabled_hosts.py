# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two managed hosts and a controller, each with a network of its own, and a cable between any two of them.

A host is this machine, reached by a real sshd whose processes live in name spaces of their own, with a user of its own
who owns what is moved. The cable between the hosts can be cut, and so can a host's power.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterator

from . import places
from .machine import NAME_SPACE, START_SECONDS, run
from .places import SupportError

NUMBER = os.getpid()
PREFIX = "couch2pg-net-"
PORT = 2222
NAMES = ("controller", "source", "target")
# The system's: users of the system can run it, and it brings nothing that isn't there on a fresh server.
PYTHON = "/usr/bin/python3"
# sudo skips files with a dot in their name.
SUDOERS = Path("/etc/sudoers.d", f"{PREFIX}{NUMBER}")
_networks = itertools.count()


class Host:
    """One managed host."""

    def __init__(self, name: str, folder: Path, address: str) -> None:
        self.name = name
        self.user = f"c2{name[:3]}{NUMBER}"
        self.folder = folder / name
        self.home = self.folder / "home"
        self.address = address
        # Lines for a shell before its sshd starts, in its name spaces.
        self.before = ""
        # Further lines of its sshd's configuration, by name.
        self.sshd_options: dict[str, str] = {}
        self._sshd: subprocess.Popen[bytes] | None = None

    @property
    def inside(self) -> list[str]:
        """The command that runs another one on this host's network."""
        return ["ip", "netns", "exec", namespace(self.name)]

    @property
    def _root_home(self) -> Path:
        return self.folder / "root"

    @property
    def keys(self) -> Path:
        """Who may log in as the host's user."""
        return self.home / ".ssh" / "authorized_keys"

    @property
    def variables(self) -> dict[str, Any]:
        """Ansible's variables that lead to the host: as root, who becomes its user."""
        known = self.folder.parent / "known_hosts"
        return {
            "ansible_connection": "ssh",
            "ansible_host": self.address,
            "ansible_port": PORT,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.folder.parent / "key"),
            "ansible_ssh_common_args": f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={known}",
            "ansible_python_interpreter": PYTHON,
            "ansible_pipelining": True,
            # A machine that is busy with other tests is slow to answer.
            "ansible_timeout": 60,
            "couch2pg_become": True,
            "couch2pg_become_user": self.user,
            "couch2pg_state_dir": str(self.folder / "state of migrations"),
            "couch2pg_staging_dir": str(self.folder / "staging area"),
        }

    def make(self) -> None:
        """Its user, and its keys."""
        self.folder.mkdir(mode=0o755)
        run(
            "useradd", "--home-dir", str(self.home), "--create-home", "--shell", "/bin/sh", "--password", "*", self.user
        )
        self.folder.chmod(0o755)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "host_key"))
        for path in (self.folder / "state of migrations", self.folder / "staging area"):
            path.mkdir(mode=0o700)
            self.give(path)
        # Ansible warns when it has to make its own.
        for home in (self.home, self._root_home):
            (home / ".ansible" / "tmp").mkdir(mode=0o700, parents=True)
        self.give(self.home)

    def remove(self) -> None:
        """Its processes and its user; the folder goes with the network's."""
        self.power_off()
        if self.user in {account.pw_name for account in pwd.getpwall()}:
            run("userdel", "--force", self.user)

    def give(self, path: Path) -> None:
        """Make its user the owner of a file or a folder with all that is in it."""
        run("chown", "-R", f"{self.user}:", str(path))

    @contextmanager
    def becoming(self, login: str, password: str) -> Iterator[None]:
        """Meanwhile, ``login`` becomes the host's user with sudo, which asks for a password."""
        SUDOERS.write_text(
            f"Defaults:{login} timestamp_timeout=0, !lecture\n{login} ALL=({self.user}) ALL\n", encoding="utf-8"
        )
        SUDOERS.chmod(0o440)
        try:
            set_password(login, password)
            yield
        finally:
            SUDOERS.unlink()
            set_password(login, "*", encrypted=True)

    def start(self) -> None:
        """Switch it on."""
        options = {
            "Port": PORT,
            "HostKey": self.folder / "host_key",
            "AuthorizedKeysFile": f".ssh/authorized_keys {self.folder.parent / 'key.pub'}",
            "PidFile": "none",
            "PermitRootLogin": "yes",
            "StrictModes": "no",
            "UsePAM": "no",
            **self.sshd_options,
            # What this machine's root runs at a login may take a minute, and leave locks when its host loses its power.
            "Match": f"User root\nSetEnv HOME={self._root_home}",
        }
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        if sshd is None:
            raise SupportError("There is no sshd: tests/tools/system should have brought it.")
        configuration = self.folder / "sshd_config"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in options.items()), encoding="utf-8")
        log = self.folder / "sshd.log"
        with log.open("wb") as stream:
            self._sshd = subprocess.Popen(
                [
                    *(*self.inside, *NAME_SPACE, "sh", "-ec", f'{self.before}\nexec "$@"', "sh"),
                    *(sshd, "-D", "-e", "-f", str(configuration)),
                ],
                stdout=stream,
                stderr=stream,
            )
        deadline = time.monotonic() + START_SECONDS
        while b"Server listening" not in log.read_bytes():
            if self._sshd.poll() is not None or time.monotonic() > deadline:
                raise SupportError(f"sshd doesn't start: {log.read_text()}")
            time.sleep(0.05)

    def power_off(self) -> None:
        """Everything that runs on it is gone at once."""
        if self._sshd is not None:
            self._sshd.kill()
            self._sshd.wait()
            self._sshd = None


class Network:
    """Source, target, controller and their cables. Needs root."""

    def __init__(self) -> None:
        # Users of the system go through it.
        self.folder = Path(tempfile.mkdtemp(prefix=f"hosts-{NUMBER}-", dir=places.work_folder("hosts")))
        base = f"10.{214 + next(_networks) % 20}.{NUMBER % 250}."
        self._cables = {
            ("controller", "source"): (f"{base}1", f"{base}2"),
            ("controller", "target"): (f"{base}5", f"{base}6"),
            # Only the two of them see each other's address here.
            ("source", "target"): (f"{base}9", f"{base}10"),
        }
        self.source = Host("source", self.folder, f"{base}2")
        self.target = Host("target", self.folder, f"{base}6")
        self.source_for_target = f"{base}9"

    def __enter__(self) -> Network:
        if os.geteuid() != 0:
            raise SupportError("Only root can cut a network: run the tests as root, too.")
        self.folder.chmod(0o755)
        _sweep()
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self) -> None:
        for name in NAMES:
            run("ip", "netns", "add", namespace(name))
            run("ip", "-n", namespace(name), "link", "set", "lo", "up")
            # Otherwise a cable that was cut comes back without its address of IPv6.
            keep = "echo 1 >/proc/sys/net/ipv6/conf/all/keep_addr_on_down"
            run("ip", "netns", "exec", namespace(name), "sh", "-ec", keep)
        for (left, right), (here, there) in self._cables.items():
            run(
                *("ip", "-n", namespace(left), "link", "add", right, "type", "veth"),
                *("peer", "name", left, "netns", namespace(right)),
            )
            for owner, end, address in ((left, right, here), (right, left, there)):
                run("ip", "-n", namespace(owner), "address", "add", f"{address}/30", "dev", end)
                # Without nodad, an address can't be used for a second.
                run("ip", "-n", namespace(owner), "address", "add", f"{in_ipv6(address)}/126", "dev", end, "nodad")
                run("ip", "-n", namespace(owner), "link", "set", end, "up")
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "key"))
        for host in (self.source, self.target):
            host.make()
            host.start()

    def __exit__(self, *_exc: object) -> None:
        existing = _namespaces()
        if namespace("controller") in existing:
            self.power_off_controller()
        for host in (self.source, self.target):
            host.remove()
        for name in NAMES:
            if namespace(name) in existing:
                run("ip", "netns", "delete", namespace(name))
        shutil.rmtree(self.folder)

    @property
    def controller(self) -> list[str]:
        """The command that runs another one as the controller."""
        return ["ip", "netns", "exec", namespace("controller")]

    def power_off_controller(self) -> None:
        """Everything that runs on it is gone at once: Ansible's workers and its open connections, too."""
        listed = subprocess.run(
            ["ip", "netns", "pids", namespace("controller")], capture_output=True, text=True, check=True
        ).stdout
        for word in listed.split():
            with suppress(ProcessLookupError):
                os.kill(int(word), signal.SIGKILL)

    def cut(self) -> None:
        """Pull the cable between source and target."""
        run("ip", "-n", namespace("source"), "link", "set", "target", "down")

    def restore(self) -> None:
        """Put it back."""
        run("ip", "-n", namespace("source"), "link", "set", "target", "up")

    def throttle(self, rate: str) -> None:
        """Limit what the cable carries from source to target; ``rate``: as tc has it, such as 100mbit."""
        limit = ["root", "tbf", "rate", rate, "burst", "256kb", "latency", "50ms"]
        run(*self.source.inside, "tc", "qdisc", "replace", "dev", "target", *limit)


@contextmanager
def inside(host: str) -> Iterator[None]:
    """Meanwhile, this thread and the processes that it starts are on the host's network."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace(host)}", os.O_RDONLY)
    try:
        os.setns(other, os.CLONE_NEWNET)
        yield
    finally:
        os.setns(own, os.CLONE_NEWNET)
        os.close(own)
        os.close(other)


def set_password(user: str, password: str, *, encrypted: bool = False) -> None:
    """Give a user a password, or what stands in its place."""
    command = ["chpasswd", *(["--encrypted"] if encrypted else [])]
    subprocess.run(command, input=f"{user}:{password}\n", text=True, check=True)


def in_ipv6(address: str) -> str:
    """The other address of the same end of a cable."""
    numbers = [int(number) for number in address.split(".")]
    return f"fd00:{numbers[1]:x}:{numbers[2]:x}::{numbers[3]:x}"


def namespace(name: str) -> str:
    """The name space of a host's network, in this run of the tests."""
    return f"{PREFIX}{name}-{NUMBER}"


def _namespaces() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines()]


def _sweep() -> None:
    """Remove what killed tests left: networks, users, folders and what is mounted there."""
    for name in _namespaces():
        if name.startswith(PREFIX) and not Path("/proc", name.rpartition("-")[2]).exists():
            run("ip", "netns", "delete", name)
    for account in pwd.getpwall():
        number = account.pw_name[5:]
        if account.pw_name[:5] in ("c2sou", "c2tar") and number.isdigit() and not Path("/proc", number).exists():
            run("userdel", "--force", account.pw_name)
    for path in SUDOERS.parent.glob(f"{PREFIX}*"):
        if not Path("/proc", path.name.rpartition("-")[2]).exists():
            path.unlink()
    for folder in places.work_folder("hosts").iterdir():
        if not Path("/proc", folder.name.split("-")[1]).exists():
            for disk in (path for path in folder.glob("*/*") if path.is_mount()):
                run("umount", "--lazy", str(disk))
            shutil.rmtree(folder)
