# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills a process before each of its changes of files, one after the other, and checks that the next run ends as if nothing had happened.

Python reports each change to an audit hook before it is made. What is open for writing when the process is killed has no content yet.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import stat
import sys
import traceback
from pathlib import Path
from typing import Any, Callable

_EVENTS = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
)
_WRITES = os.O_WRONLY | os.O_RDWR
MOST = 400
# How a child ends that has an error.
_FAILED = 3


class Crash:
    """Kills this process before its change number ``at`` of something below ``root``, or right after a file was opened for writing."""

    def __init__(self, root: Path, at: int, ignored: str = "") -> None:
        self._root, self._at = str(root), at
        self._ignored = re.compile(ignored) if ignored else None
        self.seen: list[str] = []
        self._opens = False

    def install(self) -> None:
        """From now on, for ever: a hook can't be removed."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._opens:
            return
        if event == "open":
            path, _mode, flags = arguments
            if isinstance(path, int) or not flags & _WRITES or flags & getattr(os, "O_TMPFILE", 0) == os.O_TMPFILE:
                return
            place = self._place(path, -1)
            self._count(event, place)
            if place and len(self.seen) + 1 == self._at and flags & (os.O_CREAT | os.O_TRUNC):
                self._opens = True
                os.close(os.open(place, flags & ~os.O_EXCL, 0o600))
            self._count("opened", place)
        elif event in _EVENTS:
            made = arguments[1] if event == "os.symlink" else arguments[0]
            self._count(event, self._place(made, self._folder(event, arguments)))
        elif event == "subprocess.Popen":
            self._count(event, self._root)

    @staticmethod
    def _folder(event: str, arguments: tuple[Any, ...]) -> int:
        """The descriptor of the folder that a relative path is in, or -1."""
        number = 2 if event in ("os.rename", "os.link", "os.mkdir", "os.chmod", "os.symlink") else 1
        number = 3 if event == "os.chown" else number
        found = arguments[number] if len(arguments) > number else -1
        return found if isinstance(found, int) else -1

    def _place(self, path: Any, folder: int) -> str:
        """The absolute path when it is below the root, else empty."""
        if isinstance(path, int):
            path, folder = "", path
        base = Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else Path.cwd()
        absolute = os.path.normpath(base / os.fsdecode(path))
        return absolute if absolute == self._root or absolute.startswith(f"{self._root}/") else ""

    def _count(self, event: str, place: str) -> None:
        if not place or (self._ignored and self._ignored.search(place)):
            return
        self.seen.append(f"{event} {place[len(self._root) + 1 :]}")
        if len(self.seen) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def run(root: Path, act: Callable[[Path], Any], at: int = 0, ignored: str = "") -> tuple[bool, Any]:
    """``act(root)`` in a process of its own, which is killed at the change number ``at``. Returns whether it ended, and its value."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        code = _FAILED
        try:
            Crash(root, at, ignored).install() if at else None
            value = act(root)
            os.write(writing, pickle.dumps(value))
            code = 0
        except BaseException:  # noqa: BLE001 - shown by the test
            os.write(writing, pickle.dumps(traceback.format_exc()))
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read()
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False, None
    value = pickle.loads(said)
    if os.WEXITSTATUS(status):
        raise AssertionError(f"killed at change {at}: {value}")
    return True, value


def tree(root: Path) -> dict[str, str]:
    """What is below ``root``: modes, and contents of files."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        what = (
            "" if stat.S_ISDIR(mode) else os.readlink(path) if stat.S_ISLNK(mode) else path.read_text(errors="replace")
        )
        found[str(path.relative_to(root))] = f"{stat.filemode(mode)} {what}"
    return found


def check_every_moment(
    root: Path,
    make: Callable[[Path], object],
    act: Callable[[Path], Any],
    same: Callable[[dict[str, str]], dict[str, str]] = dict,
    ignored: str = "",
) -> int:
    """Kill ``act`` before each change in turn; ``act`` alone must then lead to the same value and files as without a kill.

    make: fills the empty folder ``root`` as it is before. same: removes from what ``tree`` found what differs from run to run.
    ignored: a regular expression for paths whose changes are not tried.
    Returns the number of changes.
    """

    def begin() -> None:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        make(root)

    begin()
    _ended, expected = run(root, act)
    wanted = same(tree(root))
    for number in range(1, MOST):
        begin()
        ended, _value = run(root, act, number, ignored)
        if ended:
            return number - 1
        left = sorted(tree(root))
        try:
            _ended, value = run(root, act)
        except AssertionError as error:
            raise AssertionError(f"after a kill at change {number}, which left {left}: {error}") from None
        found = same(tree(root))
        if (value, found) != (expected, wanted):
            differs = {
                name: (found.get(name), wanted.get(name))
                for name in {*found, *wanted}
                if found.get(name) != wanted.get(name)
            }
            raise AssertionError(
                f"after a kill at change {number}, which left {left}: {value!r} instead of {expected!r}, files {differs}"
            )
    raise AssertionError(f"more than {MOST} changes")
