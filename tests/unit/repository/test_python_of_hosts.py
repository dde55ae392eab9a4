# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code of managed hosts calls nothing that Python 3.8 lacks: linters see new syntax only."""

from __future__ import annotations

import ast

from support.places import ROOT

# Methods and functions of the standard library that came with 3.9 and later.
NEWER = {
    *(
        "removeprefix",
        "removesuffix",
        "is_relative_to",
        "with_stem",
        "hardlink_to",
        "bit_count",
        "pairwise",
        "batched",
        "lcm",
    ),
    *("randbytes", "waitstatus_to_exitcode", "pidfd_open", "to_thread", "unparse", "aclosing", "file_digest"),
}


def test_nothing_newer_than_python_38() -> None:
    files = [*(ROOT / "plugins/module_utils").rglob("*.py"), *(ROOT / "plugins/modules").glob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.attr}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in NEWER
    ]
    assert files
    assert not found
