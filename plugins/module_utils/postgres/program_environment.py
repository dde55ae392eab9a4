# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of PostgreSQL's own programs, which gives their sessions the settings of ``Session``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Collection

from . import session_settings
from .connection import APPLICATION_NAME, ConnectionSettings
from .session import Session


def program_environment(settings: ConnectionSettings, passfile: Path, leave: Collection[str] = ()) -> dict[str, str]:
    """The environment for a PostgreSQL program; its password comes from ``passfile``.

    The program's messages are in English and it inherits no ``PG*`` variable. Its sessions have the settings of
    ``Session`` except those in ``leave``. A ``Session`` is opened to find out which settings this server has and this role may set.
    """
    with Session(settings) as session:
        pinned = {name: value for name, value in session.pinned.items() if name not in leave}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    names = {
        "dbname": "PGDATABASE",
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "sslmode": "PGSSLMODE",
        "sslrootcert": "PGSSLROOTCERT",
        "sslcert": "PGSSLCERT",
        "sslkey": "PGSSLKEY",
        "connect_timeout": "PGCONNECT_TIMEOUT",
    }
    libpq = settings.libpq()
    clean.update({variable: libpq[name] for name, variable in names.items() if name in libpq})
    clean.update(PGPASSFILE=str(passfile), PGAPPNAME=APPLICATION_NAME, LC_ALL="C")
    # PGOPTIONS override the settings of the database and the role; pg_dump and pg_restore set few themselves.
    clean.update(PGCLIENTENCODING="UTF8", PGOPTIONS=session_settings.as_options(pinned))
    return clean
