# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Libraries for a packaged server that no package brings: a provider of security labels, and one that must be loaded at the start."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .binaries import Binaries
from .places import SupportError

LABELS, AT_START = "marks", "from-start"

_HEAD = '#include "postgres.h"\n#include "commands/seclabel.h"\n#include "fmgr.h"\n#include "miscadmin.h"\nPG_MODULE_MAGIC;\n'
_SOURCES = {
    LABELS: """
static void accept_label(const ObjectAddress *object, const char *label) {}
void _PG_init(void) { register_label_provider("marks", accept_label); }
""",
    # As pg_cron, pgaudit and TimescaleDB do it.
    AT_START: """
PG_FUNCTION_INFO_V1(loaded);
Datum loaded(PG_FUNCTION_ARGS) { PG_RETURN_BOOL(true); }
void _PG_init(void)
{
    if (!process_shared_preload_libraries_in_progress)
        ereport(ERROR, (errmsg("from-start can only be loaded via shared_preload_libraries")));
}
""",
}


def build(installed: Binaries, folder: Path) -> dict[str, str]:
    """Compile both into ``folder``, with an extension for the second; the settings with which a server of 18 finds them there."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SupportError("A compiler of C is needed: apt install gcc libc6-dev.")
    headers = installed.bin_dir.parent / "include" / "postgresql" / "server"
    extension = folder / "extension"
    extension.mkdir(parents=True)
    for name, source in _SOURCES.items():
        file = folder / f"{name}.c"
        file.write_text(_HEAD + source, encoding="utf-8")
        subprocess.run([compiler, "-shared", "-fPIC", f"-I{headers}", "-o", folder / f"{name}.so", file], check=True)
    (extension / f"{AT_START}.control").write_text(
        f"default_version = '1'\nmodule_pathname = '{AT_START}'\n", encoding="utf-8"
    )
    (extension / f"{AT_START}--1.sql").write_text(
        "CREATE FUNCTION loaded() RETURNS boolean LANGUAGE c AS 'MODULE_PATHNAME';\n", encoding="utf-8"
    )
    return {"dynamic_library_path": f"{folder}:$libdir", "extension_control_path": f"{folder}:$system"}
