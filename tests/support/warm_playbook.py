# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible-playbook`` for tests: a module for a local host runs in a fork of Ansible's worker, not in a new Python.

Most of a short run's time goes into zip files of module code and into interpreters that import it. A fork has Ansible
imported already. The module gets the same arguments and prints the same JSON; the playbook, the roles, the action
plugins and the jobs are the real ones. A task with ``become`` or ``async``, or for a host that is not local, runs as usual.
"""
# ruff: noqa: SLF001 - Ansible has no public names for what is replaced here

from __future__ import annotations

import atexit
import gc
import hashlib
import importlib
import json
import marshal
import os
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import ansible
import ansible.module_utils._internal as module_internals
import jinja2
from ansible import constants
from ansible._internal._templating._engine import _TemplateCompileContext
from ansible._internal._templating._jinja_bits import AnsibleEnvironment
from ansible.cli.playbook import PlaybookCLI
from ansible.module_utils._internal._ansiballz import _loader
from ansible.module_utils.common.json import Direction, get_module_encoder
from ansible.plugins.action import ActionBase
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

PROFILE = "legacy"
ROOT = Path(__file__).parents[2]
# Compiled templates, by what they were made from.
TEMPLATES = ROOT / ".cache" / "templates"
SYNTAX = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
)
# Loaded before the first fork, so that no fork loads it again.
for needed in ("psycopg2.extras", "ansible.module_utils._internal._json._profiles._module_legacy_m2c"):
    importlib.import_module(needed)
compile_template = jinja2.Environment.compile
in_new_python = ActionBase._execute_module


def execute_module(
    self: Any,
    module_name: str | None = None,
    module_args: dict[str, Any] | None = None,
    *positional: Any,
    task_vars: dict[str, Any] | None = None,
    wrap_async: Any = False,
    **others: Any,
) -> Any:
    """Stands in for ``ActionBase._execute_module``."""
    name = module_name or self._task.action
    python_name = _python_name(self, name)
    environment: dict[str, str] = {}
    self._compute_environment_string(environment)
    unusual = (
        positional
        or wrap_async
        or self._task.async_val
        or self._connection.transport != "local"
        or self._connection.become
        or not self._is_pipelining_enabled("new")
    )
    if unusual or python_name is None:
        return in_new_python(
            self, module_name, module_args, *positional, task_vars=task_vars, wrap_async=wrap_async, **others
        )
    arguments = self._task.args if module_args is None else module_args
    self._update_module_args(
        name, arguments, task_vars or {}, ignore_unknown_opts=others.get("ignore_unknown_opts", False)
    )
    encoder = get_module_encoder(PROFILE, Direction.CONTROLLER_TO_MODULE)
    parameters = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, cls=encoder).encode()
    self._used_interpreter = f"#!{sys.executable}"
    result = _in_fork(python_name, parameters, environment, self._loader.get_basedir())
    parsed = self._parse_returned_data(result, PROFILE)
    if parsed.suppress_tmpdir_delete:
        self._cleanup_remote_tmp = False
    parsed.remove_internal_keys()
    return parsed.as_result_dict(for_round_trip=True)


def _python_name(action: Any, name: str) -> str | None:
    """What Python imports the module as; None for one that isn't ours or Ansible's own."""
    found = action._shared_loader_obj.module_loader.find_plugin_with_context(
        name, ".py", collection_list=action._task.collections
    )
    if not found.resolved:
        return None
    namespace, _dot, short = found.resolved_fqcn.rpartition(".")
    if namespace in ("ansible.builtin", "ansible.legacy"):
        return f"ansible.modules.{short}"
    return f"ansible_collections.{namespace}.plugins.modules.{short}" if namespace == "cht.couch2pg" else None


def _in_fork(python_name: str, parameters: bytes, environment: dict[str, str], folder: str) -> dict[str, Any]:
    """Run the module; returns what Ansible returns for a command."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        pid = os.fork()
        if pid == 0:
            _become_module(python_name, parameters, environment, folder, stdout, stderr)
        _pid, status = os.waitpid(pid, 0)
        texts = {}
        for name, stream in (("stdout", stdout), ("stderr", stderr)):
            stream.seek(0)
            texts[name] = stream.read().decode("utf-8", "replace")
    return {"rc": os.waitstatus_to_exitcode(status), **texts}


def _become_module(
    python_name: str, parameters: bytes, environment: dict[str, str], folder: str, stdout: IO[bytes], stderr: IO[bytes]
) -> NoReturn:
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        atexit._clear()
        os.dup2(stdout.fileno(), 1)
        os.dup2(stderr.fileno(), 2)
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - as long as the process
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        os.environ.update(environment)
        os.chdir(folder)
        module_internals.is_controller = False
        # The module imports the collection itself, as Python's own importer finds it: a job copies what its module loaded.
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _AnsibleCollectionFinder)]
        sys.path_hooks[:] = [hook for hook in sys.path_hooks if "ansible" not in repr(hook).lower()]
        sys.path_importer_cache.clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == "ansible_collections"]:
            del sys.modules[name]
        try:
            _loader.run_module(
                json_params=parameters, profile=PROFILE, module_fqn=python_name, modlib_path="", extensions={}
            )
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def compile_once(
    self: Any, source: Any, name: Any = None, filename: Any = None, raw: bool = False, defer_init: bool = False
) -> Any:
    """Stands in for ``Environment.compile`` of Jinja: each worker would compile the same templates again."""
    context = _TemplateCompileContext.current(optional=True)
    if not isinstance(source, str) or context is None or name or filename or raw or defer_init:
        return compile_template(self, source, name, filename, raw, defer_init)
    syntax = [getattr(self, option) for option in SYNTAX]
    versions = (sys.version, ansible.__version__, jinja2.__version__)
    key = repr((str(source), context.escape_backslashes, syntax, versions))
    path = TEMPLATES / hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    with suppress(OSError):
        return marshal.loads(path.read_bytes())
    code = compile_template(self, source, name, filename, raw, defer_init)
    half_done = path.with_suffix(f".{os.getpid()}")
    half_done.write_bytes(marshal.dumps(code))
    half_done.rename(path)
    return code


def prepare() -> None:
    """Replace what takes Ansible's time, in this process and in its forks."""
    ActionBase._execute_module = execute_module
    TEMPLATES.mkdir(parents=True, exist_ok=True)
    AnsibleEnvironment.compile = compile_once
    # Ansible asks for results every millisecond, which costs more time than the tasks.
    constants.DEFAULT_INTERNAL_POLL_INTERVAL = 0.01
    # The garbage collection of a worker would copy every page that it shares with its parent.
    gc.freeze()


if __name__ == "__main__":
    # In place of this script's folder: where a fork finds the collection.
    sys.path[0] = str(ROOT / ".cache" / "link")
    prepare()
    PlaybookCLI.cli_executor(["ansible-playbook", *sys.argv[1:]])
