# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs in files, from a position on, whatever logrotate did meanwhile; how programs that keep logs are asked."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import LOG_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.byte_lines import LINE_LIMIT
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.journald import JournalLog
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.position import LogSource, Position
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.source import KINDS, open_source
from ansible_collections.cht.couch2pg.plugins.module_utils.host.programs import Output, locate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "couch2pg.log"


def source(path: Path) -> LogSource:
    return open_source({"kind": "file", "path": str(path)})


def read(path: Path, since: Position | None = None) -> tuple[list[bytes], Position, list[str]]:
    log = source(path)
    return list(log.lines(since)), log.after, log.notices


def add(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_since_a_position_only_what_is_new(path: Path) -> None:
    add(path, "one\ntwo\n")
    position = source(path).position()
    lines, after, notices = read(path)
    assert (lines, after, notices) == ([b"one", b"two"], position, [])
    add(path, "three\n")
    assert read(path, position)[0] == [b"three"]
    assert read(path, source(path).position())[0] == []


def test_a_position_before_the_first_line(path: Path) -> None:
    position = source(path).position()
    with pytest.raises(MigrationError, match=f"There is no log {path}") as caught:
        read(path, position)
    assert caught.value.code == "log_missing"
    add(path, "one\n")
    assert read(path, position)[0] == [b"one"]
    path.write_text("", encoding="utf-8")
    position = source(path).position()
    add(path, "two\n")
    assert read(path, position) == ([b"two"], source(path).position(), [])


def test_a_line_that_is_being_written_is_read_once_it_is_whole(path: Path) -> None:
    add(path, "one\ntw")
    lines, position, _notices = read(path)
    assert lines == [b"one"]
    assert position == source(path).position()
    add(path, "o\n")
    assert read(path, position)[0] == [b"two"]


def test_a_position_behind_an_endless_line(path: Path) -> None:
    add(path, "x" * (LINE_LIMIT * 3))
    position = source(path).position()
    add(path, "y\nnext\n")
    assert read(path, position)[0][-1] == b"next"


def move(path: Path) -> None:
    path.rename(f"{path}.1")


def copy_and_truncate(path: Path) -> None:
    shutil.copy(path, f"{path}.1")
    os.truncate(path, 0)


@pytest.mark.parametrize("rotate", [move, copy_and_truncate])
@pytest.mark.parametrize("new", ["four\n", "four, and more than there was before\n"])
def test_of_a_rotated_file_the_rest_is_found(path: Path, rotate: Callable[[Path], None], new: str) -> None:
    add(path, "one\ntwo\n")
    position = source(path).position()
    add(path, "three\n")
    rotate(path)
    add(path, new)
    lines, after, notices = read(path, position)
    assert lines == [b"three", new.strip().encode()]
    assert len(notices) == 1
    assert f"{path}.1 was read as well" in notices[0]
    assert read(path, after) == ([], after, [])


def test_a_file_that_was_rotated_twice(path: Path) -> None:
    add(path, "one\n")
    position = source(path).position()
    add(path, "two\n")
    path.rename(f"{path}.2")
    add(path, "three\n")
    path.rename(f"{path}.1")
    add(path, "four\n")
    # The order is that of the last change, whatever the clock's grain is.
    os.utime(f"{path}.2", (1, 1))
    lines, _after, notices = read(path, position)
    assert lines == [b"two", b"three", b"four"]
    assert len(notices) == 2


def test_what_is_lost_is_said(path: Path) -> None:
    add(path, "one\ntwo\n")
    position = source(path).position()
    with gzip.open(f"{path}.1.gz", "wb") as file:
        file.write(path.read_bytes())
    path.write_text("three\n", encoding="utf-8")
    lines, _after, notices = read(path, position)
    assert lines == [b"three"]
    assert "the lines before that were not found" in notices[0]


def test_a_file_that_grew_again_is_not_the_same(path: Path) -> None:
    add(path, "one\n")
    position = source(path).position()
    path.write_text("another, longer\n", encoding="utf-8")
    assert read(path, position)[0] == [b"another, longer"]


def test_a_compressed_file_between_is_named(path: Path) -> None:
    add(path, "one\n")
    position = source(path).position()
    path.rename(f"{path}.2")
    os.utime(f"{path}.2", (1, 1))
    with gzip.open(f"{path}.1.gz", "wb") as file:
        file.write(b"lost\n")
    add(path, "two\n")
    lines, _after, notices = read(path, position)
    assert lines == [b"two"]
    assert f"{path}.1.gz is compressed, and was not read." in notices


@pytest.mark.parametrize("place", ["", "/no/such/folder", "/fifo", "/one/log"])
def test_what_is_no_file_is_refused(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "one").write_text("", encoding="utf-8")
    with pytest.raises(MigrationError) as caught:
        read(Path(f"{tmp_path}{place}"))
    assert caught.value.code in ("log_unreadable", "log_missing")
    assert str(tmp_path) in caught.value.message


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "docker"}, "not a position in this log: its kind is 'docker', and that of the log is 'file'"),
        ({"path": "/other"}, "its path is '/other'"),
        ({"offset": "many"}, "its offset is 'many', not a number"),
        ({"offset": None}, "its offset is None, not a number"),
    ],
)
def test_a_position_of_something_else_is_refused(path: Path, change: dict[str, Any], why: str) -> None:
    add(path, "one\n")
    position = {**source(path).position(), **change}
    with pytest.raises(MigrationError, match=why) as caught:
        read(path, position)
    assert caught.value.code == "position"
    with pytest.raises(MigrationError, match="it has no path"):
        read(path, {"kind": "file"})


def test_a_position_survives_templating(path: Path) -> None:
    add(path, "one\n")
    position = {name: str(value) for name, value in source(path).position().items()}
    add(path, "two\n")
    assert read(path, position)[0] == [b"two"]


def test_every_kind_that_the_options_offer_is_opened() -> None:
    offered = LOG_OPTIONS["log"]["options"]["kind"]["choices"]
    log = {
        "unit": "couch2pg",
        "container": "c0ffee",
        "project_dir": "/opt",
        "service": "cht-couch2pg",
        "path": "/var/log/couch2pg.log",
    }
    assert [open_source({**log, "kind": kind}).kind for kind in offered] == offered
    assert sorted(KINDS) == sorted(offered)


def test_how_the_journal_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "journalctl"
    program.write_text("", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    command = JournalLog("couch2pg@cht.service", "/var/log/journal/remote").command("--after-cursor=s=1")
    assert command == [
        str(program),
        "--unit=couch2pg@cht.service",
        "--output=cat",
        "--no-pager",
        "--quiet",
        "--show-cursor",
        "--directory=/var/log/journal/remote",
        "--after-cursor=s=1",
    ]


def test_a_program_that_says_nothing_is_ended() -> None:
    with pytest.raises(MigrationError, match="printed nothing") as caught:
        list(Output(["sleep", "30"], silence=0.1))
    assert caught.value.code == "program_hangs"


def test_a_program_that_nobody_listens_to_is_ended() -> None:
    output = Output(["sh", "-c", "echo $$; exec yes"])
    chunks = iter(output)
    number = int(next(chunks).split()[0])
    chunks.close()  # type: ignore[attr-defined]
    assert not Path(f"/proc/{number}").exists()


def test_what_a_program_says_beside_its_output() -> None:
    output = Output(["sh", "-c", "echo out; echo beside >&2; exit 3"])
    assert (list(output), output.code, output.stderr) == ([b"out\n"], 3, "beside")
    merged = Output(["sh", "-c", "echo out; echo beside >&2"], merged=True)
    assert (b"".join(merged), merged.code, merged.stderr) == (b"out\nbeside\n", 0, "")


def test_a_program_that_is_not_here_is_named() -> None:
    with pytest.raises(MigrationError, match="keeper-of-logs was not found on this host") as caught:
        locate("keeper-of-logs", "Get it.")
    assert caught.value.code == "program_missing"
