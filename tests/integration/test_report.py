# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report, out of the record of a real migration: what it says, what it keeps to itself, and how a browser shows it."""

from __future__ import annotations

import copy
import json
import os
import shlex
import subprocess
from html import unescape
from pathlib import Path
from typing import Any, Iterator

import jsonschema
import pytest
from ansible_collections.cht.couch2pg.plugins.plugin_utils.report_document import document
from ansible_collections.cht.couch2pg.plugins.plugin_utils.report_render import render
from ansible_collections.cht.couch2pg.plugins.plugin_utils.report_todo import Places
from support.browser import Browser
from support.migration import ROOT

RECORD = json.loads((ROOT / "tests" / "recorded" / "record.json").read_text(encoding="utf-8"))
SCHEMA = json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8"))
PLACES = {
    "old.example.org": {"host": "", "port": 5432, "user": "postgres", "socket": "", "become_user": "postgres"},
    "new.example.org": {"host": "10.0.0.7", "port": 5433, "user": "admin", "socket": "", "become_user": ""},
}
SECRET = "hunter2Planted"
PATIENT = "Achieng Odhiambo"
NOW = "2026-11-25T22:00:00Z"


def draw(record: dict[str, Any]) -> dict[str, str]:
    shown = document(record, Places(PLACES), "~/couch2pg-migration", "/srv/state/demo/record.json on new.example.org")
    return render(ROOT / "roles" / "report" / "templates", shown)


def entry(result: dict[str, Any], error: dict[str, Any] | None = None) -> dict[str, Any]:
    status = "failed" if error else "done"
    return {"at": NOW, "status": status, "host": "new.example.org", "error": error, "result": result}


def query(name: str, status: str, **more: Any) -> dict[str, Any]:
    side = {"rows": 24, "milliseconds": 12.5, "newest_age_hours": 3.5}
    return {"name": name, "status": status, "problems": [], "advice": [], "source": side, "target": side, **more}


def finished() -> dict[str, Any]:
    """Everything that a record can hold, in words long enough to overflow something."""
    record = copy.deepcopy(RECORD)
    queries = [
        query("visits of the month", "same"),
        query(
            "a long name of a dashboard " * 4,
            "slow",
            advice=["The index dashboard_areas_key of public.dashboard_areas is missing."],
        ),
        query(
            "<script>alert('stock|outs')</script>",
            "differs",
            problems=["Both have 12 rows, which differ in the columns reports."],
        ),
    ]
    record["phases"]["dashboards"] = entry({"passed": False, "queries": queries})
    moved = {
        "tool": "superset",
        "name": "CHT",
        "old": "postgresql+psycopg2://superset:XXXXXXXXXX@old.example.org:5432/cht",
        "new": "postgresql+psycopg2://superset:XXXXXXXXXX@new.example.org:5433/cht?sslmode=require",
    }
    record["phases"]["cutover"] = entry({"side": "target", "changes": [moved]})
    sync = [{"source": "couchdb.example.org:5984/medic", "behind": 0, "current": True}]
    record["phases"]["handover"] = entry({"healthy": True, "runs": 2, "errors": 0, "sync": sync, "seconds": 721.5})
    return record


def stopped(phase: str, message: str, **details: Any) -> dict[str, Any]:
    """The same migration when ``phase`` had failed."""
    record = copy.deepcopy(RECORD)
    names = list(SCHEMA["$defs"]["phase"]["enum"])
    for later in names[names.index(phase) :]:
        record["phases"].pop(later, None)
    record["phases"][phase] = entry({}, {"msg": message, "code": "x", **details})
    return record


def test_a_finished_migration() -> None:
    """Everything that was proved is there, each side's numbers as the record has them, and commands that a shell can read."""
    jsonschema.validate(RECORD, SCHEMA)
    jsonschema.validate(finished(), SCHEMA)
    reports = draw(RECORD)
    phases = RECORD["phases"]
    for ending, text in reports.items():
        assert (
            "DONE" in text[: text.index("21:07:19")]
            if ending == "html"
            else text.startswith("# DONE: migration demo\n")
        )
        for row in phases["dump"]["result"]["tables"] + phases["restore"]["result"]["tables"]:
            assert row["digest"] in text
        for file in phases["dump"]["result"]["file_list"]:
            assert file["sha256"] in text
            assert f"{file['bytes']:,}" in text
        for view in phases["refresh"]["result"]["matviews"]:
            assert view["matview"] in text
        for side in ("source", "target"):
            assert all(finding["name"] in text for finding in phases["preflight"]["result"][side])
        for part in ("PostgreSQL 15.18", "PostgreSQL 18.4", "cht_replaced_20261125T210716", "6,338,817", "0.16"):
            assert part in text, part
    fences = [block for block in reports["md"].split("~~~") if block.startswith("shell\n")]
    commands = [shlex.split(line) for block in fences for line in block.splitlines()[1:] if line.strip()]
    psql = ["psql", "-h", "10.0.0.7", "-p", "5433", "-U", "admin", "-d", "postgres"]
    assert [*psql, "-c", 'ALTER ROLE "superset" LOGIN', "-c", '\\password "superset"'] in commands
    assert ["dropdb", *psql[1:7], "cht_replaced_20261125T210716"] in commands
    cleanup = ["ansible-playbook", "cht.couch2pg.cleanup", "-i", "inventory.yml", "-e"]
    assert [*cleanup, "couch2pg_cleanup=archives"] in commands
    confirmed = "couch2pg_cleanup_database=cht couch2pg_cleanup_host=old.example.org couch2pg_cleanup_last_archive=true"
    assert [*cleanup, f"couch2pg_cleanup=source_database {confirmed}"] in commands
    assert ["ansible-playbook", "cht.couch2pg.dashboards", "-i", "inventory.yml"] in commands
    # What is done is no longer to be done.
    later = copy.deepcopy(finished())
    later["phases"]["dashboards"]["result"]["passed"] = True
    cleaned = {step: {"old.example.org": {}} for step in ("archives", "source_couch2pg", "source_database")}
    later["phases"] |= {"cutover": entry({"side": "target"}), "cleanup": entry(cleaned)}
    assert "Removed by cleanup since." in draw(later)["html"]
    assert "Removed by cleanup since." not in draw(finished())["html"]
    text = draw(later)["md"]
    assert text.startswith("# DONE: migration")
    assert "- [ ] **Give the role superset" in text
    assert "couch2pg_cleanup" not in text
    # What only people can do.
    assert "- [ ] **Delete backups of the old server" in text
    back = copy.deepcopy(later)
    back["phases"]["rollback"] = entry({"kept_as": "cht_rolled_back_20261125T220000", "restored": None})
    text = draw(back)["md"]
    assert text.startswith("# ROLLED BACK: migration")
    assert "dropdb -h 10.0.0.7 -p 5433 -U admin cht_rolled_back_20261125T220000" in text
    assert "couch2pg_migration_id=demo_2" in text


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (7200, "The migration is better: it is faster"),
        (0, "A clean install may be better, because it may be faster. But"),
    ],
)
def test_the_time_beside_that_of_a_clean_install(seconds: int, verdict: str) -> None:
    """Preflight measured how long couch2pg would fetch documents; the materialized views take as long in both."""
    record = finished()
    assert "clean install" not in draw(record)["md"]
    finding = {
        "name": "clean install",
        "status": "ok",
        "message": "",
        "details": {"documents": 51640, "seconds": seconds},
    }
    record["phases"]["preflight"]["result"]["target"].append(finding)
    phases = record["phases"]
    phases["dump"]["result"]["seconds"], phases["refresh"]["result"]["seconds"] = 500, 90.0
    jsonschema.validate(record, SCHEMA)
    for text in draw(record).values():
        assert (
            "fetch 51,640 documents again, as measured in preflight, and 1 min 30 s for the materialized views" in text
        )
        assert verdict in text
    assert "at least 2 h 1 min: 2 h 0 min" in draw(record)["md"] or not seconds
    # Only what is complete can be compared.
    del phases["verify"]
    assert "clean install would" not in draw(record)["md"]


def test_the_time_beside_the_estimate_of_preflight() -> None:
    record = finished()
    assert "Preflight estimated" not in draw(record)["md"]
    estimates = [
        {"method": "archive", "shortest": 300, "longest": 900, "slow_line": 0},
        {"method": "stream", "shortest": 1, "longest": 2, "slow_line": 0},
    ]
    result = record["phases"]["preflight"]["result"]
    result["target"].append(
        {"name": "estimate", "status": "ok", "message": "", "details": {"estimates": estimates, "one_machine": True}}
    )
    result["method"] = {"method": "archive", "reason": ""}
    told = result["target"][-1]["details"]
    for line, over in ((0, ""), (2_500_000, " over a network link of 2.5 MB in a second")):
        told["line"] = line
        jsonschema.validate(record, SCHEMA)
        for text in draw(record).values():
            assert f"Preflight estimated 5 min 0 s to 15 min 0 s for the method archive{over}; up to verify" in text
    del record["phases"]["verify"]
    assert "Preflight estimated" not in draw(record)["md"]


def test_accepted_differences_stay_in_the_report() -> None:
    record = finished()
    texts = ("CREATE TABLE t (\n    a integer,\n    b text\n);", "CREATE TABLE t (\n    a integer,\n    b uuid\n);")
    record["phases"]["verify"]["result"]["accepted"] = [
        {"kind": "table", "object": "public.t", "problem": "differs", "source": texts[0], "target": texts[1]}
    ]
    jsonschema.validate(record, SCHEMA)
    for text in draw(record).values():
        assert "Accepted differences" in text
        assert "except 1 accepted difference" in text
        assert "b uuid" in text
        assert "a integer" not in text


def test_a_migration_that_has_stopped() -> None:
    """Which phase, in whose words, what is safe, what differs, what to do, where the log is."""
    difference = {
        "kind": "rows",
        "object": "public.couchdb",
        "problem": "has a different number of rows",
        "source": 3435,
        "target": 3434,
    }
    said = "The restored database 'cht_incoming' differs from the source: rows: public.couchdb has a different number of rows."
    record = stopped("verify", said, differences=[difference])
    record["phases"]["verify"]["error"]["code"] = "not_the_same"
    jsonschema.validate(record, SCHEMA)
    for ending, text in draw(record).items():
        top = text[: text.index(">Differences</a>" if ending == "html" else "## Differences")]
        shown = unescape(top) if ending == "html" else top
        for part in (
            "STOPPED in verify",
            said,
            "the source was only read",
            "ansible-playbook cht.couch2pg.migrate -i inventory.yml",
            "~/couch2pg-migration/demo/jobs/verify/log on new.example.org",
        ):
            assert part in shown, (ending, part)
        assert "has a different number of rows" in text[len(top) :]
        assert "DONE" not in text
    markdown = draw(record)["md"]
    tables = markdown[markdown.index("## Tables") :].splitlines()[4:]
    assert tables[0].startswith("| `public.couchdb` | differs | 3,435 | 3,434 |")
    assert tables[1].split(" | ")[1] == "same"
    assert "different; 1 table with different rows" in markdown
    view = {
        "matview": "public.form_metadata",
        "error": 'relation "couchdb" does not exist',
        "advice": "Set search_path.",
    }
    assert (
        "`public.form_metadata`: relation" in draw(stopped("refresh", "It can't be refreshed.", matviews=[view]))["md"]
    )
    for phase in ("preflight", "dump", "transfer", "restore", "promote", "handover", "cutover"):
        assert f"STOPPED in {phase}" in draw(stopped(phase, "Something is wrong: fix it."))["html"]
    empty = {**RECORD, "phases": {}, "history": []}
    assert draw(empty)["md"].startswith("# IN PROGRESS: migration demo")


AGAIN = "ansible-playbook cht.couch2pg.migrate -i inventory.yml"
LOAD_AGAIN = f"{AGAIN} -e couch2pg_migration_id=demo -e couch2pg_restart_from=restore"
PREPARE = "ansible-playbook cht.couch2pg.prepare -i inventory.yml"


@pytest.mark.parametrize(
    ("message", "step", "commands"),
    [
        (f"Load all rows again: {LOAD_AGAIN}", "1. Do what the message says, then run:", [LOAD_AGAIN]),
        (
            f"Fix the cause, then run again. After a change on the source, dump again: {LOAD_AGAIN}",
            "if it only says to run again, the last one.",
            [LOAD_AGAIN, AGAIN],
        ),
        (f"rsync is missing. {PREPARE} installs it.", "Of these commands, run what it says", [PREPARE, AGAIN]),
        (
            "The disk is full.",
            "2. Run the same command again.",
            ["ansible-playbook cht.couch2pg.status -i inventory.yml", AGAIN],
        ),
    ],
)
def test_the_next_steps_are_those_of_the_message(message: str, step: str, commands: list[str]) -> None:
    text = draw(stopped("verify", message))["md"]
    steps = text[text.index("## Next steps") :].split("Log: ")[0]
    assert step in steps
    assert steps.split("~~~")[1].splitlines()[1:] == commands


def test_a_cutover_and_its_way_back() -> None:
    """What led where is shown without a user's credentials, and the checklist follows."""
    record = finished()
    for side, said in (
        ("target", "1 connection pointed at the target"),
        ("source", "1 connection pointed back at the source"),
    ):
        record["phases"]["cutover"]["result"]["side"] = side
        jsonschema.validate(record, SCHEMA)
        for ending, text in draw(record).items():
            assert said in text
            assert "old.example.org:5432/cht" in text
            assert "new.example.org:5433/cht?sslmode=require" in text
            assert "XXXXXXXXXX" not in text
            assert ("cutover -i inventory.yml --check --diff" in text) == (side == "source"), ending


def plant(value: Any) -> Any:
    """Secrets in every place where a record has none, and in every text that somebody else may have written."""
    if isinstance(value, dict):
        planted = {name: plant(item) for name, item in value.items()}
        for name in ("message", "msg", "advice", "reason"):
            if isinstance(value.get(name), str):
                planted[name] = (
                    f'{value[name]} postgres://couch2pg:{SECRET}@old:5432/cht password={SECRET} {{"name": "{PATIENT}"}}'
                )
        return planted | {"unknown_to_the_report": f"{SECRET} {PATIENT}", "details": {"row": [PATIENT, SECRET]}}
    return [plant(item) for item in value] if isinstance(value, list) else value


def test_no_secret_and_no_patient() -> None:
    record = finished()
    failed = stopped("restore", "pg_restore failed.", matviews=[], differences=[])
    failed["phases"]["restore"]["error"]["msg"] += f" (token: {SECRET}) Failing row contains (7, {PATIENT})."
    failed["phases"]["restore"]["error"]["detail"] = PATIENT
    handover = record["phases"]["handover"]["result"]
    handover |= {"env": {"POSTGRESQL_URL": f"postgres://u:{SECRET}@h/cht"}, "lines": [PATIENT], "log": PATIENT}
    handover["message"] = f'COUCHDB_URL=https://medic:{SECRET}@h/medic {{"name": "{PATIENT}"}}'
    for name, original in (("finished", record), ("stopped", failed)):
        planted = dict(original, phases={phase: plant(item) for phase, item in original["phases"].items()})
        for ending, text in draw(planted).items():
            for secret in (SECRET, PATIENT, "Achieng"):
                assert secret not in text, (name, ending, text[max(text.find(secret) - 200, 0) :][:300])
            assert "new.example.org" in text


def test_nothing_in_a_record_becomes_markup() -> None:
    record = finished()
    name = 'x"><script>alert(1)</script>|`*[a](b)'
    record["phases"]["dump"]["result"]["tables"][0]["table"] = name
    record["phases"]["restore"]["result"]["created_roles"] = ['it\'s "odd"; rm -rf /']
    reports = draw(record)
    assert "<script" not in reports["html"]
    # In Markdown, every one stands behind a backslash, or inside of code, which it can't end.
    outside = reports["md"].replace("`x\"><script>alert(1)</script>\\|'*[a](b)`", "").replace("\\<", "")
    assert "script" in outside
    assert "<" not in outside
    (line,) = [line for line in reports["md"].splitlines() if "ALTER ROLE" in line]
    assert shlex.split(line)[-3] == 'ALTER ROLE "it\'s ""odd""; rm -rf /" LOGIN'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


# Of every element with text of its own: its colours where nothing lies between, by the formula of WCAG 2.
CONTRAST = """
(() => {
  const parse = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return {r, g, b, a}; };
  const light = ({r, g, b}) => { const [x, y, z] = [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * x + .7152 * y + .0722 * z; };
  const behind = element => { for (; element; element = element.parentElement) {
    const colour = parse(getComputedStyle(element).backgroundColor); if (colour.a === 1) return colour; }
    return parse('rgb(255,255,255)'); };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length) continue;
    const pair = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    found.push([(pair[0] + .05) / (pair[1] + .05), element.tagName + ' ' + element.textContent.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""
OVERFLOW = """
[...document.querySelectorAll('body *')].filter(element => !element.closest('thead') && element.getClientRects().length
  && element.getBoundingClientRect().right > innerWidth + .5).map(element => element.tagName + ' ' + element.textContent.slice(0, 60))
"""
STRUCTURE = """
({
  lang: document.documentElement.lang, title: document.title,
  headings: [...document.querySelectorAll('h1, h2, h3, h4')].map(heading => Number(heading.tagName[1])),
  tables: [...document.querySelectorAll('table')].length,
  described: [...document.querySelectorAll('table')].filter(table => table.caption && table.caption.textContent.trim()
    && table.querySelectorAll('thead th[scope=col]').length && [...table.tBodies[0].rows].every(row => row.cells[0].scope === 'row')
    && [...table.tBodies[0].rows].every(row => row.cells.length === table.tHead.rows[0].cells.length)).length,
  colourOnly: [...document.querySelectorAll('.badge')].filter(badge => !/[a-z]/.test(badge.textContent)).length,
  nameless: [...document.querySelectorAll('input')].filter(input => !input.labels.length).length,
  broken: [...document.querySelectorAll('a[href^="#"]')].filter(link => !document.querySelector(link.getAttribute('href'))).length,
  foreign: [...document.querySelectorAll('script, link, img, iframe, object, [src], [onclick]')].length,
})
"""


@pytest.mark.parametrize("case", ["finished", "stopped"])
def test_in_a_browser(browser: Browser, case: str, tmp_path: Path) -> None:
    """On a desktop, on a phone, dark and printed: read without the network, without scrolling sideways, in any light."""
    record = (
        finished()
        if case == "finished"
        else stopped("restore", f"pg_restore failed in /srv/{'long' * 40}: look at it.")
    )
    path = tmp_path / "report.html"
    path.write_text(draw(record)["html"], encoding="utf-8")
    browser.requests.clear()
    for width, dark, media in (
        (1280, False, "screen"),
        (1280, True, "screen"),
        (390, False, "screen"),
        (390, True, "screen"),
        (688, False, "print"),
    ):
        browser.open(path, width, dark=dark, media=media)
        where = (case, width, dark, media)
        worst = browser.evaluate(CONTRAST)
        assert len(worst) > 50, where
        assert worst[0][0] >= 4.5, (where, worst[:3])
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
        assert browser.evaluate(OVERFLOW) == [], where
        backgrounds = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (backgrounds == "rgb(15, 20, 26)") == dark, where
        top = browser.evaluate("document.querySelector('h1').getBoundingClientRect().bottom")
        assert top < 300, (where, "the verdict is what is seen first")
    found = browser.evaluate(STRUCTURE)
    assert found["lang"] == "en"
    assert found["title"].startswith("DONE" if case == "finished" else "STOPPED in restore")
    assert found["headings"][0] == 1
    assert found["headings"].count(1) == 1
    assert all(next_ <= level + 1 for level, next_ in zip(found["headings"], found["headings"][1:]))
    assert found["tables"] == found["described"] >= 4
    assert [found[name] for name in ("colourOnly", "nameless", "broken", "foreign")] == [0, 0, 0, 0]
    browser.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    # Nothing was asked for but the file itself.
    assert set(browser.requests) == {path.as_uri()}


def test_what_outlives_the_job(tmp_path: Path) -> None:
    """AWX keeps what set_stats says as the artifacts of a job; the next job of a workflow gets them as variables."""
    place = tmp_path / "state" / RECORD["migration_id"]
    place.mkdir(parents=True)
    (place / "record.json").write_text(json.dumps(RECORD), encoding="utf-8")
    variables = {
        "report_migration_id": RECORD["migration_id"],
        "report_state_dir": str(tmp_path / "state"),
        "report_dir": str(tmp_path / "records"),
    }
    play = [{"hosts": "localhost", "gather_facts": False, "roles": ["cht.couch2pg.report"], "vars": variables}]
    (tmp_path / "play.yml").write_text(json.dumps(play), encoding="utf-8")
    answer = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", "play.yml"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_SHOW_CUSTOM_STATS": "true"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    stats = json.loads(answer.stdout)["global_custom_stats"]
    # A name that begins with couch2pg_ would be refused as a misspelt variable by the next job.
    assert list(stats) == ["cht_couch2pg"]
    told = stats["cht_couch2pg"]
    assert told["record"] == RECORD
    assert told["summary"][0].startswith(f"Migration {RECORD['migration_id']}: {told['verdict'].upper()}")
    assert told["report"] == (tmp_path / "records" / f"{RECORD['migration_id']}.md").read_text("utf-8").strip()
