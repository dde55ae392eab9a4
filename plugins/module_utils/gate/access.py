# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The target's use of the gate: it logs in with its key, and closes the gate at the end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Mapping

from ..common.errors import MigrationError
from ..host.files import remove_tree
from . import forced_command, key


def begin(folder: Path, parameters: Mapping[str, Any], instead: str) -> Path:
    """Check that the source accepts the key in ``folder``; returns the file for ``ssh -F``.

    parameters: ``address``, ``port``, ``user``, ``host_keys``, ``silence`` and ``obstacles`` of the source.
    instead: a sentence that names another way. Raises MigrationError ``gate_refused`` or ``bad_word``.
    """
    configuration = key.configure(folder, parameters)
    answer = key.ask_gate(configuration, forced_command.CHECK)
    if forced_command.WELCOME in answer.output:
        return configuration
    message = answer.stderr.splitlines()[-1] if answer.stderr else "no message"
    where = f"{parameters['user']} at {parameters['address']}, port {parameters['port']}"
    if parameters.get("source_host"):
        where = f"{parameters['user']} at {parameters['source_host']}, through the controller"
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


def end(folder: Path) -> None:
    """Close the gate on the source and remove the key. If the source can't be reached, the next run closes the gate."""
    configuration = folder / key.CONFIGURATION
    if configuration.exists():
        with suppress(Exception):
            key.ask_gate(configuration, forced_command.CLOSE)
    remove_tree(folder)
