# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links between the repository's own pages lead somewhere, anchors included; no network is used."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath
from posixpath import normpath

import pytest
import yaml
from support.markdown import anchors, links, relinked

ROOT = Path(__file__).resolve().parents[3]
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
# In the website that they are written for, links have other rules.
ELSEWHERE = "docs/cht-docs/"


def tracked() -> list[str]:
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).exists())


FILES = tracked()
FOLDERS = {parent.as_posix() for name in FILES for parent in PurePosixPath(name).parents}
PAGES = [name for name in FILES if name.endswith(".md") and not name.startswith(ELSEWHERE)]


def ours(page: str, link: str) -> str | None:
    """Path and anchor of what a link names in this repository; None for a link to elsewhere."""
    for kind in ("blob", "tree", "raw"):
        start = f"{GALAXY['repository']}/{kind}/main/"
        if link.startswith(start):
            return link[len(start) :]
    if "://" in link or link.startswith("mailto:"):
        return None
    return page + link if link.startswith("#") else normpath(PurePosixPath(page).parent.as_posix() + "/" + link)


def problem(page: str, link: str) -> str | None:
    """What is wrong with a link, or None."""
    target = ours(page, link)
    if target is None:
        return None
    path, _hash, anchor = target.partition("#")
    path = path.rstrip("/")
    if path not in FOLDERS and path not in FILES:
        return f"{link}: there is no {path}"
    if anchor and path.endswith(".md") and anchor not in anchors((ROOT / path).read_text(encoding="utf-8")):
        return f"{link}: {path} has no heading for #{anchor}"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    wrong = [f"{page}:{line}: {told}" for line, link in links(text) if (told := problem(page, link))]
    assert not wrong, "\n".join(wrong)


def test_the_readme_has_no_relative_link() -> None:
    """Galaxy shows the README without the repository."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = [link for _line, link in links(readme) if "://" not in link and not link.startswith("#")]
    assert relative == []


def test_wrong_links_are_found() -> None:
    """The test itself can fail."""
    assert problem("docs/migrate.md", "gone.md")
    assert problem("docs/migrate.md", "#no-such-heading")
    assert problem("README.md", GALAXY["repository"] + "/blob/main/docs/gone.md")
    assert problem("docs/migrate.md", "roll-back.md#no-such-heading")
    assert problem("docs/migrate.md", "#while-it-runs") is None
    assert problem("docs/migrate.md", "../roles") is None


def test_code_has_no_links() -> None:
    text = "[a](b.md) `[c](d.md)` [e](f.md#g)\n```\n[h](i.md)\n# no heading\n```\n# A *b* `c.d`, e\n# A *b* `c.d`, e\n"
    assert links(text) == [(1, "b.md"), (1, "f.md#g")]
    assert links('[a]: b.md\n[c](d.md "Title")') == [(1, "b.md"), (2, "d.md")]
    assert relinked("[a](b.md) `[c](d.md)`", str.upper) == "[a](B.MD) `[c](d.md)`"
    assert anchors(text) == {"a-b-cd-e", "a-b-cd-e-1"}


def test_galaxy_knows_where_everything_is() -> None:
    """Documentation, home page and bugs are in the one repository."""
    for name in ("documentation", "homepage", "issues"):
        assert GALAXY[name].startswith(GALAXY["repository"])
