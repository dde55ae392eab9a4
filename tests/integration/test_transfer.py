# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive on its way between two hosts: real sshd, real rsync, a user of its own on each, paths with spaces."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import forced_command
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import limits
from support.background import kill, wait_until
from support.cabled_hosts import PORT, Host, Network, in_ipv6, set_password
from support.migration import ROOT, RUN_SECONDS
from support.moving import FILES, NAME, Moving, Running, contents
from support.places import SupportError

LARGE = FILES["archive/3001.dat.gz"]
TOTAL = sum(FILES.values())
PASSWORD = "become me 7!"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root can cut a network: run as root, too")
    try:
        with Network() as made:
            yield made
    except SupportError as error:
        pytest.fail(str(error))


@pytest.fixture
def moving(network: Network, tmp_path: Path) -> Moving:
    return Moving(network, tmp_path)


def halfway(moving: Moving, *arguments: str) -> Running:
    """A run whose large file is in the middle, and creeps. What an earlier run has brought doesn't count."""
    # It lasts for a minute and a half: whatever is tried meanwhile may be slow.
    moving.variables["couch2pg_bandwidth_limit"] = "60KB"
    wanted = moving.bytes_there() + 100_000
    run = moving.start(*arguments)
    wait_until(
        "some of it arrives", lambda: moving.bytes_there() > wanted or run.process.poll() is not None, RUN_SECONDS
    )
    assert run.process.poll() is None, run.output
    assert moving.bytes_there() < LARGE
    return run


def release(moving: Moving) -> None:
    """Let a running job go on as fast as it can, and the next one too."""
    moving.variables["couch2pg_bandwidth_limit"] = "0"
    if not moving.job.exists():
        return
    limits.save(moving.folder, limits.Limits())
    # A job that reads it meanwhile gets the one or the other.
    shutil.copy2(moving.folder / limits.FILE, moving.job / "new")
    shutil.chown(moving.job / "new", moving.network.target.user)
    (moving.job / "new").replace(moving.job / limits.FILE)


def authorize(moving: Moving, text: str) -> None:
    """What is in authorized_keys before we come."""
    keys = moving.network.source.keys
    keys.parent.mkdir(mode=0o700)
    keys.write_text(text)
    keys.chmod(0o640)
    moving.network.source.give(keys.parent)


def test_directly(moving: Moving) -> None:
    """The archive arrives, and nothing is left; what is altered afterwards is repaired."""
    other = f"ssh-ed25519 AAAA cht.couch2pg:transfer:other:{int(time.time()) + 3600}"
    mine = "# mine\nssh-ed25519 AAAA me@example.org"
    authorize(moving, f"{mine}\nssh-ed25519 AAAA cht.couch2pg:transfer:old:1\n{other}")
    keys = moving.network.source.keys
    before = keys.stat()
    moving.check_nothing_is_left = lambda: None  # type: ignore[method-assign] # another migration's line stays
    first = moving.succeed()
    assert "The archive's way is direct: the target reaches the source's sshd" in first.output
    assert (moving.result["way"], moving.result["bytes"]) == ("direct", TOTAL)
    # The expired line went, the one of another migration stays, byte for byte without a newline at the end.
    assert keys.read_text() == f"{mine}\n{other}"
    after = keys.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    del moving.check_nothing_is_left
    keys.write_text(mine)
    victim = moving.arrived / "archive" / "3001.dat.gz"
    data = bytearray(victim.read_bytes())
    data[1000] ^= 1
    victim.write_bytes(bytes(data))
    moving.succeed()
    assert moving.result["refetched"] == ["archive/3001.dat.gz"]
    assert keys.read_text() == mine


@pytest.mark.long
def test_what_is_there_already(moving: Moving) -> None:
    """Nothing is done twice, check mode changes nothing, and the archive of another migration is kept."""
    assert moving.succeed("--check").changed
    assert not moving.partial.exists()
    moving.succeed()
    assert moving.succeed().changed == 0
    moving.make_archive(moving.network.target, "another")
    assert "belongs to the migration 'another'" in moving.fail()
    assert contents(moving.arrived) != contents(moving.sent)
    # What isn't this migration's own is kept.
    moving.succeed("-e", "couch2pg_restart_from=transfer")
    kept = [path for path in moving.arrived.parent.iterdir() if path.name.startswith(f"{moving.arrived.name}.kept_")]
    assert len(kept) == 1


@pytest.mark.long
def test_the_archive_is_damaged_on_the_source(moving: Moving) -> None:
    """To fetch it again doesn't help, and the message says what does."""
    victim = moving.sent / "archive" / "3001.dat.gz"
    good = victim.read_bytes()
    victim.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
    for _attempt in range(2):
        message = moving.fail()
        assert "another SHA-256 than in the manifest: archive/3001.dat.gz" in message
        assert "the archive on the source is damaged" in message
        assert "couch2pg_restart_from=dump" in message
    victim.write_bytes(good)
    moving.succeed()


@pytest.mark.long
def test_the_key_opens_nothing_else(moving: Moving, network: Network, tmp_path: Path) -> None:
    """A stolen key can only read that one folder while it is valid. A killed job and a killed controller leave it to the next run."""
    run = halfway(moving)
    assert (moving.job / "key" / "id").stat().st_mode & 0o077 == 0
    config = moving.job / "key" / "ssh_config"
    ssh = ["ssh", "-F", str(config), "couch2pg-source"]
    rsync = ["rsync", "-r", "-e", f"ssh -F '{config}'"]

    def attempt(*command: str) -> subprocess.CompletedProcess[str]:
        inside = [*network.target.inside, *command]
        return subprocess.run(inside, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)

    secret = network.source.home / "secret"
    secret.write_text("s3cret")
    network.source.give(secret)
    place = str(tmp_path / "stolen")
    before = contents(moving.sent)
    for command in (
        [*ssh, "id"],
        [*ssh, f"{forced_command.SERVE};id"],
        [*ssh, f"rsync --server --sender -logDtpr . {network.source.home}/"],
        [*rsync, f"couch2pg-source:{network.source.home}/", place],
        [*rsync, "couch2pg-source::archive/../../home/", place],
        [*rsync, "--copy-links", "couch2pg-source::archive/../", place],
        [*rsync, "--filter=: /etc/passwd", "couch2pg-source::archive/nothing", place],
        [*rsync, str(tmp_path / "inventory.json"), "couch2pg-source::archive/"],
        [*rsync, "--remove-source-files", "couch2pg-source::archive/toc.dat", place],
    ):
        answer = attempt(*command)
        assert answer.returncode, command
        assert "uid=" not in answer.stdout + answer.stderr, command
        assert "root:x" not in answer.stdout + answer.stderr, command
    assert attempt(*ssh[:3], "-W", f"127.0.0.1:{PORT}", ssh[3]).returncode
    assert "s3cret" not in "".join(path.read_text() for path in Path(place).rglob("*") if path.is_file())
    assert contents(moving.sent) == before
    # Neither sshd nor the gate takes a key that has expired.
    keys, settings = (
        network.source.keys,
        moving.sent.parents[1] / "state of migrations" / NAME / "gate" / forced_command.SETTINGS,
    )
    good = keys.read_text()
    keys.write_text(re.sub(r'expiry-time="\d{4}', 'expiry-time="2001', good))
    assert "Permission denied" in attempt(*ssh, forced_command.CHECK).stderr
    keys.write_text(good)
    assert forced_command.WELCOME in attempt(*ssh, forced_command.CHECK).stdout
    settings.write_text(re.sub(r'"expires": \d+', '"expires": 1', settings.read_text()))
    assert "this key has expired" in attempt(*ssh, forced_command.CHECK).stderr
    # The job is killed: the run that watches says so, and takes the key back.
    kill(processes.of_job(moving.job))
    assert "ended without a result" in run.end().message
    assert forced_command.MARK.search(network.source.keys.read_text() if network.source.keys.exists() else "") is None
    # Both are killed: nobody is left to do so.
    run = halfway(moving)
    run.kill()
    kill(processes.of_job(moving.job))
    assert forced_command.MARK.search(network.source.keys.read_text().strip())
    release(moving)
    moving.succeed()
    assert moving.result["resumed_bytes"] > 200_000
    assert not network.source.keys.parent.exists()


@pytest.mark.long
def test_the_network_is_cut(moving: Moving, network: Network) -> None:
    """For a moment: the job tries again. For good: it says so. Either way the next bytes are those that were missing."""
    run = halfway(moving)
    network.cut()
    log = moving.job / "log"
    wait_until("the loss is noticed", lambda: "Trying again." in log.read_text())
    arrived = moving.bytes_there()
    network.restore()
    wait_until("it goes on", lambda: moving.bytes_there() > arrived + 100_000 or run.process.poll() is not None)
    assert run.process.poll() is None, run.output
    # The controller goes, the job stays; now the source's sshd goes, too.
    run.kill()
    network.source.power_off()
    wait_until("it gives up", (moving.job / "result.json").exists)
    arrived = moving.bytes_there()
    network.source.start()
    release(moving)
    moving.succeed()
    assert moving.result["received_bytes"] < TOTAL - arrived + 20_000
    assert moving.result["resumed_bytes"] >= arrived


@pytest.mark.long
def test_the_target_restarts(moving: Moving, network: Network) -> None:
    """The job is gone, and its key has nobody who takes it back; the next run does, and fetches what is missing."""
    run = halfway(moving)
    arrived = moving.bytes_there()
    network.target.power_off()
    assert not processes.of_job(moving.job)
    network.target.start()
    assert "ended without a result" in run.end().message
    release(moving)
    moving.succeed()
    assert moving.result["resumed_bytes"] >= arrived


@pytest.mark.long
def test_it_is_spared_while_it_runs(moving: Moving, network: Network) -> None:
    """What the source sends is held back on the target, where the job is."""
    run = halfway(moving)
    groups = {f"couch2pg_{side}": {"hosts": {side: {}}} for side in ("source", "target")}
    (moving.folder / "groups.json").write_text(json.dumps(groups), encoding="utf-8")
    inventories = ["-i", "inventory.json", "-i", "groups.json", "-e", "couch2pg_bandwidth_limit=0"]
    spared = Running(
        network, ["ansible-playbook", *inventories, str(ROOT / "playbooks" / "spare.yml")], moving.folder
    ).end()
    assert (spared.code, spared.changed) == (0, 1), spared.output
    assert run.end().code == 0
    moving.check()


@pytest.mark.long
def test_the_disk_is_full(moving: Moving, network: Network) -> None:
    """Before it begins, with what is short; in the middle, keeping what has arrived."""
    disk = network.target.folder / "staging area"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(disk)], check=True)
    try:
        network.target.give(disk)
        # Name spaces that are there already don't see it.
        network.target.power_off()
        network.target.start()
        assert "but only 3." in moving.fail()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        run = halfway(moving)
        (disk / "fill").write_bytes(b"\0" * (18_000_000 - moving.bytes_there()))
        release(moving)
        assert "The disk became full during the transfer" in run.end().message
        assert not moving.arrived.exists()
        (disk / "fill").unlink()
        moving.succeed()
        assert moving.result["resumed_bytes"] > 100_000
    finally:
        network.target.power_off()
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        network.target.start()


@pytest.mark.long
def test_through_the_controller(moving: Moving, network: Network) -> None:
    """Where the hosts can't reach each other: over a bastion, by a password, and resumed in the middle of a file."""
    del moving.variables["couch2pg_transfer_address"]
    # Somebody else logs in on the source, and becomes its user by a password. (Both users are this machine's.)
    moving.source_variables.update(ansible_user=network.target.user, ansible_become_password=PASSWORD)
    # The source is reached by way of the target here, and only there.
    proxy = (
        f"ssh -i {network.folder}/key -p {PORT} -o StrictHostKeyChecking=accept-new "
        f"-o UserKnownHostsFile={network.folder}/known_hosts -W {network.source_for_target}:{PORT} root@{network.target.address}"
    )
    moving.source_variables["ansible_ssh_common_args"] = (
        f'{network.source.variables["ansible_ssh_common_args"]} -o ProxyCommand="{proxy}"'
    )
    moving.source_variables["ansible_host"] = "192.0.2.1"
    with network.source.becoming(network.target.user, PASSWORD):
        run = halfway(moving)
        network.cut()
        wait_until("the loss is noticed", lambda: "reconnecting" in run.output or run.process.poll() is not None)
        arrived = moving.bytes_there()
        network.restore()
        wait_until("it goes on", lambda: moving.bytes_there() > arrived + 100_000 or run.process.poll() is not None)
        assert run.process.poll() is None, run.output
        run.kill()
        assert PASSWORD not in run.output
        begun = (moving.partial / "archive" / "3001.dat.gz").stat()
        release(moving)
        moving.succeed()
        # It is the same file, to which only what was missing has come.
        assert (moving.arrived / "archive" / "3001.dat.gz").stat().st_ino == begun.st_ino
        assert 0 < begun.st_size < LARGE
        assert moving.result["way"] == "relay"
        assert "doesn't reach the source's sshd at 192.0.2.1" in moving.result["reason"]
        assert moving.result["resumed_bytes"] == TOTAL
        assert moving.succeed().changed == 0


@pytest.mark.long
def test_the_source_lets_nobody_in(moving: Moving, network: Network) -> None:
    """Said clearly where the way was asked for; another way where it wasn't."""
    set_password(network.source.user, "!", encrypted=True)
    try:
        moving.variables["couch2pg_transfer_way"] = "direct"
        sentence = moving.fail()
        assert f"refuses the login as {network.source.user} at {network.source_for_target}" in sentence
        assert "couch2pg_transfer_way to relay" in sentence
        moving.check_nothing_is_left()
        moving.variables["couch2pg_transfer_way"] = "auto"
        moving.succeed()
        assert moving.result["way"] == "relay"
    finally:
        set_password(network.source.user, "*", encrypted=True)


@pytest.fixture
def hardened(moving: Moving) -> Iterator[Moving]:
    """Both hosts let nothing of /tmp be executed, and every process begins with the umask 077."""
    hosts = (moving.network.source, moving.network.target)
    try:
        for host in hosts:
            _restart(host, "mount --bind /tmp /tmp\nmount -o remount,bind,noexec,nosuid,nodev /tmp\numask 077")
        yield moving
    finally:
        for host in hosts:
            _restart(host, "")


def _restart(host: Host, before: str) -> None:
    host.power_off()
    host.before = before
    host.start()


@pytest.mark.long
def test_on_hosts_where_temporary_files_are_private_and_not_executable(hardened: Moving) -> None:
    asked = subprocess.run(
        [
            *hardened.network.controller,
            *_login(hardened.network.source),
            "umask; cp /bin/true /tmp/true-$$; /tmp/true-$$; rm /tmp/true-$$",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.stdout.strip() == "0077"
    assert "Permission denied" in asked.stderr
    hardened.succeed()
    assert hardened.result["way"] == "direct"


def _login(host: Host) -> list[str]:
    known = host.variables
    options = known["ansible_ssh_common_args"].split()
    return ["ssh", *options, "-i", known["ansible_ssh_private_key_file"], "-p", str(PORT), f"root@{host.address}"]


@pytest.mark.long
def test_over_ipv6(moving: Moving) -> None:
    for host, variables in (
        (moving.network.source, moving.source_variables),
        (moving.network.target, moving.target_variables),
    ):
        variables["ansible_host"] = in_ipv6(host.address)
    moving.variables["couch2pg_transfer_address"] = in_ipv6(moving.network.source_for_target)
    moving.succeed()
    assert moving.result["way"] == "direct"
    assert moving.succeed().changed == 0
