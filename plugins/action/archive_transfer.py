# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name and shows its progress. With the way ``relay``, first carries the archive through the controller."""

from __future__ import annotations

import os
import shlex
import time
from typing import Any, cast

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.text.formatters import human_to_bytes
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.progress_line import amount, duration
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import relay
from ansible_collections.cht.couch2pg.plugins.plugin_utils.job_action import JobAction, JobAnswer, keep_alive
from ansible_collections.cht.couch2pg.plugins.plugin_utils.other_host import connect

# Bytes of a piece. A few copies of it are in memory at the same time.
PIECE = 8 * 1024 * 1024
# A lost connection is opened again, until this many attempts in a row have brought no data.
TRIES = 4
PAUSE_SECONDS = 3.0
SILENCE_SECONDS = 60
# Marks the beginning of the data. Anything that the login prints comes before it.
BEGIN = "cht.couch2pg begins here\n"
# Checks the size of the file first: another process may have written to it, and no piece may be appended twice.
WRITE = 'if [ "$(wc -c <{path})" -eq {offset} ]; then cat >>{path}; else cat >/dev/null; fi && wc -c <{path}'
READ = "printf '%s\\n' '{begin}' && tail -c +{first} {path} | head -c {size}"


class MissingAnswer(JobAnswer, relay.Missing):
    """The module's answer to ``missing_only``: what is missing, or a failure."""


class ActionModule(JobAction):
    """Action plugin of M(cht.couch2pg.archive_transfer)."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Carry everything that is missing to the module's host, then run the module; returns its result."""
        self._carried = 0
        self._variables = task_vars or {}
        if self._task.args.get("way") == "relay" and not self._task.check_mode:
            failure = self._relay()
            if failure:
                return dict(failure)
        result = super().run(tmp, task_vars)
        return dict(result, changed=result.get("changed", False) or self._carried > 0)

    def _relay(self) -> JobAnswer | None:
        """Ask the module for the missing bytes, copy them, and repeat until nothing is missing; return a failure, if any."""
        arguments = dict(self._task.args, missing_only=True)
        self._here = self._connection
        self._there: Any = None
        self._parent = os.getppid()
        self._began = time.monotonic()
        self._said = self._began
        self._pauses = self._intervals()
        self._pause = next(self._pauses)
        keep_alive(self._here, self._silence())
        failures = 0
        manifest_carried = False
        while True:
            carried = self._carried
            try:
                answer = cast("MissingAnswer", self._execute_module(module_args=arguments, task_vars=self._variables))
                if answer.get("failed"):
                    return answer
                if answer["complete"]:
                    return None
                # The target drops the manifest of another archive, and requests it again.
                for_manifest = any(segment["path"] == layout.MANIFEST for segment in answer["segments"])
                if for_manifest and manifest_carried:
                    return self._failure(
                        "other_archive",
                        "The archive on the source was replaced during this transfer. End the other dump there",
                    )
                self._carry(answer)
                manifest_carried = for_manifest
            except AnsibleConnectionFailure as error:
                failures = 1 if self._carried > carried else failures + 1
                if failures >= TRIES:
                    return self._failure("interrupted", f"The connection to a host was lost ({error}).")
                self._show("relay | connection lost, reconnecting", "transfer")
                time.sleep(PAUSE_SECONDS)
            except (AnsibleError, MigrationError) as error:
                return self._failure("relay_failed", f"The archive could not be copied: {error}")
            finally:
                self._connection = self._here

    def _failure(self, code: str, sentence: str) -> JobAnswer:
        return {
            "failed": True,
            "changed": self._carried > 0,
            "code": code,
            "msg": f"{sentence.rstrip('.')}. Run again: the transfer resumes.",
        }

    def _carry(self, answer: relay.Missing) -> None:
        arguments = self._task.args
        if self._there is None:
            self._there = connect(
                arguments["source_host"],
                bool(arguments.get("source_become")),
                arguments.get("source_become_user") or "",
                self._variables,
                self._task.dump_attrs(),
                self._play_context,
                self._templar,
            )
            keep_alive(self._there, self._silence())
        total = answer["present"] + sum(segment["bytes"] - segment["offset"] for segment in answer["segments"])
        done = answer["present"]
        for segment in relay.checked(answer["segments"]):
            offset = segment["offset"]
            while offset < segment["bytes"]:
                # Ansible's workers continue after ansible-playbook was killed, and would disturb the next run.
                if os.getppid() != self._parent:
                    raise AnsibleError("ansible-playbook has ended.")
                size, began = min(self._piece(), segment["bytes"] - offset), time.monotonic()
                self._write(f"{answer['partial']}/{segment['path']}", offset, self._read(segment["path"], offset, size))
                offset += size
                done += size
                self._carried += size
                self._keep_pace(size, began)
                self._show_relay(segment["path"], done, total)

    def _read(self, path: str, offset: int, size: int) -> bytes:
        """Read a piece of a file on the source."""
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
            raise AnsibleError(
                f"{path} on the target doesn't have the expected size. Another run may copy the same archive: end it, or wait for it."
            )

    def _run(self, command: str, data: bytes) -> bytes:
        # surrogate_or_strict preserves bytes that aren't valid text.
        result = self._low_level_execute_command(command, in_data=data, encoding_errors="surrogate_or_strict")
        if result["rc"]:
            said = str(result["stderr"]).strip().splitlines() or [f"a command failed with exit code {result['rc']}"]
            raise AnsibleError(said[-1])
        return str(result["stdout"]).encode("utf-8", "surrogateescape")

    def _silence(self) -> int:
        return int(self._task.args.get("silence") or SILENCE_SECONDS)

    def _limit(self) -> int:
        return int(human_to_bytes(self._task.args.get("bandwidth_limit") or 0))

    def _piece(self) -> int:
        """The size of a piece: at most the bytes of one second at the limit."""
        return min(PIECE, self._limit()) or PIECE

    def _keep_pace(self, size: int, began: float) -> None:
        # Pace each piece separately, so that time without a connection is not made up for.
        if self._limit():
            time.sleep(max(size / self._limit() - (time.monotonic() - began), 0))

    def _show_relay(self, path: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said < self._pause:
            return
        self._said, self._pause = now, next(self._pauses)
        rate = self._carried / (now - self._began)
        line = (
            f"relay | {path} | {amount(done, 'bytes')} of {amount(total, 'bytes')} ({100 * done // total} %) | "
            f"{amount(int(rate), 'bytes')}/s | {duration((total - done) / rate)} left"
        )
        self._show(line, "transfer")
