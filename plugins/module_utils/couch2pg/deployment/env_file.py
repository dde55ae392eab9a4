# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg with its settings in a file that a shell sources, started by the operator's own commands."""

from __future__ import annotations

import shlex
from pathlib import Path

from ...common.errors import MigrationError
from ...common.redaction import Redactor
from ...host import kept_file
from ...host.programs import ASK_SECONDS, NOT_ENDED, call
from ..settings import Settings, style_of, unwanted
from . import env_shell, env_text
from .kinds import Deployment, Found, Plan


def read(deployment: Deployment) -> Found:
    """Read the deployment. Raises MigrationError ``settings_missing`` when its file doesn't exist."""
    path = Path(deployment.env_file)
    text = kept_file.read(path)
    if text is None:
        raise MigrationError(
            f"There is no file {path} on this host. Correct env_file in couch2pg_app.",
            "settings_missing",
            path=str(path),
        )
    variables = env_text.values(env_shell.parse(text, str(path)))
    problem = kept_file.open_to_all(path)
    app_dir = str(path.parent) if (path.parent / "node_modules").is_dir() else ""
    return Found(
        Settings(variables, style_of(variables)),
        is_running(deployment),
        app_dir=app_dir,
        problems=(problem,) if problem else (),
    )


def plan(deployment: Deployment, settings: Settings) -> Plan:
    """Change the lines of the file that set other values. The other lines stay."""
    path = Path(deployment.env_file)
    text = kept_file.read(path)

    def parse(some: str) -> list[env_text.Assignment]:
        return env_shell.parse(some, str(path))

    have = env_text.values(parse(text or ""))
    after = env_text.changed(text or "", parse, settings.variables, unwanted(have, settings.variables))
    return Plan(settings, (kept_file.Change(path, text, after),))


def is_running(deployment: Deployment) -> bool:
    """Whether couch2pg runs according to status_command; False without that command."""
    return bool(deployment.status_command) and _run(deployment.status_command)[0] == 0


def command(words: tuple[str, ...], name: str) -> None:
    """Run a command of the operator. Raises MigrationError ``commands_missing`` or ``command_failed``."""
    if not words:
        raise MigrationError(
            f"couch2pg_app has no {name}, which this kind of deployment (env_file) needs. Add it.",
            "commands_missing",
        )
    code, said = _run(words)
    if code != 0:
        raise MigrationError(
            f"{name} ended with code {code}: {said or 'no output'}. Run it yourself to see why: "
            f"{Redactor()(' '.join(map(shlex.quote, words)))}",
            "command_failed",
        )


def _run(words: tuple[str, ...]) -> tuple[int, str]:
    code, lines = call(words, ASK_SECONDS)
    if code == NOT_ENDED:
        return code, f"{lines[-1]}; a command that starts couch2pg must not wait for it"
    return code, Redactor()(lines[-1]) if lines else ""
