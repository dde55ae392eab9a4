# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that runs a program of an image: what it mounts, and what stays out of its words."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.cht.couch2pg.plugins.module_utils.host import container_programs


def test_a_new_file_needs_its_folder_and_a_folder_covers_what_is_in_it(tmp_path: Path) -> None:
    passfile, listing = tmp_path / "work" / "passfile", tmp_path / "work" / "list"
    passfile.parent.mkdir()
    passfile.touch()
    words = [
        "docker://registry:5000/postgres:13/pg_dump",
        f"--file={tmp_path}/staging/archive",
        "--dbname=dbname='cht'",
    ]
    variables = {
        "PGPASSFILE": str(passfile),
        "PGPASSWORD": "secret",
        "HOME": "/root",
        "COUCH2PG_JOB": "/state/m1/jobs/dump",
    }
    (tmp_path / "staging").mkdir()
    made = container_programs.command("/usr/bin/docker", [*words, f"--use-list={listing}"], variables)
    mounts = [word for word in made if word.startswith("--volume=")]
    assert mounts == [f"--volume={place}:{place}" for place in (tmp_path / "staging", tmp_path / "work")]
    assert made[:2] == ["/usr/bin/docker", "run"]
    assert [made[-8], made[-4]] == ["registry:5000/postgres:13", "pg_dump"]
    assert "--label=cht.couch2pg.job=/state/m1/jobs/dump" in made
    assert [word for word in made if word.startswith("--env=")] == [
        "--env=COUCH2PG_JOB", "--env=PGPASSFILE", "--env=PGPASSWORD"
    ]  # fmt: skip
    assert "secret" not in " ".join(made)


def test_a_program_without_files_mounts_nothing() -> None:
    made = container_programs.command("docker", ["docker://postgres:17/pg_restore", "--version"], {"LC_ALL": "C"})
    assert [word for word in made if word.startswith("--volume=")] == []
    assert made[-2:] == ["pg_restore", "--version"]
