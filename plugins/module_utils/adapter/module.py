# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the core and AnsibleModule: shared options, and the core's errors as ``fail_json``. Private to this collection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..common.errors import MigrationError
from ..host.files import expand
from ..postgres.connection import PSYCOPG2_IMPORT_ERROR, ConnectionSettings


def make_module(*option_sets: dict[str, Any], **arguments: Any) -> AnsibleModule:
    """An AnsibleModule that has the options of every set."""
    options: dict[str, Any] = {}
    for option_set in option_sets:
        options.update(option_set)
    module = AnsibleModule(argument_spec=options, supports_check_mode=True, **arguments)
    name = module.params.get("migration_id")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        module.fail_json(
            msg=f"migration_id {name!r} can't name a folder: use letters, digits, dot, dash and underscore.",
            code="migration_id",
        )
    return module


def require_psycopg2(module: AnsibleModule) -> None:
    """Fail the module with the name of the package when psycopg2 is missing."""
    if PSYCOPG2_IMPORT_ERROR is not None:
        module.fail_json(
            msg=missing_required_lib("psycopg2")
            + " On Debian and Ubuntu the package is python3-psycopg2, on Red Hat python3-psycopg2 too.",
            code="psycopg2_missing",
            exception=PSYCOPG2_IMPORT_ERROR,
        )


def connection_settings(module: AnsibleModule) -> ConnectionSettings:
    """Where the options of ``CONNECTION_OPTIONS`` point; fails the module when psycopg2 is missing."""
    require_psycopg2(module)
    return ConnectionSettings.from_options(module.params)


def fail(module: AnsibleModule, error: MigrationError, **extra: Any) -> NoReturn:
    """End the module with the core's error."""
    module.fail_json(msg=error.message, code=error.code, details=error.details, **extra)


def migration_state(module: AnsibleModule) -> Path:
    """The folder of this migration's state on the managed host."""
    return expand(module.params["state_dir"]) / str(module.params["migration_id"])


def foresee_or_fail(module: AnsibleModule, error: MigrationError) -> NoReturn:
    """In check mode, what an earlier phase has yet to make is no error: this phase would then do its work."""
    if module.check_mode and error.code in ("database_missing", "manifest_missing", "not_verified"):
        module.exit_json(changed=True, msg=f"An earlier phase has to run first. {error.message}")
    fail(module, error)


def run(module: AnsibleModule, work: Callable[[], dict[str, Any]]) -> NoReturn:
    """End the module with what ``work`` returns, or with its error."""
    try:
        result = work()
    except MigrationError as error:
        fail(module, error)
    except OSError as error:
        fail(module, MigrationError.from_system(error))
    module.exit_json(**result)
