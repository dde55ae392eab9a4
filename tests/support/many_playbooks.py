# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many runs of ``ansible-playbook``, two at a time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Sequence

from .migration import Run, environment
from .warm import WarmProcess

AT_A_TIME = 2
SECONDS = 280
PROGRAM = str(Path(sys.executable).with_name("ansible-playbook"))


def run_all(commands: Sequence[Sequence[str]], folders: Sequence[Path], through: Sequence[str] = ()) -> list[Run]:
    """Run them all, each with the arguments of a command in its folder; ``through``: a command that runs another one."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(lambda words, folder: _run(words, folder, through), commands, folders))


def _run(words: Sequence[str], folder: Path, through: Sequence[str]) -> Run:
    # Not in the folder, where the test looks for what the run has left.
    with tempfile.NamedTemporaryFile() as output:
        if through:
            command = [*through, PROGRAM, *words]
            code = subprocess.run(
                command,
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=SECONDS,
            ).returncode
        else:
            path = Path(output.name)
            code = WarmProcess("playbook", [PROGRAM, *words], cwd=folder, env=environment(), stdout=path).wait(SECONDS)
        return Run(code, Path(output.name).read_text(encoding="utf-8"))
