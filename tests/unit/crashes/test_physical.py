# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the method physical, which need no server, killed at any moment."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import recovery, removal, switch, upgrade, wal
from ansible_collections.cht.couch2pg.plugins.module_utils.physical.folders import Folders, Owner, Steps
from ansible_collections.cht.couch2pg.plugins.module_utils.physical.moment import Point
from ansible_collections.cht.couch2pg.plugins.module_utils.physical.private_server import PrivateServer
from support.crashes import check_every_moment

SETTINGS = dict.fromkeys(
    ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions"), "1"
) | {"max_locks_per_transaction": "1", "shared_preload_libraries": "", "superuser": "postgres"}
# The user nobody.
OTHER = 65534
POINT = Point("p", "0/1", "1:1:")


def folders(root: Path) -> Folders:
    return Folders.beside(root / "data", "m")


def owner(root: Path) -> Owner:
    """Root works for another user, as on most hosts."""
    return Owner(OTHER, OTHER) if os.geteuid() == 0 else Owner.of(root)


def a_copy(root: Path) -> None:
    """The target's data directory, and the copy of the source's, each with a configuration of its own."""
    copy = folders(root)
    for data, name in ((root / "data", "target"), (copy.incoming, "source")):
        (data / "base").mkdir(parents=True)
        (data / f"{name}.d").mkdir()
        (data / f"{name}.d" / "more.conf").write_text(name)
        (data / f"only_{name}.conf").write_text(name)
        for file in ("postgresql.conf", "pg_hba.conf", "postgresql.auto.conf"):
            (data / file).write_text(name)
    (copy.incoming / "link.conf").symlink_to("/nowhere")
    (root / "data" / "link.conf").symlink_to("/elsewhere")
    for folder in (copy.work, copy.wal, copy.work / "socket"):
        folder.mkdir()


def server(root: Path) -> PrivateServer:
    copy = folders(root)
    return PrivateServer(root / "bin", copy.incoming, copy, copy.work / "socket", owner(root), SETTINGS)


def test_the_private_configuration(root: Path) -> None:
    check_every_moment(root, a_copy, lambda root: server(root).configure())
    assert (folders(root).incoming / "postgresql.auto.conf").read_text() == ""


def test_the_configuration_of_the_target_comes_into_the_copy(root: Path) -> None:
    def make(root: Path) -> None:
        a_copy(root)
        server(root).configure()

    def carry(root: Path) -> list[str]:
        return switch.carry_over(root / "data", folders(root).incoming, "log")

    check_every_moment(root, make, carry)
    copy = folders(root).incoming
    aside = copy / switch.SOURCE_FILES
    for name in ("postgresql.conf", "pg_hba.conf", "postgresql.auto.conf"):
        assert ((copy / name).read_text(), (aside / name).read_text()) == ("target", "source")


def test_a_promotion_that_was_cut_leaves_a_private_server_as_privateas_before(root: Path) -> None:
    """What ALTER SYSTEM has set on the target would let it listen at the target's address."""
    root.mkdir()
    a_copy(root)
    server(root).configure()
    switch.carry_over(root / "data", folders(root).incoming, "log")
    server(root).configure()
    copy = folders(root).incoming
    assert (copy / "postgresql.auto.conf").read_text() == ""
    switch.carry_over(root / "data", copy, "log")
    assert (copy / "postgresql.auto.conf").read_text() == "target"
    assert (copy / switch.SOURCE_FILES / "postgresql.auto.conf").read_text() == "source"


def test_the_steps(root: Path) -> None:
    def take(root: Path) -> Any:
        owner(root).folder(folders(root).work)
        steps = Steps(folders(root), {"migration_id": "m"})
        if not steps.done.get("begun"):
            steps.mark({"begun": True})
        if not steps.done.get("verified"):
            steps.mark({"verified": True})
        return folders(root).make_socket_folder(steps, owner(root)) == folders(root).work / "socket"

    check_every_moment(root, lambda _root: None, take)


def test_a_socket_elsewhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the path would be too long, or has a comma, the folder is among the temporary ones, and is removed with the copy."""
    monkeypatch.setattr(tempfile, "tempdir", str(root / "tmp"))
    copy = Folders(root / "a, b" / "data")

    def make(root: Path) -> None:
        copy.work.parent.mkdir()
        (root / "tmp").mkdir()

    def take(root: Path) -> bool:
        owner(root).folder(copy.work)
        return copy.make_socket_folder(Steps(copy, {"migration_id": "m"}), owner(root)).parent == root / "tmp"

    def take_and_remove(root: Path) -> None:
        take(root)
        removal.remove_work(copy)

    def unnamed(found: dict[str, str]) -> dict[str, str]:
        return {re.sub(r"couch2pg-\w+", "couch2pg", name): "" for name in found}

    check_every_moment(root, make, take, unnamed)
    check_every_moment(root, make, take_and_remove, unnamed)


def test_a_socket_elsewhere_that_is_not_ours(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart empties /tmp. Then a local user who has seen the name can take it."""
    monkeypatch.setattr(tempfile, "tempdir", str(root / "tmp"))
    copy, victim, ours = Folders(root / "a, b" / "data"), root / "victim", owner(root)
    for folder in (root, copy.work.parent, root / "tmp", victim):
        folder.mkdir(mode=0o700)
    before = victim.stat()
    ours.folder(copy.work)

    def make() -> Path:
        return copy.make_socket_folder(Steps(copy, {"migration_id": "m"}), ours)

    taken: list[Callable[[Path], object]] = [
        lambda path: path.symlink_to(victim),
        lambda path: path.write_text("a file"),
        lambda path: path.mkdir() or path.chmod(0o755) or ours.own(path),
    ]
    if os.geteuid() == 0:
        taken.append(lambda path: path.mkdir(mode=0o700) or os.chown(path, OTHER - 1, OTHER - 1))
    for take in taken:
        known = make()
        assert make() == known
        known.rmdir()
        take(known)
        left = known.lstat()
        found = make()
        assert found != known
        assert (stat.S_IMODE(found.lstat().st_mode), found.lstat().st_uid) == (0o700, ours.uid)
        assert make() == found
        found.rmdir()
        found.symlink_to(victim) if known.is_symlink() else known.rename(found)
        # What belongs to somebody else is not removed either.
        removal.remove_work(copy)
        assert os.path.lexists(found)
        assert not copy.work.exists()
        ours.folder(copy.work)
        assert (left.st_uid, left.st_mode) == (found.lstat().st_uid, found.lstat().st_mode)
    assert (victim.stat().st_uid, victim.stat().st_mode) == (before.st_uid, before.st_mode)


def test_the_wal(root: Path) -> None:
    def receive(root: Path) -> list[str]:
        folder = folders(root).wal
        if not (root / "armed").exists():
            wal.prepare(folder, owner(root), "000000010000000000000001")
        wal.complete(folder)
        recovery.arm(folders(root).incoming, 16, folder, POINT, owner(root))
        return [path.name for path in folder.iterdir()]

    check_every_moment(root, a_copy, receive)


def test_an_upgrade_begins_again(root: Path) -> None:
    def make(root: Path) -> None:
        a_copy(root)
        (folders(root).old / "global").mkdir(parents=True)
        (folders(root).old / "global" / "pg_control.old").write_text("control")

    check_every_moment(
        root, make, lambda root: upgrade.as_before(folders(root).old, folders(root).incoming, owner(root))
    )
    assert (folders(root).old / "global" / "pg_control").exists()


def test_a_copy_is_removed(root: Path) -> None:
    def make(root: Path) -> None:
        a_copy(root)
        (root / "elsewhere").mkdir(mode=0o700)
        write_json(folders(root).work / "steps.json", {"done": {"socket": str(root / "elsewhere")}})

    check_every_moment(root, make, lambda root: removal.remove(folders(root)) and None)
    assert [path.name for path in root.iterdir()] == ["data"]
