# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away hosts with systemd, sshd and PostgreSQL, on networks that lead to each other and to this machine only.

    with engine() as docker, Hosts(docker, tmp_path, [Spec("source"), Spec("target", suite="trixie")]) as hosts:
        hosts["source"].run("systemctl", "cat", "ssh")
        inventory_of_a_host = hosts["target"].variables      # over SSH, as the user ``operator``, who has sudo

As a program, for Molecule, whose steps are processes of their own: ``up`` makes what a file asks for and writes the inventory;
``down`` removes it all, also what is half-made. The file is JSON: ``hosts``, each with the names of ``Spec``, its ``groups`` and
its ``variables``, and ``variables`` for all.

    python -m support.hosts up NAME FOLDER WANTED.json INVENTORY
    python -m support.hosts down NAME FOLDER
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable

from .docker_engine import Engine, engine
from .images import application, image, postgres
from .places import CACHE, SupportError

LABEL = "cht.couch2pg.hosts"
USER = "operator"
MAIN_NETWORK = "main"
BOOT_SECONDS = 300
TEST_PREFIX = "test-"
# What systemd needs, and root to set priorities; more than these would be the machine's.
RIGHTS = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_NICE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"),
    *("--shm-size", "256m"),
)
# New systemd boots on the old kind of control groups when it is told to.
OLD_CGROUPS = ("/lib/systemd/systemd", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "systemd.unified_cgroup_hierarchy=0")


@dataclass(frozen=True)
class Spec:
    """A host that is wanted. ``compose`` gives it Docker Compose with a daemon of its own, which has couch2pg's image.

    ``before``: the suite that it had before its distribution was upgraded, whose PostgreSQL is still there.
    ``postgres``: suites whose PostgreSQL that daemon has as images.

    A volume is ``NAME:PATH``, which all hosts with this NAME see and which goes with them, or ``/PATH/HERE:PATH``.
    """

    name: str
    suite: str = "bookworm"
    networks: tuple[str, ...] = (MAIN_NETWORK,)
    before: str = ""
    compose: bool = False
    postgres: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


@dataclass
class Host:
    """One that runs. ``addresses`` has one for each of its networks."""

    docker: Engine
    name: str
    container: str
    variables: dict[str, Any] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, user: str = "root", stdin: bytes | None = None, seconds: float = 120) -> str:
        """Run a command there; what it printed. Raises ``SupportError`` with what it said when it fails."""
        interactive = () if stdin is None else ("--interactive",)
        return self.docker.run(
            "exec", *interactive, "--user", user, self.container, *command, stdin=stdin, seconds=seconds
        )

    def put(self, path: str, content: str | bytes, *, owner: str = "root:root", mode: str = "0644") -> None:
        """Write a file there, and the folders above it; nobody else can read it before it has its mode."""
        data = content.encode() if isinstance(content, str) else content
        script = 'mkdir -p "$(dirname "$1")" && umask 077 && cat >"$1" && chown "$2" "$1" && chmod "$3" "$1"'
        self.run("sh", "-c", script, "put", path, owner, mode, stdin=data)


class Hosts:
    """They run between ``start`` and ``stop``, or as a context. Keys and known hosts lie in ``folder``."""

    def __init__(self, docker: Engine, folder: Path, specs: Iterable[Spec] = (), name: str | None = None) -> None:
        self._docker = docker
        self._folder = folder
        self._specs = list(specs)
        self._hosts: dict[str, Host] = {}
        # A test that was killed leaves hosts under the number of its process.
        self.name = name or f"{TEST_PREFIX}{os.getpid()}-{time.monotonic_ns() % 10**9}"

    def __enter__(self) -> Hosts:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def start(self) -> None:
        """Start them all, and wait until each has booted and lets us in."""
        _sweep(self._docker)
        images = {
            spec: image(self._docker, spec.suite, compose=spec.compose, before=spec.before) for spec in self._specs
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        key = self._folder / "key"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", key], check=True)
        for network in sorted({network for spec in self._specs for network in spec.networks}):
            self._docker.run("network", "create", "--internal", "--label", f"{LABEL}={self.name}", self._full(network))
        for spec in self._specs:
            self._hosts[spec.name] = self._start(spec, images[spec])
        # All boot at the same time.
        for host in self._hosts.values():
            self._let_in(host)
        with_daemon = [self._hosts[spec.name] for spec in self._specs if spec.compose]
        if with_daemon:
            self._bring(application(self._docker), with_daemon)
        for suite in sorted({suite for spec in self._specs for suite in spec.postgres}):
            wanted = [self._hosts[spec.name] for spec in self._specs if suite in spec.postgres]
            self._bring(postgres(self._docker, suite), wanted)

    def stop(self) -> None:
        """Remove everything with this name, if there is anything."""
        _remove(self._docker, self.name)
        _close_connections(self._folder)
        self._hosts.clear()

    def _bring(self, name: str, hosts: list[Host]) -> None:
        """An image, as if it had been pulled."""
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            path = Path(folder) / "image.tar"
            self._docker.run("save", "--output", str(path), name)
            for host in hosts:
                with path.open("rb") as stream:
                    self._docker.run("exec", "--interactive", host.container, "docker", "load", stdin=stream)

    def _full(self, name: str) -> str:
        return f"couch2pg-{self.name}-{name}"

    def _start(self, spec: Spec, image_name: str) -> Host:
        container = self._full(spec.name)
        old = self._docker.run("info", "--format", "{{.CgroupVersion}}") == "1"
        volumes = [volume if volume.startswith("/") else self._full(volume) for volume in spec.volumes]
        for volume in spec.volumes:
            if not volume.startswith("/"):
                self._docker.run(
                    "volume", "create", "--label", f"{LABEL}={self.name}", self._full(volume.split(":")[0])
                )
        if spec.compose:
            # Images in layers can't lie on the host's own files, which are such layers themselves.
            volumes.append("/var/lib/docker")
        first, *others = spec.networks
        self._docker.run(
            "create",
            *("--name", container, "--hostname", spec.name, "--label", f"{LABEL}={self.name}", *RIGHTS),
            *("--network", self._full(first), "--network-alias", spec.name),
            *(word for volume in volumes for word in ("--volume", volume)),
            # A daemon in it has networks, and can't switch this on itself.
            *(("--sysctl", "net.ipv4.ip_forward=1") if spec.compose else ()),
            image_name,
            *(OLD_CGROUPS if old else ()),
        )
        for network in others:
            self._docker.run("network", "connect", "--alias", spec.name, self._full(network), container)
        self._docker.run("start", container)
        networks = json.loads(self._docker.run("inspect", "--format", "{{json .NetworkSettings.Networks}}", container))
        addresses = {network: networks[self._full(network)]["IPAddress"] for network in spec.networks}
        return Host(self._docker, spec.name, container, addresses=addresses)

    def _let_in(self, host: Host) -> None:
        _wait_for_boot(host)
        public = (self._folder / "key.pub").read_text(encoding="utf-8")
        host.run("install", "-d", "-o", USER, "-g", USER, "-m", "0700", f"/home/{USER}/.ssh")
        host.put(f"/home/{USER}/.ssh/authorized_keys", public, owner=f"{USER}:{USER}", mode="0600")
        address = next(iter(host.addresses.values()))
        host_key = " ".join(host.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
        with (self._folder / "known_hosts").open("a", encoding="utf-8") as known:
            known.write("".join(f"{place} {host_key}\n" for place in host.addresses.values()))
        host.variables.update(
            ansible_host=address,
            ansible_user=USER,
            ansible_ssh_private_key_file=str(self._folder / "key"),
            ansible_ssh_common_args=(
                f"-o UserKnownHostsFile='{self._folder / 'known_hosts'}' -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
            ),
            # Ansible keeps connections open, and would use those to a host that had the same address before.
            ansible_control_path_dir=str(_connections(self._folder)),
            ansible_python_interpreter="/usr/bin/python3",
        )


def _wait_for_boot(host: Host) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    # "degraded" is a host with a unit that failed: some can't be started in a container.
    script = 'state=$(systemctl is-system-running 2>/dev/null); [ "$state" = running ] || [ "$state" = degraded ]'
    while True:
        with contextlib.suppress(SupportError):
            host.run("sh", "-c", script)
            return
        if time.monotonic() > deadline:
            said = host.run("sh", "-c", "systemctl list-jobs --no-pager; systemctl --failed --no-pager; true")
            raise SupportError(f"Host {host.name} doesn't boot within {BOOT_SECONDS} s: {said}")
        time.sleep(0.2)


def _remove(docker: Engine, name: str) -> None:
    of_name = f"label={LABEL}={name}"
    containers = docker.run("ps", "--all", "--quiet", "--filter", of_name).split()
    if containers:
        docker.run("rm", "--force", "--volumes", *containers)
    networks = docker.run("network", "ls", "--quiet", "--filter", of_name).split()
    if networks:
        docker.run("network", "rm", *networks)
    volumes = docker.run("volume", "ls", "--quiet", "--filter", of_name).split()
    if volumes:
        docker.run("volume", "rm", *volumes)


def _sweep(docker: Engine) -> None:
    """Remove what killed tests left."""
    asked = ("--filter", f"label={LABEL}", "--format", f'{{{{.Label "{LABEL}"}}}}')
    for name in {*docker.run("ps", "--all", *asked).split(), *docker.run("network", "ls", *asked).split()}:
        process = name[len(TEST_PREFIX) :].split("-")[0]
        if name.startswith(TEST_PREFIX) and not Path(f"/proc/{process}").exists():
            _remove(docker, name)


def _connections(folder: Path) -> Path:
    """A folder for the sockets of open connections: its path must be short, which the folder's may not be."""
    known = folder / "connections"
    if not known.exists():
        known.write_text(tempfile.mkdtemp(prefix="couch2pg-"), encoding="utf-8")
    return Path(known.read_text(encoding="utf-8"))


def _close_connections(folder: Path) -> None:
    if (folder / "connections").exists():
        sockets = _connections(folder)
        for place in sockets.glob("*"):
            subprocess.run(
                ["ssh", "-o", f"ControlPath={place}", "-O", "exit", "host"], capture_output=True, check=False
            )
        shutil.rmtree(sockets, ignore_errors=True)
    for name in ("connections", "known_hosts", "key", "key.pub"):
        (folder / name).unlink(missing_ok=True)


def _up(name: str, folder: Path, wanted: dict[str, Any], inventory: Path) -> None:
    with engine() as docker:
        hosts = Hosts(docker, folder, [_spec(given) for given in wanted["hosts"]], name)
        hosts.stop()
        hosts.start()
    groups: dict[str, Any] = {}
    for given in wanted["hosts"]:
        # What leads to the host is ours, whatever somebody's inventory says.
        variables = {**given.get("variables", {}), **hosts[given["name"]].variables}
        for group in given.get("groups", ["ungrouped"]):
            groups.setdefault(group, {"hosts": {}})["hosts"][given["name"]] = variables
    inventory.parent.mkdir(parents=True, exist_ok=True)
    inventory.touch(mode=0o600)
    content = {"all": {"vars": wanted.get("variables", {}), "children": groups}}
    inventory.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _spec(given: dict[str, Any]) -> Spec:
    known = {name: value for name, value in given.items() if name not in ("groups", "variables", "networks")}
    # As Molecule wants them.
    networks = tuple(network["name"] for network in given.get("networks", [{"name": MAIN_NETWORK}]))
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    return Spec(networks=networks, **lists)


def main(arguments: list[str]) -> int:
    """``up`` or ``down``."""
    verb, name, folder, *rest = arguments
    if verb == "up":
        wanted, inventory = map(Path, rest)
        _up(name, Path(folder), json.loads(wanted.read_text(encoding="utf-8")), inventory)
    else:
        with engine() as docker:
            Hosts(docker, Path(folder), name=name).stop()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SupportError as failure:
        sys.exit(f"hosts: {failure}")
