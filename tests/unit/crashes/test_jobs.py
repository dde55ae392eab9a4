# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job that is killed while it is started, or while it is forgotten, is started by the next run."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.archive import check, layout, manifest
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import UNFINISHED, write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from support.crashes import check_every_moment

SECONDS = 60.0
# Most of the changes are files of the job's code, one like the other.
CODE = r"/code/.+/"


def an_archive(root: Path) -> None:
    (root / "archive").mkdir()
    (root / "archive" / "rows").write_text("1")
    write_json(root / "archive" / layout.MANIFEST, dict(manifest.create(root / "archive", 1), migration_id="m"))


def spec_of(root: Path) -> tuple[Path, job.JobSpec]:
    options = {"archive": str(root / "archive"), "state_dir": str(root / "state"), "migration_id": "m"}
    spec = check.job_spec({**options, "jobs": 1, "full": False, "state": "verified"}, "")
    return job.job_folder(str(root / "state"), "m", spec.kind), spec


@lru_cache(maxsize=None)
def needed() -> set[str]:
    """The modules that are loaded for such a job: in this process are others as well, and all that are loaded are copied."""
    code = f"import sys, {check.__name__}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def started(root: Path) -> Any:
    for name in [name for name in sys.modules if name.startswith(f"{job.CORE}.") and name not in needed()]:
        del sys.modules[name]
    folder, spec = spec_of(root)
    job.start_or_join(folder, spec, lambda _value: True)
    result = job.wait(folder, SECONDS).result
    return result["status"], result["value"]["files"]


def names(found: dict[str, str]) -> dict[str, str]:
    return {name: "" for name in found if "/code/" not in name}


def test_a_job_is_started(root: Path) -> None:
    needed()
    check_every_moment(root, an_archive, started, names, CODE)


def test_a_job_is_forgotten(root: Path) -> None:
    def make(root: Path) -> None:
        an_archive(root)
        folder, spec = spec_of(root)
        for name in ("code", "work"):
            (folder / name).mkdir(parents=True)
            (folder / name / "file").touch()
        for name in ("lock", "log", "limits.json", "progress.json", f".progress.json.x{UNFINISHED}"):
            (folder / name).write_text("")
        write_json(folder / "spec.json", {"fingerprint": spec.fingerprint, "parameters": {}})
        write_json(folder / "result.json", {"status": "done", "value": {}})

    check_every_moment(root, make, lambda root: job.forget(spec_of(root)[0]))
