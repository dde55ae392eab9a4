# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx's settings for the documentation site. Nothing of it needs a network, neither to build nor to read."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import yaml

galaxy = yaml.safe_load((Path(__file__).resolve().parents[2] / "galaxy.yml").read_text(encoding="utf-8"))

project = f"{galaxy['namespace']}.{galaxy['name']}"
release = galaxy["version"]
copyright = ", ".join(galaxy["authors"])  # noqa: A001
extensions = ["myst_parser", "sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
exclude_patterns = ["reference/environment_variables.rst"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = [str(Path(__file__).with_name("static"))]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False


def _inventory(labels: dict[str, str]) -> str:
    """A file that tells intersphinx where pages of another site are, so that the site need not be asked."""
    head = "# Sphinx inventory version 2\n# Project: ansible-core\n# Version:\n# The rest of this file is compressed with zlib.\n"
    body = "".join(f"{label} std:label -1 {page}.html {label}\n" for label, page in labels.items())
    path = Path(tempfile.mkdtemp()) / "objects.inv"
    path.write_bytes(head.encode() + zlib.compress(body.encode()))
    return str(path)


# The pages of Ansible's documentation that the reference leads to.
ANSIBLE_PAGES = {
    "action_plugins": "plugins/action",
    "common_return_values": "reference_appendices/common_return_values",
}
intersphinx_mapping = {"ansible": ("https://docs.ansible.com/ansible-core/devel/", _inventory(ANSIBLE_PAGES))}
