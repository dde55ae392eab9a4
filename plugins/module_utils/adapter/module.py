# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect the core to AnsibleModule: shared options, and errors of the core as ``fail_json``. Private to this collection."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Mapping, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..common import restart
from ..common.errors import MigrationError
from ..host.files import expand
from ..host.system_account import acting_as, as_root
from .argument_spec import Option
from .masking import with_names
from .record_option import check_record, write_outcome


def make_module(*option_sets: dict[str, Option], **arguments: Any) -> AnsibleModule:
    """Create an AnsibleModule with the options of all ``option_sets``; checks migration_id, paths, and the record's database."""
    options: dict[str, Option] = {}
    for option_set in option_sets:
        options.update(option_set)
    module = AnsibleModule(argument_spec=options, supports_check_mode=True, **arguments)
    name = module.params.get("migration_id")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        module.fail_json(
            msg=f"couch2pg_migration_id {name!r} is not a valid folder name. Use letters, digits, dots, dashes and underscores. "
            "Without it, couch2pg_database is the name: set couch2pg_migration_id where that can't name a folder.",
            code="migration_id",
        )
    relative = _relative_paths(options, module.params)
    if relative:
        module.fail_json(msg=" ".join(relative), code="relative_path")
    try:
        check_record(module)
    except MigrationError as error:
        fail(module, error)
    return module


def _relative_paths(specs: Mapping[str, Option], values: Mapping[str, Any]) -> list[str]:
    """A sentence for each relative path: it would lead to the folder where Ansible happens to run the module."""
    sentences = []
    for name, spec in specs.items():
        value = values.get(name)
        if value == "" and spec["type"] == "path" and spec.get("required"):
            sentences.append(
                f"{name} is empty. Nothing was changed. Set couch2pg_{name}, or the role's or task's own {name}."
            )
        if not value:
            continue
        if spec["type"] == "path" and not Path(value).is_absolute():
            sentences.append(
                f"{name} must be an absolute path, such as /srv/{Path(value).name} or ~/{Path(value).name}, and it is {value!r}. "
                f"Nothing was changed. Correct couch2pg_{name}, or the role's or task's own {name}."
            )
        for inner in value if isinstance(value, list) else [value]:
            if "options" in spec and isinstance(inner, dict):
                sentences += _relative_paths(spec["options"], inner)
    return sentences


def named(module: AnsibleModule, message: str) -> str:
    """The message with the name of the module's migration in each command."""
    name = module.params.get("migration_id")
    return restart.of_migration(message, name) if name else message


def fail(module: AnsibleModule, error: MigrationError, **extra: Any) -> NoReturn:
    """Fail the module with an error of the core."""
    message = " ".join(filter(None, (error.message, error.details.get("remedy"))))
    result = dict(extra, failed=True, msg=named(module, message), code=error.code, details=error.details)
    result = with_names(module, result)
    # If the record can't be written, the first error is still the one to show.
    with suppress(MigrationError, OSError), acting_as(module.params.get("act_as") or ""):
        result = write_outcome(module, result)
    module.fail_json(**result)


def migration_state(module: AnsibleModule) -> Path:
    """The folder of this migration's state on the managed host."""
    return expand(module.params["state_dir"]) / str(module.params["migration_id"])


def predict_or_fail(module: AnsibleModule, error: MigrationError) -> NoReturn:
    """Fail the module; but in check mode report a change if only the result of an earlier phase is missing."""
    if module.check_mode and error.code in ("database_missing", "manifest_missing", "not_verified"):
        # As root, because Ansible may still have to load its own code, which only root may be able to read.
        with as_root():
            found = {"changed": True, "msg": f"An earlier phase has to run first. {error.message}"}
            module.exit_json(**with_names(module, found))
    with as_root():
        fail(module, error)


def run(module: AnsibleModule, work: Callable[[], Mapping[str, object]]) -> NoReturn:
    """End the module with the result of ``work``, or with its error. With the option ``act_as``, root works as that user.

    ``warnings`` in the result are shown as Ansible's.
    """
    try:
        # Only the work runs as that user. Afterwards, Ansible may have to load its own code, which belongs to root.
        with acting_as(module.params.get("act_as") or ""):
            result = write_outcome(module, with_names(module, work()))
    except MigrationError as error:
        fail(module, error)
    except OSError as error:
        fail(module, MigrationError.from_system(error))
    for finding in result.get("findings", ()):
        finding["message"] = named(module, finding["message"])
    for text in result.pop("warnings", ()):
        module.warn(named(module, text))
    module.exit_json(**result)
