# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of tests share the compiled form of the code that each of them carries: compiling takes half of their start.

Python imports this module by itself where its folder is in PYTHONPATH. ``warm_server`` puts it there, and a job inherits it.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import types
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path

COMPILED = Path(__file__).parents[3] / ".cache" / "compiled"
compile_source = SourceFileLoader.get_code


def get_code(self: SourceFileLoader, fullname: str) -> types.CodeType | None:
    """Stands in for ``SourceFileLoader.get_code``."""
    path = self.get_filename(fullname)
    if "/code/ansible_collections/" not in path:
        return compile_source(self, fullname)
    key = hashlib.sha256(f"{sys.version} {fullname} ".encode() + self.get_data(path)).hexdigest()
    kept = COMPILED / key
    with suppress(OSError):
        code: types.CodeType = marshal.loads(kept.read_bytes())
        return code
    compiled = compile_source(self, fullname)
    # A job of a user who may not write here compiles for itself.
    with suppress(OSError):
        COMPILED.mkdir(exist_ok=True)
        half_done = kept.with_suffix(f".{os.getpid()}")
        half_done.write_bytes(marshal.dumps(compiled))
        half_done.replace(kept)
    return compiled


SourceFileLoader.get_code = get_code  # type: ignore[assignment, method-assign]
