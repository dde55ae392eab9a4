# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The target's use of the gate: it logs in with its key, and closes the gate at the end."""

from __future__ import annotations

import re
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Mapping

from ..common.errors import MigrationError
from ..host import programs
from ..host.files import remove_tree
from . import forced_command, key

# Attempts to log in before a lost connection is an error, and the pause between them.
TRIES = 4
PAUSE_SECONDS = 3.0
# ssh's exit code when it could not run the command.
_SSH_FAILED = 255
_REFUSED = re.compile("permission denied|host key|unable to negotiate|too many authentication failures", re.IGNORECASE)
# So ends a login that sshd doesn't allow after all, for example because of PAM. If it does so each time, the connection is not the cause.
_ENDED_BY_SSHD = re.compile(r"Connection closed by \S+ port \d+")


def begin(folder: Path, parameters: Mapping[str, Any], instead: str) -> Path:
    """Check that the source accepts the key in ``folder``; returns the file for ``ssh -F``.

    parameters: ``address``, ``port``, ``user``, ``host_keys``, ``silence`` and ``obstacles`` of the source.
    instead: a sentence that names another way. Raises MigrationError ``gate_refused``, ``bad_word``, or ``interrupted`` when the
    connection is lost at each of several attempts.
    """
    configuration = key.configure(folder, parameters)
    for attempt in range(1, TRIES + 1):
        answer = _ask(configuration)
        if forced_command.WELCOME in answer.output:
            return configuration
        if _is_refusal(answer):
            break
        if attempt < TRIES:
            time.sleep(PAUSE_SECONDS)
    message = answer.stderr.splitlines()[-1] if answer.stderr else "no message"
    where = f"{parameters['user']} at {parameters['address']}, port {parameters['port']}"
    if parameters.get("source_host"):
        where = f"{parameters['user']} at {parameters['source_host']}, through the controller"
    if not (_is_refusal(answer) or _ENDED_BY_SSHD.fullmatch(answer.stderr)):
        raise MigrationError(
            f"The connection to the source's sshd was lost during the login as {where}: {message}. Run again. {instead}",
            "interrupted",
            stderr=answer.stderr[:2000],
        )
    if "host key" in answer.stderr.lower():
        why = "A machine other than the one that Ansible connects to answers there. Set couch2pg_transfer_address."
    elif parameters["obstacles"]:
        why = " ".join(parameters["obstacles"])
    else:
        why = (
            "Check in its sshd's configuration that it accepts keys (PubkeyAuthentication), from which file "
            "(AuthorizedKeysFile), and that it admits this user (AllowUsers, AllowGroups, a locked account)."
        )
    raise MigrationError(
        f"The source's sshd refuses the login as {where}: {message}. {why} {instead}",
        "gate_refused",
        stderr=answer.stderr[:2000],
        obstacles=parameters["obstacles"],
    )


def _ask(configuration: Path) -> programs.Answer:
    try:
        return key.ask_gate(configuration, forced_command.CHECK)
    except subprocess.TimeoutExpired:
        return programs.Answer(_SSH_FAILED, "", f"no answer within {programs.ASK_SECONDS} s")


def _is_refusal(answer: programs.Answer) -> bool:
    """Whether another attempt would have the same answer."""
    return answer.code != _SSH_FAILED or bool(_REFUSED.search(answer.stderr))


def end(folder: Path) -> None:
    """Close the gate on the source and remove the key. If the source can't be reached, the next run closes the gate."""
    configuration = folder / key.CONFIGURATION
    if configuration.exists():
        with suppress(Exception):
            key.ask_gate(configuration, forced_command.CLOSE)
    remove_tree(folder)
