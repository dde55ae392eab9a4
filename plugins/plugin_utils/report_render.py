# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the report as HTML and Markdown with the templates of the role ``report``; all values are escaped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .report_text import NONE
from .report_variables import Variables

HTML, MARKDOWN = "report.html.j2", "report.md.j2"
_SPECIAL = re.compile(r"([\\`*\[\]<>|])")


class _Markdown(str):
    """Text that is escaped already."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def render(templates: Path, document: Variables) -> dict[str, str]:
    """Both reports, by file extension."""
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
    """Escape an expression of the template for Markdown."""
    if isinstance(value, _Markdown):
        return value
    return _Markdown(_SPECIAL.sub(r"\\\1", str(value).replace("\n", " ")))


def _code(value: Any) -> _Markdown:
    """A name as inline code, which also works in a table."""
    plain = str(value).replace("\n", " ").replace("`", "'").replace("|", "\\|")
    return _Markdown(f"`{plain}`" if plain else NONE)


def _command(value: Any) -> _Markdown:
    """A line in a code block, which can't end the block."""
    return _Markdown(str(value).replace("\n", " ").replace("~~~", "~ ~ ~"))
