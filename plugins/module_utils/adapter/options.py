# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option sets that modules share. Private to this collection."""

from __future__ import annotations

from ..jobs.limits import IO_CLASSES
from .argument_spec import Option

CONNECTION_OPTIONS: dict[str, Option] = {
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
    "ssl_cert": {"type": "path", "default": ""},
    "ssl_key": {"type": "path", "default": "", "no_log": False},
    "connect_params": {"type": "dict", "default": {}},
    "maintenance_database": {"type": "str", "default": "postgres"},
    "login_container": {"type": "str", "default": ""},
}
# A string, because an option of type path can't have the value docker://IMAGE.
PROGRAM_OPTIONS: dict[str, Option] = {"bin_dir": {"type": "str", "default": ""}}
LIMIT_OPTIONS: dict[str, Option] = {
    "nice": {"type": "int", "default": 0},
    "io_class": {"type": "str", "default": "none", "choices": list(IO_CLASSES)},
    "rate_limit": {"type": "bytes", "default": "0"},
}
LEAVE_OUT_OPTIONS: dict[str, Option] = {
    "leave_out": {
        "type": "dict",
        "options": {
            "extensions": {"type": "list", "elements": "str", "default": []},
            "tables": {"type": "list", "elements": "str", "default": []},
        },
    },
}
OTHER_SERVER_OPTIONS: dict[str, Option] = {
    "missing_roles": {"type": "str", "default": "create", "choices": ["create", "revoke", "fail"]},
    "role_map": {"type": "dict", "default": {}},
    "function_search_path": {"type": "dict", "default": {}},
    "tablespaces": {"type": "str", "default": "keep", "choices": ["keep", "default"]},
    "extension_versions": {"type": "dict", "default": {}},
}
MIGRATION_OPTIONS: dict[str, Option] = {
    "migration_id": {"type": "str", "required": True},
    "state_dir": {"type": "path", "required": True},
}
_LOG: Option = {
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
LOG_OPTIONS: dict[str, Option] = {"log": {**_LOG, "required": True}, "since": {"type": "dict"}}
POSTGRES_OPTION: Option = {
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
REACH_OPTIONS: dict[str, Option] = {
    "ca_cert": {"type": "path", "default": ""},
    "couchdb_server": {"type": "str", "default": ""},
    "login_host": {"type": "str", "default": ""},
    "login_port": {"type": "int"},
}
DEPLOYMENT_OPTIONS: dict[str, Option] = {
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
# For modules that stop and start the server (method physical): they run as root, and act as the user that owns the files.
SERVER_OPTIONS: dict[str, Option] = {
    "method": {"type": "str", "default": "archive", "choices": ["archive", "stream", "physical"]},
    "commands": {
        "type": "dict",
        "options": {"stop": {"type": "list", "elements": "str"}, "start": {"type": "list", "elements": "str"}},
    },
    "act_as": {"type": "str", "default": ""},
}
# For modules on the target's host that read the source's server themselves.
SOURCE_OPTIONS: dict[str, Option] = {
    "source": {"type": "dict", "required": True, "options": CONNECTION_OPTIONS},
    "tunnel": {
        "type": "dict",
        "options": {
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 22},
            "user": {"type": "str", "default": ""},
            "host_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "obstacles": {"type": "list", "elements": "str", "default": []},
            "source_host": {"type": "str", "default": ""},
        },
    },
    "archive": {"type": "path", "required": True},
}
JOB_OPTIONS: dict[str, Option] = {
    **MIGRATION_OPTIONS,
    "job_wait": {"type": "float"},
}
