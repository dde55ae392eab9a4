# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that move a data directory one folder down, where no copy can lie beside it: the folder that it was takes the copy then."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Sequence

from ..host import services

NAME = "main"
# Characters that need no quotes in a shell, in a unit of systemd and in postgresql.conf.
_PLAIN = re.compile(r"[\w./+@:-]+")
# What PostgreSQL reads in the folder of postgresql.conf, which stays where the service looks for it.
_SETTINGS = "! -name '*.d' '(' ! -name '*.conf' -o -name postgresql.auto.conf ')'"


def commands(data: Path, config_file: Path, unit: str, stop: Sequence[str], start: Sequence[str]) -> str:
    """The commands for a shell of root, in one line; empty where they are unknown.

    data: the data directory. unit: of systemd, or empty. stop, start: what stops and starts the server.
    """
    if not (_PLAIN.fullmatch(str(data)) and _PLAIN.fullmatch(str(config_file))):
        return ""
    inside = data in config_file.parents
    started = services.start_command(unit) if unit else ""
    if inside and unit and str(data) not in started:
        # The unit takes the folder from PGDATA, and may check that there is a data directory before it starts the server.
        moved, settings = "", _drop_in(unit, data / NAME)
    elif inside:
        moved, settings = f" {_SETTINGS}", _setting(config_file, data / NAME)
    elif any(str(data) in word for word in start):
        return ""
    else:
        moved, settings = "", _setting(config_file, data / NAME)
    chosen = f"-mindepth 1 -maxdepth 1 ! -name {NAME} ! -name lost+found{moved}"
    steps = (
        shlex.join(stop),
        f"mkdir --mode=0700 {data / NAME}",
        f"chown --reference={data} {data / NAME}",
        f"find {data} {chosen} -exec mv --target-directory={data / NAME} '{{}}' +",
        settings,
        shlex.join(start),
    )
    return " && ".join(steps)


def _setting(config_file: Path, data: Path) -> str:
    return f"echo \"data_directory = '{data}'\" >>{config_file}"


def _drop_in(unit: str, data: Path) -> str:
    folder = f"/etc/systemd/system/{shlex.quote(unit)}.d"
    return (
        f"mkdir --parents {folder} && printf '[Service]\\nEnvironment=PGDATA={data}\\n' >{folder}/data_directory.conf && "
        "systemctl daemon-reload"
    )
