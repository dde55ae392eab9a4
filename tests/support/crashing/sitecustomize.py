# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With this folder on PYTHONPATH, a module or its job is killed at one of its changes: see ``ground``.

Beside changes of files, the statements count that write to a database: before each of them, and after it.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
runpy.run_path(str(HERE.parent / "compiled" / "sitecustomize.py"))
WANTED = json.loads(os.environ["COUCH2PG_CRASH"])
# With -m, sys.argv doesn't name the module yet.
PROGRAM = " ".join(sys.orig_argv)
WRITES = re.compile(
    r"\s*(ALTER|CREATE|DROP|GRANT|REVOKE|COMMENT|SECURITY|INSERT|UPDATE|DELETE|TRUNCATE|REFRESH|REINDEX|ANALYZE|VACUUM|COMMIT"
    r"|REASSIGN|COPY .* FROM|SELECT pg_catalog\.(setval|lo_|pg_logical_emit))",
    re.DOTALL,
)


def _install() -> None:
    import psycopg2  # noqa: PLC0415 - every program pays for it
    from psycopg2.extensions import TRANSACTION_STATUS_IDLE, cursor  # noqa: PLC0415

    sys.path.append(str(HERE.parent.parent))
    from support.crashes import Crash  # noqa: PLC0415

    crash = Crash(Path(WANTED["root"]), WANTED["at"], WANTED["ignored"], Path(WANTED["log"]), WANTED["group"])
    connect = psycopg2.connect

    class Cursor(cursor):
        """A cursor that is killed."""

        def execute(self, statement: Any, *more: Any) -> None:
            """Run the statement, and count it when it writes."""
            text = statement if isinstance(statement, str) else str(statement)
            # In a transaction, nothing is written before its end.
            idle = self.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
            if not (WRITES.match(text) and (idle or text.startswith("COMMIT"))):
                super().execute(statement, *more)
                return
            shown = " ".join(text.split())[:120]
            crash.count("before", shown)
            super().execute(statement, *more)
            crash.count("after", shown)

    def connected(*arguments: Any, **options: Any) -> Any:
        return connect(*arguments, **{**options, "cursor_factory": Cursor})

    psycopg2.connect = connected
    crash.install()


if WANTED["program"] in PROGRAM:
    _install()
