# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server side of ``warm``: a process that has imported Ansible, and forks one process for each request.

Importing Ansible takes longer than most playbooks and modules of a test. It is started with the path of its socket, and ends
when its standard input is closed. A request is one line of JSON; the answers are the lines with the process ID and the exit code.
"""
# ruff: noqa: SLF001 - Ansible has no public names for what is used here

from __future__ import annotations

import atexit
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

import warm_playbook
from ansible.cli.playbook import PlaybookCLI
from ansible.module_utils._internal import _ansiballz
from ansible.module_utils._internal._ansiballz import _loader
from ansible.utils.path import cleanup_tmp_file

# What every playbook of a test loads; the plugin loader takes what is imported already.
PLUGINS = (
    "action.assert",
    "action.debug",
    "action.gather_facts",
    "action.normal",
    "action.set_fact",
    "cache.memory",
    "callback.default",
    "callback.minimal",
    "connection.local",
    "filter.core",
    "filter.mathstuff",
    "filter.urls",
    "filter.urlsplit",
    "inventory.auto",
    "inventory.host_list",
    "inventory.ini",
    "inventory.yaml",
    "lookup.first_found",
    "lookup.template",
    "lookup.vars",
    "shell.sh",
    "strategy.linear",
    "test.core",
    "test.files",
    "test.mathstuff",
    "test.uri",
    "vars.host_group_vars",
)


def serve(address: str) -> None:
    """Answer requests until standard input is closed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin.buffer.raw, selectors.EVENT_READ)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for key, _events in selector.select():
            if key.fileobj is listener:
                _begin(listener.accept()[0], selector)
            elif key.data is None:
                return
            else:
                _end(key, selector)


def _begin(connection: socket.socket, selector: selectors.BaseSelector) -> None:
    request = json.loads(connection.makefile().readline())
    pid = os.fork()
    if pid == 0:
        _become(request)
    connection.sendall(f"{pid}\n".encode())
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))


def _end(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
    pid, connection = key.data
    selector.unregister(key.fileobj)
    os.close(key.fd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    # A test that was interrupted doesn't ask any more.
    with suppress(OSError), connection:
        connection.sendall(f"{code}\n".encode())


def _become(request: dict[str, Any]) -> NoReturn:
    """Run the playbook or the module as a process of its own would."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, name, mode in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY)):
            opened = os.open(request[name], mode | (os.O_APPEND if number else 0))
            os.dup2(opened, number)
            os.close(opened)
        # They own the descriptors for as long as the process lives.
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        time.tzset()
        # The folder is shared by all processes of this server, which removes it.
        atexit.unregister(cleanup_tmp_file)
        try:
            sys.argv = request["arguments"]
            if request["kind"] == "playbook":
                PlaybookCLI.cli_executor(sys.argv)
            else:
                _run_module(sys.argv[0])
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        raise
    finally:
        os._exit(code)


def _run_module(name: str) -> None:
    """A module of the collection, with its options in standard input."""
    _loader.run_module(
        json_params=sys.stdin.read().encode(),
        profile=warm_playbook.PROFILE,
        module_fqn=name,
        modlib_path="",
        extensions={},
    )


if __name__ == "__main__":
    # In place of this script's folder: where a module finds the collection.
    sys.path[0] = str(warm_playbook.ROOT / ".cache" / "link")
    for plugin in PLUGINS:
        importlib.import_module(f"ansible.plugins.{plugin}")
    importlib.import_module(f"{_ansiballz.__name__}._loader")
    warm_playbook.prepare()
    serve(sys.argv[1])
