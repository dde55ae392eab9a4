# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages that are made from something, or for another site, are as they must be."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from matrix.cells import all_versions, load
from matrix.page import page

ROOT = Path(__file__).resolve().parents[3]
CHT_DOCS = ROOT / "docs" / "cht-docs" / "migration.md"
# The shortcodes that cht-docs has, and that pages of its chapter on hosting use.
SHORTCODES = {"callout", "card", "cards", "figure", "ref", "relref", "see-also", "subpages", "tab", "tabs"}


def test_the_support_matrix_is_what_was_run() -> None:
    """The page has the results, "not run" included; a combination that fails is a bug."""
    cells = load()
    supported = [versions for _kind, versions in all_versions()]
    assert [cell["versions"] for cell in cells if cell["versions"] not in supported] == []
    assert (ROOT / "docs" / "support-matrix.md").read_text(encoding="utf-8") == page(cells)
    assert [cell for cell in cells if cell["status"] == "failed"] == []


def test_the_page_for_cht_docs_has_its_form() -> None:
    """Front matter as Hugo reads it; shortcodes that exist and are closed."""
    _empty, matter, text = CHT_DOCS.read_text(encoding="utf-8").split("---\n", 2)
    front = yaml.safe_load(matter)
    assert {"title", "linkTitle", "weight", "description"} <= set(front)
    opened: list[str] = []
    for closing, name in re.findall(r"\{\{[<%] (/?)([a-z-]+)", text):
        assert name in SHORTCODES, name
        if closing:
            assert opened.pop() == name
        else:
            opened.append(name)
    assert opened == []
    # Shortcodes of cht-docs are for warnings; links of the site begin at its root.
    assert not re.findall(r"\]\((?!https://|/|#)", text)


def test_the_page_for_cht_docs_names_playbooks_that_exist() -> None:
    text = CHT_DOCS.read_text(encoding="utf-8")
    named = set(re.findall(r"ansible-playbook cht\.couch2pg\.(\w+)", text))
    assert named
    assert named <= {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
