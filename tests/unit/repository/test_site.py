# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation site's pages and the check of its links, without Sphinx."""

from __future__ import annotations

from pathlib import Path

import yaml
from docs.check import problems
from docs.site import REPOSITORY, ROOT, write_site
from support.markdown import anchors, links


def test_broken_links_of_a_site_are_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="a/">x</a> <a href="a/#there">x</a> <a href="#here" id="here">x</a> <a href="https://example.org">x</a>'
        '<a href="gone/">x</a> <a href="a/#gone">x</a> <script src="https://example.org/x.js"></script>'
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text('<p id="there"></p>')
    assert problems(tmp_path) == [
        "index.html: loads https://example.org/x.js",
        "index.html: a/#gone has no such anchor",
        "index.html: gone/ leads nowhere",
    ]


def test_an_empty_site_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path)


def test_pages_of_the_site(tmp_path: Path) -> None:
    """Every variable, playbook and role has its place, and pages lead to each other instead of to the repository."""
    write_site(tmp_path)
    variables = yaml.safe_load((ROOT / "docs" / "variables.yml").read_text(encoding="utf-8"))
    assert set(variables) <= anchors((tmp_path / "docs" / "variables.md").read_text(encoding="utf-8"))
    playbooks = (tmp_path / "docs" / "playbooks.md").read_text(encoding="utf-8")
    for path in (ROOT / "playbooks").glob("*.yml"):
        assert path.stem == "hosts" or f"## `cht.couch2pg.{path.stem}`\n" in playbooks
    roles = {link.split("/")[0] for _line, link in links((tmp_path / "roles" / "index.md").read_text(encoding="utf-8"))}
    assert roles == {path.name for path in (ROOT / "roles").iterdir()}
    index = [link for _line, link in links((tmp_path / "index.md").read_text(encoding="utf-8"))]
    assert "docs/migrate.md" in index
    assert "docs/variables.md" in index
    assert not [link for link in index if link.startswith(f"{REPOSITORY}/blob/main/docs/")]
