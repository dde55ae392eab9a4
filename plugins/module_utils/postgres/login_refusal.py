# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SQLSTATE of a refused login. psycopg2 doesn't provide it, and the server's message may be in any language."""

from __future__ import annotations

import ctypes
import re
import select
import time
from importlib import import_module
from typing import Any, Mapping

try:
    import psycopg2
    import psycopg2.extensions
except ImportError:
    # adapter.connection.require_psycopg2 reports the missing psycopg2.
    pass

_VERBOSE = 2
_SQLSTATE = re.compile(r"^\S+: +([0-9A-Z]{5}): ", re.MULTILINE)
SECONDS = 15.0


def sqlstate(parameters: Mapping[str, Any]) -> str | None:
    """Log in again and return the SQLSTATE of the refusal; None when the server gave none, or psycopg2 is too old.

    ``parameters`` are those of ``psycopg2.connect``. libpq puts the SQLSTATE into its message if the verbosity is set before
    the message arrives. Only an asynchronous connection allows that.
    """
    try:
        connection = psycopg2.connect(**parameters, async_=True)
        _be_verbose(connection)
        _wait(connection)
        connection.close()
    except psycopg2.Error as error:
        found = _SQLSTATE.search(str(error))
        return found.group(1) if found else None
    except (AttributeError, OSError):
        return None
    return None


def _be_verbose(connection: Any) -> None:
    # Loading psycopg2's own library finds the symbols of the libpq that psycopg2 is linked with.
    library = ctypes.PyDLL(import_module("psycopg2._psycopg").__file__)
    set_verbosity = library.PQsetErrorVerbosity
    set_verbosity.argtypes, set_verbosity.restype = [ctypes.c_void_p, ctypes.c_int], ctypes.c_int
    set_verbosity(connection.pgconn_ptr, _VERBOSE)


def _wait(connection: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        state = connection.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        sockets = [connection.fileno()]
        reading = state == psycopg2.extensions.POLL_READ
        select.select(sockets if reading else [], [] if reading else sockets, [], deadline - time.monotonic())
