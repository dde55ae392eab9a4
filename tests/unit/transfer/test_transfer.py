# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the transfer that need no network: whose lines are whose, what rsync says, what may be written over."""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
import subprocess
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout, manifest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.identity import manifest_sha256
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import access, authorized_keys, forced_command
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import key as gate_key
from ansible_collections.cht.couch2pg.plugins.module_utils.host import programs
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import partial_archive, relay, rsync

NOW = 1_000_000
LINE = f'restrict,command="x" ssh-ed25519 AAAA {forced_command.mark("cht", NOW + 1)}'


@pytest.mark.parametrize(
    "before", ["", "a b c\n", "a b c", "# one\n\nssh-rsa A me\n# cht.couch2pg:transfer:no\n", "x\r\ny"]
)
def test_our_line_comes_and_goes_without_a_trace(before: str) -> None:
    with_ours = forced_command.with_line(before, LINE)
    assert LINE in with_ours.splitlines()
    assert forced_command.without_ours(with_ours, "cht", NOW) == before
    # Another migration's line is swept only when it has expired.
    assert forced_command.without_ours(with_ours, "other", NOW) == with_ours
    assert forced_command.without_ours(with_ours, "other", NOW + 2) == before


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(b"\xff\n")
    keys.chmod(0o640)
    forced_command.replace(keys, forced_command.read(keys) + "more\n")
    assert keys.read_bytes() == b"\xff\nmore\n"
    assert keys.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [keys]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("PubkeyAuthentication no", "PubkeyAuthentication no"),
        ("AuthorizedKeysFile /etc/keys/%u", "another file (AuthorizedKeysFile /etc/keys/%u)"),
        ("Include more/*.conf\nAllowUsers other", "AllowUsers admin other"),
        ("AllowGroups admins", "AllowGroups admins"),
        ("DenyUsers other p?st*", "DenyUsers other p?st*"),
        # Lines add up, and patterns may name hosts.
        ("Include more/*.conf\nAllowUsers postgres", ""),
        ("AllowUsers admin\nAllowUsers post*@10.0.0.0/8", ""),
    ],
)
def test_what_sshd_has_against_us(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.conf").write_text("AllowUsers admin\n")
    path = tmp_path / "sshd_config"
    path.write_text(f"# a comment\n{text}\nMatch User other\nPubkeyAuthentication no\n")
    account = pwd.struct_passwd(("postgres", "x", 4242, 4242, "", str(tmp_path), "/bin/bash"))
    found = authorized_keys.obstacles(account, path)
    assert len(found) == bool(sentence)
    assert sentence in "".join(found)


def test_what_others_may_write_to(tmp_path: Path) -> None:
    """Each command is run as it is printed."""
    home = tmp_path / "a home"
    (home / ".ssh").mkdir(parents=True)
    paths = (home, home / ".ssh", home / ".ssh" / "authorized_keys")
    paths[2].touch()
    for path in paths:
        path.chmod(path.stat().st_mode | 0o020)
    account = pwd.struct_passwd(("postgres", "x", 4242, 4242, "", str(home), "/bin/bash"))
    settings = tmp_path / "sshd_config"
    settings.write_text("StrictModes no\n")
    assert authorized_keys.obstacles(account, settings) == []
    settings.write_text("")
    found = authorized_keys.obstacles(account, settings)
    assert len(found) == len(paths)
    for obstacle in found:
        subprocess.run(["sh", "-c", re.findall(r"\((chmod .*) corrects that\)", obstacle)[0]], check=True)
    assert authorized_keys.obstacles(account, settings) == []


def test_a_group_of_the_account_alone_may_write(tmp_path: Path) -> None:
    """Debian's sshd accepts that, as with the umask 002."""
    mine = pwd.getpwuid(os.getuid())
    account = pwd.struct_passwd((mine.pw_name, "x", mine.pw_uid, mine.pw_gid, "", str(tmp_path), "/bin/bash"))
    settings = tmp_path / "sshd_config"
    settings.touch()
    tmp_path.chmod(0o770)
    assert authorized_keys.obstacles(account, settings) == []
    other = pwd.struct_passwd(("another", "x", 4242, mine.pw_gid, "", str(tmp_path), "/bin/bash"))
    assert len(authorized_keys.obstacles(other, settings)) == 1
    tmp_path.chmod(0o702)
    assert len(authorized_keys.obstacles(account, settings)) == 1


def test_rsync_is_understood() -> None:
    listener = rsync.Listener()
    for chunk in (b"archive/3001", b".dat.gz\n      1,048,576  17%  1.00MB/s    0:00:04 \r      6,000", b",000 100%\r"):
        listener.feed(chunk)
    assert (listener.done, listener.file) == (6_000_000, "archive/3001.dat.gz")
    listener.feed(
        b"\nTotal bytes received: 6,001,234\n\nrsync: [receiver] write failed: No space left on device (28)\n"
    )
    assert listener.received == 6_001_234
    assert rsync.failure(11, listener.complaints, 0, Path("/x")).code == "disk_full"
    listener.start_again(7)
    assert (listener.done, listener.moving) == (7, False)
    assert rsync.failure(12, [], 0, Path("/x")).code == "interrupted"
    assert rsync.failure(23, ["rsync: odd"], 0, Path("/x")).code == "rsync_failed"


def make(root: Path, migration_id: str) -> dict[str, object]:
    """An archive, and what the source would say of it."""
    root.mkdir()
    (root / "file").write_text(migration_id)
    listing = dict(manifest.create(root, 1), migration_id=migration_id)
    (root / layout.MANIFEST).write_text(json.dumps(listing))
    return {"manifest_sha256": manifest_sha256(root), "bytes": listing["bytes"]}


def test_nothing_of_others_is_written_over(tmp_path: Path) -> None:
    mine = make(tmp_path / "mine", "cht")
    final = tmp_path / "final"
    assert not partial_archive.check_place(final, mine, "cht")
    make(final, "another")
    with pytest.raises(MigrationError, match="belongs to the migration 'another'"):
        partial_archive.check_place(final, mine, "cht")
    final.rename(tmp_path / "final.partial")
    with pytest.raises(MigrationError, match="was not made by a transfer"):
        partial_archive.prepare(final, mine, "cht")
    (tmp_path / "final.partial" / layout.HALF_DONE).touch()
    # Ours, of an older archive: started again.
    assert [path.name for path in partial_archive.prepare(final, mine, "cht").iterdir()] == [layout.HALF_DONE]
    with pytest.raises(MigrationError, match="Free disk space"):
        partial_archive.prepare(final, dict(mine, bytes=1 << 60), "cht")


def test_a_transfer_that_was_killed_while_it_began(tmp_path: Path) -> None:
    final = tmp_path / "final"
    layout.partial_folder(final).mkdir()
    partial = partial_archive.prepare(final, make(tmp_path / "mine", "cht"), "cht")
    assert [path.name for path in partial.iterdir()] == [layout.HALF_DONE]
    (partial / "of somebody").touch()
    (partial / layout.HALF_DONE).unlink()
    with pytest.raises(MigrationError, match="was not made by a transfer"):
        partial_archive.prepare(final, make(tmp_path / "another", "cht"), "cht")


def test_an_archive_is_repaired_beside_what_an_interrupted_transfer_left(tmp_path: Path) -> None:
    final, partial = tmp_path / "final", tmp_path / "final.partial"
    make(final, "cht")
    make(partial, "cht")
    with pytest.raises(MigrationError, match=r"Move .*final\.partial away, then run again"):
        partial_archive.reopen(final)
    partial.rename(tmp_path / "away")
    assert partial_archive.reopen(final) == partial
    make(final, "cht")
    assert partial_archive.reopen(final) == partial
    assert not final.exists()


def test_a_manifest_stays_inside_its_archive(tmp_path: Path) -> None:
    source = make(tmp_path / "a", "cht")
    listing = json.loads((tmp_path / "a" / layout.MANIFEST).read_text())
    listing["files"][0]["path"] = "archive/../../outside"
    (tmp_path / "a" / layout.MANIFEST).write_text(json.dumps(listing))
    source["manifest_sha256"] = manifest_sha256(tmp_path / "a")
    with pytest.raises(MigrationError, match="outside of the archive"):
        partial_archive.load_manifest(tmp_path / "a", source)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "..", "archive/../../outside", "archive/.."])
def test_a_target_that_was_taken_over_reads_nothing_else(path: str) -> None:
    good = {"path": "archive/..3001", "offset": 0, "bytes": 1}
    assert relay.checked([good]) == [good]
    for bad in ({"path": path}, {"offset": -1}, {"bytes": "1; id"}):
        with pytest.raises(MigrationError, match="not in the archive"):
            relay.checked([good, {**good, **bad}])


@pytest.mark.parametrize("key", ["", "AAAA", "ssh-ed25519 AAAA\nssh-ed25519 BBBB", 'ssh-ed25519 AAAA" x', "a b c"])
def test_a_target_that_was_taken_over_gets_no_other_key_in(tmp_path: Path, key: str) -> None:
    wanted: Any = {"public_key": key, "state_dir": str(tmp_path), "migration_id": "cht"}
    with pytest.raises(MigrationError, match="something other than a public key") as caught:
        authorized_keys.open_gate(wanted, "python3", NOW)
    assert caught.value.code == "bad_key"
    assert list(tmp_path.iterdir()) == []


GOOD = {"address": "fe80::1%eth0", "port": 22, "user": "postgres", "host_keys": ["ssh-ed25519 AA+/=="], "silence": 60}


@pytest.mark.parametrize(
    "bad",
    [
        {"user": "postgres\n    ProxyCommand id"},
        {"user": "-oProxyCommand=id"},
        {"address": "x\nProxyCommand id"},
        {"address": ""},
        {"host_keys": ["ssh-ed25519 AAAA\n@cert-authority * ssh-ed25519 BBBB"]},
    ],
)
def test_a_source_that_was_taken_over_runs_nothing_on_the_target(tmp_path: Path, bad: dict[str, object]) -> None:
    with pytest.raises(MigrationError) as caught:
        gate_key.configure(tmp_path, {**GOOD, **bad})
    assert caught.value.code == "bad_word"
    assert not list(tmp_path.iterdir())
    assert "HostName fe80::1%%eth0\n" in gate_key.configure(tmp_path, GOOD).read_text()


@pytest.fixture
def ended_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, list[socket.socket]]]:
    """A port where each connection ends before the login, as sshd's MaxStartups does it; and these connections."""
    monkeypatch.setattr(access, "PAUSE_SECONDS", 0)
    ended: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    ended.append(server.accept()[0])
                    ended[-1].close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], ended
        server.shutdown(socket.SHUT_RDWR)


def _login(port: int) -> dict[str, Any]:
    known: dict[str, Any] = {"address": "127.0.0.1", "port": port, "user": "me", "host_keys": [], "obstacles": []}
    return {**known, "silence": 60}


def test_a_lost_connection_is_not_a_refusal(tmp_path: Path, ended_connections: tuple[int, list[socket.socket]]) -> None:
    port, ended = ended_connections
    with pytest.raises(MigrationError) as caught:
        access.begin(tmp_path, _login(port), "Or go another way.")
    assert caught.value.code == "interrupted"
    assert f"was lost during the login as me at 127.0.0.1, port {port}: " in caught.value.message
    assert caught.value.message.endswith(". Run again. Or go another way.")
    assert len(ended) == access.TRIES


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([programs.Answer(255, "", "Connection reset by 10.0.0.1 port 22")] * 3, ""),
        ([programs.Answer(255, "", "me@10.0.0.1: Permission denied (publickey).")], "gate_refused"),
        ([programs.Answer(255, "", "Host key verification failed.")], "gate_refused"),
        ([programs.Answer(127, "", "sh: python3: not found")], "gate_refused"),
        ([programs.Answer(255, "", "Connection closed by 10.0.0.1 port 22")] * access.TRIES, "gate_refused"),
    ],
)
def test_only_a_login_that_may_succeed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[programs.Answer], code: str
) -> None:
    welcome = programs.Answer(0, f"{forced_command.WELCOME} m\n", "")
    left = iter([*answers, welcome])
    monkeypatch.setattr(access.key, "ask_gate", lambda *_arguments: next(left))
    monkeypatch.setattr(access, "PAUSE_SECONDS", 0)
    with pytest.raises(MigrationError) if code else nullcontext() as caught:
        access.begin(tmp_path, _login(22), "")
    assert code == (caught.value.code if caught else "")
    assert list(left) == ([welcome] if code else [])
