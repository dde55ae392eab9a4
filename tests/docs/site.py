# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of the documentation site, for Sphinx.

    python -m docs.site FOLDER      writes them to FOLDER

The folder mirrors the repository, so that the links between its pages hold: ``docs/``, ``roles/*/README.md``, the README as
``index.md``. Variables, playbooks and the list of roles are made from where they are described. Links to files that are no pages
lead to the repository. antsibull-docs adds ``reference/``, and antsibull-changelog the changelog (tests/tools/docs).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

import yaml
from support.markdown import relinked
from support.role_tables import without_html

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["repository"]
COPIED = ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "docs/*.md", "roles/*/README.md")
# Pages of the site that stand for something else in the repository.
STANDS_FOR = {"README.md": "index.md", "docs/variables.yml": "docs/variables.md", "roles": "roles/index.md"}
# The pages in the order in which they are read.
USE = [
    "install",
    "rehearse",
    "migrate",
    "physical",
    "postgresql-elsewhere",
    "dashboards",
    "roll-back",
    "clean-up",
    "troubleshooting",
]
AUTOMATE = ["single-roles-and-modules", "awx", "rehearse-in-ci"]
UNDERSTAND = ["verification", "what-a-dump-blocks", "support-matrix", "benchmarks", "architecture"]


def write_site(folder: Path) -> None:
    """Write every page to ``folder``, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for name in COPIED for path in ROOT.glob(name)}
    roles = sorted(name.split("/")[1] for name in pages if name.startswith("roles/"))
    pages["docs/variables.md"] = _variables()
    pages["docs/playbooks.md"] = _playbooks()
    pages["roles/index.md"] = _roles(roles)
    pages["index.md"] = (ROOT / "README.md").read_text("utf-8") + _contents(set(pages))
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(relinked(text, lambda link, page=name: _link(page, link, set(pages))), encoding="utf-8")


def _link(page: str, link: str, pages: set[str]) -> str:
    """The target of a link, as the site has it."""
    start = f"{REPOSITORY}/blob/main/"
    if link.startswith(start):
        target = link[len(start) :]
    elif "://" in link or link.startswith(("#", "mailto:")):
        return link
    else:
        target = normpath(PurePosixPath(page).parent.as_posix() + "/" + link)
    path, hash_sign, anchor = target.partition("#")
    path = STANDS_FOR.get(path, path)
    # reference/ and the changelog are added later.
    if path in pages or path.startswith("reference/") or path == "CHANGELOG.md":
        return relpath(path, PurePosixPath(page).parent.as_posix()) + hash_sign + anchor
    return f"{REPOSITORY}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}{hash_sign}{anchor}"


def _contents(pages: set[str]) -> str:
    """The table of contents at the side; every page is in it once."""
    groups = {
        "Use": [f"docs/{name}" for name in USE],
        "Automate": [f"docs/{name}" for name in AUTOMATE],
        "Understand": [f"docs/{name}" for name in UNDERSTAND],
        "Reference": ["docs/playbooks", "docs/variables", "roles/index", "Modules <reference/index>", "CHANGELOG"],
        "Take part": ["CONTRIBUTING", "SECURITY", "CODE_OF_CONDUCT"],
    }
    listed = {f"{entry}.md" for entries in groups.values() for entry in entries}
    missing = [page for page in pages if "/" in page and not page.startswith("roles/") and page not in listed]
    if missing:
        raise SystemExit(f"tests/docs/site.py lists every page of docs/ in one of its groups; not yet: {missing}")
    return "".join(
        "\n```{toctree}\n:hidden:\n:maxdepth: 1\n:caption: " + caption + "\n\n" + "\n".join(entries) + "\n```\n"
        for caption, entries in groups.items()
    )


def _variables() -> str:
    variables: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docs/variables.yml").read_text("utf-8"))
    told = [
        "# Variables\n",
        "Set them for all hosts, for a group or for a host, wherever Ansible reads variables. Preflight refuses a misspelt",
        "variable, and a value that cannot work, by name. Variables of single roles fall back on these.\n",
    ]
    for name, variable in variables.items():
        kind = variable["type"] + (f" of {variable['elements']}" if "elements" in variable else "")
        limits = [f"{word} `{variable[word]}`" for word in ("minimum", "maximum", "form") if word in variable]
        if "choices" in variable:
            limits.append("one of " + ", ".join(f"`{_plain(choice)}`" for choice in variable["choices"]))
        default = variable["default"]
        told += [
            f"({name})=",
            f"## `{name}`\n",
            without_html(variable["description"].strip()) + "\n",
            f"type\n: {', '.join([kind, *limits])}\n",
            f"default\n: {default if isinstance(default, str) and ' ' in default else f'`{_plain(default)}`'}\n",
            f"example\n: `{name}: {_plain(variable['example'])}`\n",
        ]
    return "\n".join(told)


def _plain(value: Any) -> str:
    """A value on one line, as an inventory has it."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def _playbooks() -> str:
    """Every playbook with the comment that it begins with."""
    told = ["# Playbooks\n", "Run them with `ansible-playbook` by name; all of them take the same inventory.\n"]
    for path in sorted((ROOT / "playbooks").glob("*.yml")):
        # hosts.yml is imported by the others.
        if path.stem == "hosts":
            continue
        lines = path.read_text("utf-8").split("\n")[1:]
        comment = [line[2:] for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]]
        told += [f"## `cht.couch2pg.{path.stem}`\n", _commands("\n".join(comment)), ""]
    return "\n".join(told)


def _commands(comment: str) -> str:
    """Indented lines of a comment as code."""
    blocks = []
    for block in comment.split("\n\n"):
        code = block.startswith("  ")
        blocks.append("```shell\n" + "\n".join(x.strip() for x in block.split("\n")) + "\n```" if code else block)
    return "\n\n".join(blocks)


def _roles(roles: list[str]) -> str:
    rows = [f"| [{role}]({role}/README.md) | {_summary(role)} |" for role in roles]
    toctree = "\n".join(f"{role} <{role}/README>" for role in roles)
    return (
        "# Roles\n\nEvery phase is a role that can be used alone.\n\n| role | what it does |\n| --- | --- |\n"
        + "\n".join(rows)
        + f"\n\n```{{toctree}}\n:hidden:\n\n{toctree}\n```\n"
    )


def _summary(role: str) -> str:
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text("utf-8"))
    return str(specs["argument_specs"]["main"]["short_description"])


if __name__ == "__main__":
    write_site(Path(sys.argv[1]))
