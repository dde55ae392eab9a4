# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create missing system users and groups."""

from __future__ import annotations

import grp
import pwd
import shutil
import subprocess
from typing import Sequence

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


def _user(name: str) -> bool:
    return ids(name) is not None


def _group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
