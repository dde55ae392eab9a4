# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""System users and groups: create missing ones, and act as another user for a while."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence

from ..common.errors import MigrationError
from .programs import ask

_FOLDERS = "/usr/sbin:/sbin:/usr/bin:/bin"


def missing(user: str, groups: Sequence[str]) -> list[list[str]]:
    """The commands that create the missing accounts; empty when all exist. Numeric ids need no account."""
    commands = [["groupadd", "--system", group] for group in groups if not group.isdigit() and not _group(group)]
    if user and not user.isdigit() and not _user(user):
        # Without a group in the unit, the user gets a group of its own name.
        first = ["--gid", groups[0]] if groups else ["--gid", user] if _group(user) else ["--user-group"]
        others = ["--groups", ",".join(groups[1:])] if groups[1:] else []
        home = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
        commands.append(["useradd", "--system", *first, *others, *home, user])
    return commands


def make(commands: Sequence[Sequence[str]]) -> None:
    """Run the commands of ``missing``. Raises MigrationError ``account``."""
    for name, *words in commands:
        program = shutil.which(name) or shutil.which(name, path=_FOLDERS)
        reason = "the program is not on this host"
        if program is not None:
            try:
                answer = ask([program, *words])
            except subprocess.TimeoutExpired:
                reason = "it didn't end within a minute"
            else:
                if answer.code == 0:
                    continue
                reason = answer.stderr or f"exit code {answer.code}"
        raise MigrationError(
            f"couch2pg's system account {words[-1]} can't be created: {name}: {reason}. Create it yourself, or use become.",
            "account",
        )


def ids(user: str) -> tuple[int, int] | None:
    """The uid and primary gid of ``user`` (a name or a number); None when there is no such user."""
    try:
        found = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid


@contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Give this process the rights, groups and home of ``user``. No effect when the process doesn't run as root.

    New files belong to ``user``, and PostgreSQL's peer authentication sees that user. Raises MigrationError ``account``.
    """
    if not user or os.geteuid() != 0:
        yield
        return
    found = ids(user)
    if found is None:
        raise MigrationError(
            f"This host has no user {user!r}. Set couch2pg_become_user to the owner of the server's data directory.",
            "account",
        )
    entry = pwd.getpwuid(found[0])
    groups, home = os.getgroups(), os.environ.get("HOME")
    os.setgroups(os.getgrouplist(entry.pw_name, entry.pw_gid))
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        if home is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = home


@contextmanager
def as_root() -> Iterator[None]:
    """Be root again inside ``acting_as``. No effect when the process was not started as root."""
    user, group = os.geteuid(), os.getegid()
    if os.getuid() != 0 or user == 0:
        yield
        return
    os.seteuid(0)
    os.setegid(0)
    try:
        yield
    finally:
        os.setegid(group)
        os.seteuid(user)


def _user(name: str) -> bool:
    return ids(name) is not None


def _group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def may_write_command(uid: int, folder: Path) -> str:
    """The command that lets the user write into ``folder``, for a shell of root. Others keep their rights, but for the folder's group."""
    try:
        group = pwd.getpwuid(uid).pw_gid
    except KeyError:
        group = uid
    try:
        name = grp.getgrgid(group).gr_name
    except KeyError:
        name = str(group)
    place = shlex.quote(str(folder))
    return f"chgrp {shlex.quote(name)} {place} && chmod g+rwx {place}"


def myself() -> str:
    """The name of the user who runs this."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
