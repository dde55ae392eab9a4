# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the core and AnsibleModule: shared options, and the core's errors as ``fail_json``. Private to this collection."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Callable, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from . import job
from .connection import PSYCOPG2_IMPORT_ERROR, ConnectionSettings
from .errors import MigrationError
from .files import expand
from .limits import IO_CLASSES, Limits
from .progress_line import describe

CONNECTION_OPTIONS: dict[str, Any] = {
    "database": {"type": "str", "required": True},
    "login_host": {"type": "str", "default": ""},
    "login_port": {"type": "int", "default": 5432},
    "login_user": {"type": "str", "default": "postgres"},
    "login_password": {"type": "str", "no_log": True},
    "login_unix_socket": {"type": "str", "default": ""},
    "ssl_mode": {
        "type": "str",
        "default": "prefer",
        "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
    },
    "ca_cert": {"type": "path", "default": ""},
}
PROGRAM_OPTIONS: dict[str, Any] = {"bin_dir": {"type": "path", "default": ""}}
GENTLE_OPTIONS: dict[str, Any] = {
    "nice": {"type": "int", "default": 0},
    "io_class": {"type": "str", "default": "none", "choices": list(IO_CLASSES)},
    "rate_limit": {"type": "int", "default": 0},
}
OTHER_SERVER_OPTIONS: dict[str, Any] = {
    "missing_roles": {"type": "str", "default": "create", "choices": ["create", "revoke", "fail"]},
    "role_map": {"type": "dict", "default": {}},
    "function_search_path": {"type": "dict", "default": {}},
    "tablespaces": {"type": "str", "default": "keep", "choices": ["keep", "default"]},
    "extension_versions": {"type": "dict", "default": {}},
}
MIGRATION_OPTIONS: dict[str, Any] = {
    "migration_id": {"type": "str", "required": True},
    "state_dir": {"type": "path", "required": True},
}
_LOG: dict[str, Any] = {
    "type": "dict",
    "options": {
        "kind": {"type": "str", "required": True, "choices": ["journald", "docker", "compose", "file"]},
        "unit": {"type": "str"},
        "journal_dir": {"type": "path"},
        "container": {"type": "str"},
        "project_dir": {"type": "path"},
        "service": {"type": "str", "default": "cht-couch2pg"},
        "compose_files": {"type": "list", "elements": "str"},
        "env_files": {"type": "list", "elements": "str"},
        "path": {"type": "path"},
    },
    "required_if": [
        ["kind", "journald", ["unit"]],
        ["kind", "docker", ["container"]],
        ["kind", "compose", ["project_dir"]],
        ["kind", "file", ["path"]],
    ],
}
LOG_OPTIONS: dict[str, Any] = {"log": dict(_LOG, required=True), "since": {"type": "dict"}}
POSTGRES_OPTION: dict[str, Any] = {
    "type": "dict",
    "default": {},
    "options": {
        "host": {"type": "str"},
        "port": {"type": "int"},
        "database": {"type": "str"},
        "user": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "query": {"type": "str"},
    },
}
REACH_OPTIONS: dict[str, Any] = {
    "ca_cert": {"type": "path", "default": ""},
    "couchdb_server": {"type": "str", "default": ""},
    "login_host": {"type": "str", "default": ""},
    "login_port": {"type": "int"},
}
DEPLOYMENT_OPTIONS: dict[str, Any] = {
    "deployment": {
        "type": "dict",
        "default": {},
        "options": {
            "kind": {"type": "str", "default": "auto", "choices": ["auto", "systemd", "compose", "env_file", "none"]},
            "unit": {"type": "str"},
            "env_file": {"type": "path"},
            "project_dir": {"type": "path"},
            "service": {"type": "str"},
            "compose_files": {"type": "list", "elements": "str"},
            "env_files": {"type": "list", "elements": "str"},
            "container": {"type": "str"},
            "app_dir": {"type": "path"},
            "node": {"type": "path"},
            "start_command": {"type": "list", "elements": "str"},
            "stop_command": {"type": "list", "elements": "str"},
            "status_command": {"type": "list", "elements": "str"},
            "log": _LOG,
        },
    },
}
CUTOVER_OPTIONS: dict[str, Any] = {
    "side": {"type": "str", "default": "target", "choices": ["target", "source"]},
    "remembered": {"type": "list", "elements": "str", "default": []},
    "source": {
        "type": "dict",
        "required": True,
        "options": {
            "names": {"type": "list", "elements": "str", "required": True},
            "port": {"type": "int", "default": 5432},
            "database": {"type": "str", "required": True},
        },
    },
    "target": {
        "type": "dict",
        "required": True,
        "options": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 5432},
            "database": {"type": "str", "required": True},
        },
    },
    "passwords": {"type": "dict", "default": {}, "no_log": True},
    "source_passwords": {"type": "dict", "default": {}, "no_log": True},
    "role_map": {"type": "dict", "default": {}},
    "untested": {"type": "list", "elements": "str", "default": []},
    "ca_cert": {"type": "path", "default": ""},
}
JOB_OPTIONS: dict[str, Any] = {
    **MIGRATION_OPTIONS,
    "job_wait": {"type": "float"},
}


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
    options = module.params
    return ConnectionSettings(
        database=options["database"],
        host=options["login_host"],
        port=options["login_port"],
        user=options["login_user"],
        password=options["login_password"],
        unix_socket=options["login_unix_socket"],
        ssl_mode=options["ssl_mode"],
        ca_cert=options["ca_cert"],
    )


def gentle(module: AnsibleModule) -> Limits:
    """What the options of ``GENTLE_OPTIONS`` ask for; raises MigrationError ``limits``."""
    return Limits(**{name: module.params[name] for name in GENTLE_OPTIONS})


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


def run_job(
    module: AnsibleModule,
    spec: job.JobSpec,
    still_valid: Callable[[dict[str, Any]], bool],
    diff: Callable[[], dict[str, str]] | None = None,
) -> NoReturn:
    """End the module with the job's result.

    Starts or joins the job and waits for ``job_wait`` seconds (until it ends, without that option). One that still
    runs then is reported as ``job.status: running``: the same call again joins it. In check mode nothing is started.
    """
    folder = job.job_folder(module.params["state_dir"], module.params["migration_id"], spec.kind)

    def work() -> dict[str, Any]:
        if module.check_mode:
            return _foresee(folder, spec, still_valid, diff)
        state = job.start_or_join(folder, spec, still_valid)
        if state.status == "running":
            state = job.wait(folder, module.params["job_wait"], started=state.started)
        state.raise_if_failed()
        report = describe_job(state, spec.kind)
        if state.status == "running":
            return {"changed": True, "job": report}
        result = dict(state.result["value"], changed=state.started, job=report)
        if diff is not None and state.started:
            result["diff"] = diff()
        return result

    run(module, work)


def _foresee(
    folder: Any,
    spec: job.JobSpec,
    still_valid: Callable[[dict[str, Any]], bool],
    diff: Callable[[], dict[str, str]] | None,
) -> dict[str, Any]:
    """What a run would do: nothing when the job is done, else start, redo or join it."""
    state = job.check(folder, spec, still_valid)
    if state.status == "done" and still_valid(state.result["value"]):
        return dict(state.result["value"], changed=False, job=describe_job(state, spec.kind))
    foreseen: dict[str, Any] = {"changed": True, "job": describe_job(state, spec.kind)}
    if diff is not None:
        foreseen["diff"] = diff()
    return foreseen


def describe_job(state: job.JobState, kind: str) -> dict[str, Any]:
    """The job as results show it."""
    return {
        "kind": kind,
        "status": state.status,
        "folder": state.folder,
        "started": state.started,
        "progress": state.progress,
        "line": describe(state.progress, time.time()) if state.status == "running" else "",
    }
