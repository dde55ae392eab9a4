# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module of the collection as Ansible would on a managed host, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Mapping

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
    name: str, options: Mapping[str, Any], *, check: bool = False, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The module's result. Fails the test when it isn't JSON, or shows the password that it was given."""
    arguments = {"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check}}
    done = subprocess.run(
        [sys.executable, "-m", f"{PACKAGE}.{name}"],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    secret = options.get("login_password")
    assert not secret or secret not in done.stdout + done.stderr, f"{name} shows the password"
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{name} said no JSON: {done.stdout}{done.stderr}") from None
    assert isinstance(result, dict)
    # The options as they were given say nothing about the result.
    result.pop("invocation", None)
    return result
