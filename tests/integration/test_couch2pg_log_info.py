# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's log from a file, a real journal and Docker's command line; and one of 500 MB in constant memory."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.cases import rarely
from support.modules import run_module
from support.systemd import SystemdHost

RECORDED = Path(__file__).resolve().parents[1] / "recorded" / "couch2pg"
PASSWORD = "s3cr@t / with:all%$ of it"
BANNER = f"Starting couch2pg process\nSet postgres URL to postgres://couch2pg:{PASSWORD}@db.example:5432/cht\n"
JOURNAL_REMOTE = [Path("/usr/lib/systemd/systemd-journal-remote"), Path("/lib/systemd/systemd-journal-remote")]


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.log").read_text(encoding="utf-8")


def ask(log: dict[str, Any], environment: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    """The module's result, which never shows the password, and is the same in check mode."""
    options = {"log": log, "secrets": [PASSWORD], **options}
    result = run_module("couch2pg_log_info", options, environment=environment)
    assert result == run_module("couch2pg_log_info", options, environment=environment, check=True)
    assert "s3cr" not in json.dumps(result)
    assert result.get("changed", False) is False
    return result


def test_a_file_before_and_after_a_start(tmp_path: Path) -> None:
    path = tmp_path / "couch2pg.log"
    path.write_text(recorded("couchdb-away"), encoding="utf-8")
    log = {"kind": "file", "path": str(path)}
    before = ask(log, position_only=True)
    assert before["summary"] is None
    with path.open("a", encoding="utf-8") as file:
        file.write(BANNER + recorded("run-first"))
    since = ask(log, since=before["position"])
    summary = since["summary"]
    assert (summary["starts"], summary["exits"], summary["runs_completed"]) == (1, 0, 1)
    assert (summary["changes"], summary["errors"], since["notices"]) == (2041, [], [])
    assert ask(log, since=since["position"])["summary"]["lines"] == 0
    whole = ask(log)["summary"]
    assert [seen["kind"] for seen in whole["errors"]] == ["couchdb_away"]
    assert (whole["starts"], whole["exits"]) == (2, 1)


def test_an_error_comes_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "couch2pg.log"
    path.write_text(BANNER + recorded("matview-unpopulated"), encoding="utf-8")
    (seen,) = ask({"kind": "file", "path": str(path)}, last_lines=2)["summary"]["errors"]
    assert seen["kind"] == "matview_unpopulated"
    assert seen["subjects"] == ["contactview_metadata"]
    assert "REFRESH MATERIALIZED VIEW" in seen["remedy"]


def test_the_banner_is_shown_without_the_password(tmp_path: Path) -> None:
    path = tmp_path / "couch2pg.log"
    path.write_text(BANNER, encoding="utf-8")
    for secrets in ([], [PASSWORD]):
        shown = ask({"kind": "file", "path": str(path)}, secrets=secrets)["summary"]["last_lines"]
        assert shown == ["Starting couch2pg process", "Set postgres URL to postgres://***@db.example:5432/cht"]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ({"kind": "file"}, "path"),
        ({"kind": "journald"}, "unit"),
        ({"kind": "docker"}, "container"),
        ({"kind": "compose"}, "project_dir"),
        ({"kind": "syslog"}, "kind must be one of"),
        ({"kind": "file", "path": "/no/such/log"}, "There is no log /no/such/log on this host."),
        ({"kind": "compose", "project_dir": "/no/such/folder"}, "is not a folder on this host"),
    ],
)
def test_what_is_wrong_is_said(log: dict[str, Any], said: str) -> None:
    result = ask(log)
    assert result["failed"] is True
    assert said in result["msg"]


def write_journal(folder: Path, number: int, text: str, unit: str = "couch2pg.service") -> None:
    """A journal with an entry for each line, as systemd's own program makes it out of an export."""
    entries = []
    for place, line in enumerate(text.splitlines()):
        # What systemd itself says about a unit comes from process 1.
        systemd = line.startswith(("Started ", f"{unit}: "))
        owner = f"_PID=1\nUNIT={unit}" if systemd else f"_PID=99\n_SYSTEMD_UNIT={unit}"
        stamp = 1_700_000_000_000_000 + number * 1_000_000_000 + place * 1000
        entries.append(f"__REALTIME_TIMESTAMP={stamp}\n_BOOT_ID={'0' * 31}1\n{owner}\nMESSAGE={line}\n\n")
    export = folder / "export"
    export.write_text("".join(entries), encoding="utf-8")
    program = next(path for path in JOURNAL_REMOTE if path.exists())
    done = subprocess.run(
        [program, f"--output={folder / f'{unit}-{number}.journal'}", export],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    export.unlink()


def test_a_journal_before_and_after_a_start(tmp_path: Path) -> None:
    log = {"kind": "journald", "unit": "couch2pg", "journal_dir": str(tmp_path)}
    write_journal(tmp_path, 0, "another unit's line", unit="other.service")
    empty = ask(log)
    assert empty["summary"]["lines"] == 0
    assert "The journal has no line of couch2pg that" in empty["notices"][0]
    start = empty["position"]
    write_journal(tmp_path, 1, recorded("couchdb-away").strip())
    before = ask(log, position_only=True)["position"]
    assert ask(log, since=before)["position"] == before
    died = "couch2pg.service: Main process exited, code=exited, status=1/FAILURE\n"
    again = "couch2pg.service: Scheduled restart job, restart counter is at 1.\nStarted couch2pg.service - couch2pg.\n"
    text = "Started couch2pg.service - couch2pg.\n" + recorded("matview-unpopulated") + died + again
    write_journal(tmp_path, 2, text + recorded("matview-missing-restarted"))
    summary = ask(log, since=before)["summary"]
    assert (summary["starts"], summary["exits"], summary["restart_counter"]) == (2, 1, 1)
    assert (summary["runs_completed"], summary["refresh_in_doubt"]) == (1, True)
    assert [seen["kind"] for seen in summary["errors"]] == ["matview_unpopulated"]
    # Empty when the position was taken, so that all is new.
    assert [seen["kind"] for seen in ask(log, since=start)["summary"]["errors"]] == [
        "couchdb_away",
        "matview_unpopulated",
    ]


def test_a_journal_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    result = ask({"kind": "journald", "unit": "couch2pg", "journal_dir": str(tmp_path / "none")})
    assert result["code"] == "log_unreadable"
    assert "No such file or directory" in result["msg"]
    write_journal(tmp_path, 1, recorded("run-nothing-new"))
    log = {"kind": "journald", "unit": "couch2pg", "journal_dir": str(tmp_path)}
    position = dict(ask(log, position_only=True)["position"], cursor="nonsense")
    refused = ask(log, since=position)["msg"]
    assert "Failed to seek to cursor" in refused
    assert "pass one that this module returned" in refused


def test_a_journal_that_was_rotated_since(tmp_path: Path) -> None:
    """No line of what is left is skipped, and it is said that others are gone."""
    log = {"kind": "journald", "unit": "couch2pg", "journal_dir": str(tmp_path)}
    write_journal(tmp_path, 1, recorded("couchdb-away").strip())
    before = ask(log, position_only=True)["position"]
    lines = recorded("run-nothing-new").strip()
    write_journal(tmp_path, 2, lines)
    whole = ask(log, since=before)
    assert (whole["summary"]["lines"], whole["notices"]) == (len(lines.splitlines()), [])
    next(tmp_path.glob("*-1.journal")).unlink()
    left = ask(log, since=before)
    assert left["summary"]["lines"] == len(lines.splitlines())
    assert "between the position and its oldest one are missing" in left["notices"][0]
    next(tmp_path.glob("*-2.journal")).unlink()
    assert ask(log, since=left["position"])["summary"]["lines"] == 0


def test_a_user_who_may_not_read_the_journal(tmp_path: Path) -> None:
    """The command that is printed lets the user read it: here root, without what lets root read every file."""
    write_journal(tmp_path, 1, recorded("run-nothing-new"))
    for path in tmp_path.glob("*.journal"):
        shutil.chown(path, "daemon", "systemd-journal")
        path.chmod(0o640)
    with SystemdHost(tmp_path / "host") as host:
        as_user = ["setpriv", "--reuid=0", "--init-groups", "--bounding-set=-dac_override,-dac_read_search"]
        options = {"log": {"kind": "journald", "unit": "couch2pg", "journal_dir": str(tmp_path)}}
        refused = run_module("couch2pg_log_info", options, through=[*host.through, *as_user])
        assert refused["code"] == "log_unreadable", refused
        command = re.search(r"\. sudo (usermod \S+ \S+ systemd-journal root) lets", refused["msg"])
        assert command, refused["msg"]
        host.run(*command[1].split())
        found = run_module("couch2pg_log_info", options, through=[*host.through, *as_user])
        assert found["summary"]["runs_completed"] == 1


# Stands in for Docker, which no test may need: the same words, times and streams as the real command line's.
DOCKER = r"""#!/usr/bin/env python3
import pathlib, sys
here, words = pathlib.Path(__file__).resolve().parent, sys.argv[1:]
version_1 = pathlib.Path(__file__).name == "docker-compose"
def fail(text):
    sys.stderr.write(text + "\n")
    sys.exit(1)
if words[:1] == ["compose"] and not version_1:
    words = words[1:]
    if not (here / "version-2").exists():
        fail("docker: 'compose' is not a docker command.")
    if words == ["version"]:
        sys.exit(0)
if words[:3] == ["ps", "--all", "--quiet"]:
    if not pathlib.Path("compose.yml").exists():
        fail("no configuration file provided: not found")
    sys.stdout.write((here / "containers").read_text())
    sys.exit(0)
if words[-1] not in (here / "containers").read_text().split():
    fail(f"Error response from daemon: No such container: {words[-1]}")
if words[0] == "inspect":
    sys.exit(print(words[-1]))
lines = (here / "log").read_text().splitlines()
stamped = [f"2026-11-23T20:38:48.{place:09d}Z {line}" for place, line in enumerate(lines)]
for word in words:
    if word == "--tail=1":
        stamped = stamped[-1:]
    if word.startswith("--since="):
        stamped = [line for line in stamped if line[:30] >= word[8:]]
for line in stamped:
    stream = sys.stderr if " ERROR]" in line else sys.stdout
    stream.write(line + "\n")
    stream.flush()
"""


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A folder with a docker in it, of Compose version 2, and the project of a container that doesn't run yet."""
    folder = tmp_path / "docker"
    folder.mkdir()
    for name in ("docker", "docker-compose"):
        (folder / name).write_text(DOCKER, encoding="utf-8")
        (folder / name).chmod(0o755)
    for name in ("version-2", "containers", "log", "compose.yml"):
        (folder / name).write_text("", encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["docker", rarely("compose"), "compose 1"])
def test_a_container_before_and_after_a_start(docker: Path, kind: str) -> None:
    path = {"PATH": f"{docker}:{Path(sys.executable).parent}:/usr/bin:/bin"}
    log = {"kind": "docker", "container": "c0ffee"}
    if kind.startswith("compose"):
        log = {"kind": "compose", "project_dir": str(docker)}
    if kind == "compose 1":
        (docker / "version-2").unlink()
    missing = ask(log, path)
    assert missing["code"] == ("log_unreadable" if kind == "docker" else "log_missing")
    (docker / "containers").write_text("c0ffee\n", encoding="utf-8")
    empty = ask(log, path, position_only=True)["position"]
    (docker / "log").write_text(BANNER + recorded("postgres-bad-password"), encoding="utf-8")
    before = ask(log, path, since=empty)
    (seen,) = before["summary"]["errors"]
    assert (seen["kind"], seen["count"]) == ("bad_password", 1)
    assert before["position"] == ask(log, path, position_only=True)["position"]
    assert ask(log, path, since=before["position"])["summary"]["lines"] == 0
    with (docker / "log").open("a", encoding="utf-8") as file:
        file.write(recorded("run-first"))
    summary = ask(log, path, since=before["position"])["summary"]
    assert (summary["lines"], summary["changes"], summary["errors"]) == (224, 2041, [])


def test_docker_says_why_not(docker: Path) -> None:
    path = {"PATH": f"{docker}:{Path(sys.executable).parent}:/usr/bin:/bin"}
    assert "No such container: gone" in ask({"kind": "docker", "container": "gone"}, path)["msg"]
    (docker / "containers").write_text("one\ntwo\n", encoding="utf-8")
    assert "has 2 containers" in ask({"kind": "compose", "project_dir": str(docker)}, path)["msg"]
    (docker / "compose.yml").unlink()
    assert "no configuration file provided" in ask({"kind": "compose", "project_dir": str(docker)}, path)["msg"]


READ = """
import sys
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.reader import summarise
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.source import open_source
from ansible_collections.cht.couch2pg.plugins.module_utils.common.redaction import Redactor
summary = summarise(open_source({"kind": "file", "path": sys.argv[1]}).lines(None), Redactor())
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(summary.lines, summary.changes, len(summary.runs), int(peak) * 1024)
"""


def measure(path: Path) -> list[int]:
    """Lines, changes, runs kept and peak of memory (of the process itself: what it inherits doesn't count)."""
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("size", [100_000_000, rarely(500_000_000)])
def test_a_large_log_is_read_in_constant_memory(tmp_path: Path, size: int) -> None:
    once = recorded("run-first").encode()
    times = size // len(once) + 1
    path = tmp_path / "large.log"
    with path.open("wb") as file:
        for _time in range(times // 100):
            file.write(once * 100)
        file.write(once * (times % 100))
    try:
        lines, changes, runs, peak = measure(path)
    finally:
        path.unlink()
    assert (lines, changes, runs) == (224 * times, 2041 * times, 20)
    assert peak < 60_000_000


def test_a_line_without_an_end_is_read_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless.log"
    with path.open("wb") as file:
        # Sparse: a log that was truncated while its writer went on looks like this.
        file.truncate(200_000_000)
        file.seek(0, 2)
        file.write(b"\n[2026-11-23T20:54:10.182Z INFO]:  There are 5 changes to process\n")
        file.truncate(file.tell() + 200_000_000)
    lines, changes, _runs, peak = measure(path)
    assert (lines, changes) == (2, 5)
    assert peak < 100_000_000
