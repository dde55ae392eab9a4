# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd unit of a process, and commands that stop and start a service. These commands need root for a service of systemd."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Sequence

from ..common.errors import MigrationError
from . import programs, system_account

SERVICE = ".service"
# A server that writes gigabytes of dirty pages before it stops takes minutes.
COMMAND_SECONDS = 900.0
# What YAML reads as this text without quotes, in a list in brackets. A word such as "no" or "15" needs them.
_PLAIN = re.compile(r"(?!(?:true|false|yes|no|on|off|null|y|n)$)[A-Za-z/-][\w./@=+-]*", re.IGNORECASE)


def unit_of(pid: int) -> str:
    """The name of the systemd service whose main process is ``pid``; empty when there is none."""
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in groups:
        # "0::/system.slice/NAME.service" (version 2), "1:name=systemd:/system.slice/NAME.service" (version 1).
        _number, _controllers, path = line.split(":", 2)
        unit = Path(path).name
        if unit.endswith(SERVICE) and main_process(unit) == pid:
            return unit
    return ""


def main_process(unit: str) -> int:
    """The main process of a service; 0 when it has none, or this host has no systemd."""
    try:
        # Without D-Bus, systemd answers root only.
        with system_account.as_root():
            answer = programs.ask([programs.locate("systemctl", ""), "show", "--property=MainPID", unit])
    except (MigrationError, OSError):
        return 0
    value = answer.output.strip().partition("=")[2]
    return int(value) if answer.code == 0 and value.isdigit() else 0


def start_command(unit: str) -> str:
    """What a service runs, with its variables as the unit names them; empty where systemd doesn't tell."""
    try:
        with system_account.as_root():
            answer = programs.ask([programs.locate("systemctl", ""), "show", "--property=ExecStart", unit])
    except (MigrationError, OSError):
        return ""
    return answer.output


def suggestion(stop: Sequence[str], start: Sequence[str]) -> str:
    """A value of couch2pg_physical_commands in YAML, ready to paste."""
    return f"{{stop: {_yaml_list(stop)}, start: {_yaml_list(start)}}}"


def _yaml_list(command: Sequence[str]) -> str:
    """The words in brackets; those that YAML would read differently, in quotes."""
    words = [word if _PLAIN.fullmatch(word) else json.dumps(word, ensure_ascii=False) for word in command]
    return f"[{', '.join(words)}]"


def check_root(commands: Sequence[Sequence[str]]) -> None:
    """Raise MigrationError ``not_root`` when one of the commands needs root, and this process can't become root."""
    if os.getuid() != 0 and any(Path(command[0]).name == "systemctl" for command in commands):
        raise MigrationError(
            f"Only root may run {' '.join(commands[0])}. Nothing was changed. Set couch2pg_method: physical and couch2pg_become: true "
            "for this host, or give commands that this user may run: couch2pg_physical_commands: "
            f"{suggestion(['sudo', *commands[0]], ['sudo', *commands[-1]])}.",
            "not_root",
        )


def call(command: Sequence[str]) -> None:
    """Run a command that stops or starts a service, as root where this process can. Raises MigrationError ``service``."""
    with system_account.as_root():
        code, lines = programs.call(command, COMMAND_SECONDS)
    if code != 0:
        why = f"systemctl status --no-pager --full {command[-1]}, and " if Path(command[0]).name == "systemctl" else ""
        raise MigrationError(
            f"{' '.join(command)} failed (exit code {code}): {' '.join(lines[-5:]) or 'it printed nothing'}. "
            f"See {why}the server's log.",
            "service",
            command=list(command),
        )
