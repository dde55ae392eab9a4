# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries an archive between two hosts over Ansible's own connections, through the memory of the controller."""

from __future__ import annotations

import shlex
import time
from typing import Any, Iterator

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.cht.couch2pg.plugins.module_utils.progress_line import amount, duration
from ansible_collections.cht.couch2pg.plugins.plugin_utils.job_action import INTERVALS
from ansible_collections.cht.couch2pg.plugins.plugin_utils.other_host import connect

# What is in memory at a time, a few times over.
PIECE = 8 * 1024 * 1024
# Whatever a login says comes before it.
BEGIN = "cht.couch2pg begins here\n"
# What is there is counted first: nobody else may have written meanwhile, and nothing may be doubled.
WRITE = '[ "$(wc -c <{path})" -eq {offset} ] && cat >>{path} && wc -c <{path}'
READ = "printf '%s\\n' '{begin}' && tail -c +{first} {path} | head -c {size}"


class ActionModule(ActionBase):
    """Action plugin of M(cht.couch2pg.archive_relay)."""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Asks the module what is missing, carries that, and asks again, until nothing is."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = self._task.args
        answer: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=variables)
        if answer.get("failed") or self._task.check_mode:
            return answer
        self._here = self._connection
        self._there: Any = None
        self._began = time.monotonic()
        self._carried = 0
        self._said = self._began
        self._intervals: Iterator[float] = iter(INTERVALS)
        self._pause = next(self._intervals)
        while not answer["complete"]:
            try:
                self._carry(answer, variables)
            except AnsibleConnectionFailure as error:
                return self._failure("interrupted", f"The connection to a host was lost ({error}).")
            except AnsibleError as error:
                return self._failure("relay_failed", f"The archive could not be carried further: {error}")
            finally:
                self._connection = self._here
            answer = self._execute_module(module_args=arguments, task_vars=variables)
            if answer.get("failed"):
                return answer
        return {"changed": self._carried > 0, "carried_bytes": self._carried}

    def _failure(self, code: str, sentence: str) -> dict[str, Any]:
        return {
            "failed": True,
            "changed": self._carried > 0,
            "code": code,
            "msg": f"{sentence.rstrip('.')}. Run again: what has arrived is kept.",
            "carried_bytes": self._carried,
        }

    def _carry(self, answer: dict[str, Any], variables: dict[str, Any]) -> None:
        arguments = self._task.args
        if self._there is None:
            self._there = connect(
                arguments["source_host"],
                bool(arguments.get("source_become")),
                arguments.get("source_become_user") or "",
                variables,
                self._task.dump_attrs(),
                self._play_context,
                self._templar,
            )
        total = answer["present"] + sum(segment["bytes"] - segment["offset"] for segment in answer["segments"])
        done = answer["present"]
        for segment in answer["segments"]:
            offset = segment["offset"]
            while offset < segment["bytes"]:
                size = min(self._piece(), segment["bytes"] - offset)
                self._write(f"{answer['partial']}/{segment['path']}", offset, self._read(segment["path"], offset, size))
                offset += size
                done += size
                self._carried += size
                self._keep_pace()
                self._show(segment["path"], done, total, variables)

    def _read(self, path: str, offset: int, size: int) -> bytes:
        """A piece of a file on the source."""
        self._connection = self._there
        place = shlex.quote(f"{self._task.args['source']['archive']}/{path}")
        begin = BEGIN.rstrip("\n")
        command = READ.format(begin=begin, first=offset + 1, path=place, size=size)
        output = self._run(command, b"\n")
        _login, found, data = output.partition(BEGIN.encode())
        if not found or len(data) < size:
            raise AnsibleError(f"{path} on the source is shorter than its manifest says.")
        return data[:size]

    def _write(self, path: str, offset: int, data: bytes) -> None:
        """Append a piece to a file on the target."""
        self._connection = self._here
        words = self._run(WRITE.format(path=shlex.quote(path), offset=offset), data).split()
        if not words or int(words[-1]) != offset + len(data):
            raise AnsibleError(f"{path} on the target was written by somebody else, or not in full.")

    def _run(self, command: str, data: bytes) -> bytes:
        # Bytes that aren't text survive the way to text and back.
        result = self._low_level_execute_command(command, in_data=data, encoding_errors="surrogate_or_strict")
        if result["rc"]:
            raise AnsibleError(
                result["stderr"].strip().splitlines()[-1] if result["stderr"].strip() else "a command failed"
            )
        return str(result["stdout"]).encode("utf-8", "surrogateescape")

    def _limit(self) -> int:
        return int(self._task.args.get("bandwidth_limit") or 0)

    def _piece(self) -> int:
        """Not more at once than a second's worth."""
        return min(PIECE, self._limit()) or PIECE

    def _keep_pace(self) -> None:
        if self._limit():
            time.sleep(max(self._carried / self._limit() - (time.monotonic() - self._began), 0))

    def _show(self, path: str, done: int, total: int, variables: dict[str, Any]) -> None:
        now = time.monotonic()
        fixed = float(self._templar.template(variables.get("couch2pg_progress_seconds", 0)))
        if now - self._said < (fixed or self._pause) or not self._templar.template(
            variables.get("couch2pg_show_progress", True)
        ):
            return
        self._said, self._pause = now, next(self._intervals, INTERVALS[-1])
        rate = self._carried / (now - self._began)
        line = (
            f"relay | {path} | {amount(done, 'bytes')} of {amount(total, 'bytes')} ({100 * done // total} %) | "
            f"{amount(int(rate), 'bytes')}/s | {duration((total - done) / rate)} left"
        )
        self._display.display(f"  {variables.get('inventory_hostname', '')} | transfer | {line}")
