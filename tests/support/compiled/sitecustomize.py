# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With this folder on PYTHONPATH, no job compiles the code that an earlier one has compiled.

Each job has a copy of its code, and the tests run thousands of jobs that take less time than to compile it. Only what Python
has loaded already is imported here, because every program pays for it.
"""

from __future__ import annotations

import _imp
import marshal
import os
import sys
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any

# .cache/compiled, from tests/support/compiled/sitecustomize.py
CACHE = os.path.join(__file__.rsplit("/", 4)[0], ".cache", "compiled", str(sys.implementation.cache_tag))  # noqa: PTH118
_compile = SourceFileLoader.source_to_code


def _compile_once(self: Any, data: Any, path: Any, **others: Any) -> CodeType:
    if not isinstance(data, bytes) or "/code/ansible_collections/" not in str(path):
        return _compile(self, data, path, **others)
    compiled = f"{CACHE}/{_imp.source_hash(len(data), data).hex()}"
    try:
        with open(compiled, "rb") as stream:  # noqa: PTH123
            code: CodeType = marshal.loads(stream.read())
    except (OSError, EOFError, ValueError, TypeError):
        code = _compile(self, data, path, **others)
        _write(compiled, marshal.dumps(code))
    # Tracebacks name the job's own copy.
    _imp._fix_co_filename(code, path)  # noqa: SLF001
    return code


def _write(path: str, content: bytes) -> None:
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(CACHE, exist_ok=True)  # noqa: PTH103
        with open(temporary, "wb") as stream:  # noqa: PTH123
            stream.write(content)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError:
        # A job of a user who may not write here compiles as ever.
        return


SourceFileLoader.source_to_code = _compile_once  # type: ignore[assignment, method-assign]
