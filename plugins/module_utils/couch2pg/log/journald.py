# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a systemd unit in the journal. A position is a cursor of the journal."""

from __future__ import annotations

import shlex
from typing import Iterator

from ...common.byte_lines import Lines
from ...common.errors import MigrationError
from ...host.programs import Output, locate
from ...host.system_account import myself
from .position import LogSource, Position, check

_JOIN = "sudo usermod --append --groups systemd-journal {user} lets that user read it from the next login on; then run again."
_TEXT = "--output=cat"
_CURSOR = b"-- cursor: "


class JournalLog(LogSource):
    """The messages of ``unit``, and systemd's messages about it. ``journal_dir``: another journal than this host's."""

    kind = "journald"

    def __init__(self, unit: str, journal_dir: str = "") -> None:
        super().__init__()
        self._unit = unit
        self._journal_dir = journal_dir

    def command(self, *more: str) -> list[str]:
        """The command that prints the log's text, then a cursor."""
        program = locate(
            "journalctl",
            "If systemd is not the init system of this host, say where couch2pg's log is: couch2pg_app: {log: {kind: file, path: PATH}}.",
        )
        command = [program, f"--unit={self._unit}", _TEXT, "--no-pager", "--quiet", "--show-cursor"]
        return [*command, *([f"--directory={self._journal_dir}"] if self._journal_dir else []), *more]

    def position(self) -> Position:
        """The position of the unit's last entry; without any entry, a position before everything that follows."""
        self._read_all(["--lines=1"], self._at(""))
        return self.after

    def lines(self, since: Position | None) -> Iterator[bytes]:
        """The lines. Raises MigrationError ``log_unreadable`` with journalctl's message."""
        start = check(since, self._at("")) if since else self._at("")
        yield from self._read(self._from(start["cursor"]) if start["cursor"] else [], start)
        if self.after["cursor"] == "":
            self.notices.append(
                f"The journal has no line of {self._unit} that {myself()} may read. systemctl list-units --all '*couch2pg*' shows the "
                f"unit's name. Where that is right: {_JOIN.format(user=myself())}"
            )

    def _from(self, cursor: str) -> list[str]:
        """The option of journalctl that skips everything up to the position, including the position's own entry."""
        # With --after-cursor, journalctl 252 skips one entry too many when the cursor's own entry is gone. So look for that entry first.
        command = [word for word in self.command(f"--cursor={cursor}") if word not in (_TEXT, "--show-cursor")]
        output = iter(Output([*command, "--output=export"]))
        first = next(output, b"")
        output.close()
        if first.startswith(f"__CURSOR={cursor}\n".encode()) or not first:
            return [f"--after-cursor={cursor}"]
        self.notices.append(
            f"The journal was rotated: the lines of {self._unit} between the position and its oldest one are missing."
        )
        return [f"--cursor={cursor}"]

    def _read_all(self, more: list[str], start: Position) -> None:
        for _line in self._read(more, start):
            pass

    def _read(self, more: list[str], start: Position) -> Iterator[bytes]:
        output = Output(self.command(*more))
        self.after = start
        held: bytes | None = None
        for line in Lines(output, unfinished_too=True):
            if held is not None:
                yield held
            held = line
        # Without an entry there is no cursor, and journalctl 252 ends with code 1 and no message.
        empty = output.code == 1 and held is None and not output.stderr
        if output.code != 0 and not empty:
            said = (output.stderr or f"exit code {output.code}").rstrip(".")
            remedy = f"This command must work: {shlex.join(self.command(*more))}"
            if "ermission" in said:
                remedy = _JOIN.format(user=myself())
            elif "cursor" in said:
                remedy = "The position is not one of this journal: pass one that this module returned for it, or none."
            raise MigrationError(
                f"journalctl can't read the log of {self._unit}: {said}. {remedy}",
                "log_unreadable",
                unit=self._unit,
            )
        # The cursor is the last line, and only printed after an entry.
        if held is not None and held.startswith(_CURSOR):
            self.after = self._at(held[len(_CURSOR) :].decode(errors="replace").strip())
        elif held is not None:
            yield held

    def _at(self, cursor: str) -> Position:
        return {"kind": self.kind, "unit": self._unit, "journal_dir": self._journal_dir, "cursor": cursor}
