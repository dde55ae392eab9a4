# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as HTML and as Markdown, out of the templates of the role ``report``; whatever they are given is escaped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .report_text import NONE

HTML, MARKDOWN = "report.html.j2", "report.md.j2"
_SPECIAL = re.compile(r"([\\`*\[\]<>|])")


class _Markdown(str):
    """Text that is ready: nothing of it is escaped once more, neither here nor by the template."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def render(templates: Path, document: dict[str, Any]) -> dict[str, str]:
    """Both reports, by the ending of their file."""
    html = _environment(templates)
    markdown = _environment(templates, finalize=_escape)
    markdown.filters.update(code=_code, command=_command)
    return {
        "html": html.get_template(HTML).render(document),
        "md": markdown.get_template(MARKDOWN).render(document),
    }


def _environment(templates: Path, **options: Any) -> Environment:
    return Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


def _escape(value: Any) -> _Markdown:
    """For Markdown, in place of HTML's entities: every expression of the template comes by here."""
    if isinstance(value, _Markdown):
        return value
    return _Markdown(_SPECIAL.sub(r"\\\1", str(value).replace("\n", " ")))


def _code(value: Any) -> _Markdown:
    """A name in the type of code, in or outside of a table."""
    plain = str(value).replace("\n", " ").replace("`", "'").replace("|", "\\|")
    return _Markdown(f"`{plain}`" if plain else NONE)


def _command(value: Any) -> _Markdown:
    """A line inside of a block of code, which it can't end."""
    return _Markdown(str(value).replace("\n", " ").replace("~~~", "~ ~ ~"))
