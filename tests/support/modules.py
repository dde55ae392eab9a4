# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module of the collection as Ansible would on a managed host, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from .warm import WarmProcess

if TYPE_CHECKING:
    from .clusters import Cluster

PACKAGE = "ansible_collections.cht.couch2pg.plugins.modules"


def login(cluster: Cluster, database: str, user: str = "postgres", password: str | None = None) -> dict[str, Any]:
    """The options that every module has for the connection."""
    return {
        "database": database,
        "login_host": cluster.host,
        "login_port": cluster.port,
        "login_user": user,
        "login_password": cluster.password if password is None else password,
    }


def run_module(
    name: str,
    options: Mapping[str, Any],
    *,
    check: bool = False,
    environment: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
    python: str = sys.executable,
) -> dict[str, Any]:
    """The module's result. Fails the test when it isn't JSON, or shows the password that it was given.

    ``through`` is a command that runs the one after it, such as ``with_mount`` returns; ``python`` the one that it finds there.
    """
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"_ansible_check_mode": check, **options}})
    # Where Python finds modules counts when it starts.
    if not through and python == sys.executable and "PYTHONPATH" not in (environment or {}):
        stdout, stderr = _run_warm(name, arguments, {**os.environ, **(environment or {})})
    else:
        done = subprocess.run(
            [*through, python, "-m", f"{PACKAGE}.{name}"],
            input=arguments,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **(environment or {})},
        )
        stdout, stderr = done.stdout, done.stderr
    secret = options.get("login_password")
    assert not secret or secret not in stdout + stderr, f"{name} shows the password"
    try:
        result = json.loads(stdout)
    except ValueError:
        raise AssertionError(f"{name} said no JSON: {stdout}{stderr}") from None
    assert isinstance(result, dict)
    # The options as they were given say nothing about the result.
    result.pop("invocation", None)
    return result


def _run_warm(name: str, arguments: str, environment: Mapping[str, str]) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        stdin, stdout, stderr = (Path(folder, stream) for stream in ("stdin", "stdout", "stderr"))
        stdin.touch(mode=0o600)
        stdin.write_text(arguments, encoding="utf-8")
        for path in (stdout, stderr):
            path.touch()
        module = f"{PACKAGE}.{name}"
        WarmProcess(
            "module", [module], cwd=Path.cwd(), env=environment, stdin=stdin, stdout=stdout, stderr=stderr
        ).wait()
        return stdout.read_text(encoding="utf-8"), stderr.read_text(encoding="utf-8")


def with_mount(folder: Path, options: str, fill: int = 0) -> list[str]:
    """A command that runs another one where a tmpfs with these options, with ``fill`` bytes in it, is at ``folder``.

    Only that command sees it, and nothing is left of it.
    """
    folder.mkdir(exist_ok=True)
    script = 'mount -t tmpfs -o "$1" none "$0" && head -c "$2" /dev/zero >"$0/fill"; shift 2; exec "$@"'
    if "ro" in options.split(","):
        script = 'mount -t tmpfs -o "$1" none "$0"; shift 2; exec "$@"'
    # An ordinary user may mount in a name space of its own.
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    return [*unshare, "sh", "-ec", script, str(folder), options, str(fill)]
