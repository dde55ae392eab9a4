# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where PostgreSQL runs on a host, as far as its variables say: ``couch2pg_postgres`` and those of the connection."""

from __future__ import annotations

from typing import Any, Mapping

VARIABLE, ADDRESS = "couch2pg_postgres", "couch2pg_login_host"
KINDS = ("auto", "host", "container", "service")
ENTRIES = ("kind", "container")
SOCKET, USER = "couch2pg_login_unix_socket", "couch2pg_become_user"
NAMES = (VARIABLE, ADDRESS, SOCKET, USER)


def problems(values: Mapping[str, Any]) -> list[str]:
    """A sentence for each problem of a host's variables ``values``."""
    given = values.get(VARIABLE)
    if not isinstance(given, Mapping):
        # A value that is no mapping is reported with the other variables.
        return []
    unknown = sorted(set(given) - set(ENTRIES))
    kind = given.get("kind", "auto")
    found = [f"The variable {VARIABLE} has no entry {name}: it has {' and '.join(ENTRIES)}." for name in unknown]
    if kind not in KINDS:
        found.append(f"The variable {VARIABLE}.kind must be one of {', '.join(KINDS)}, and it is {kind!r}.")
    elif kind in ("host", "service") and given.get("container"):
        found.append(f"The variable {VARIABLE} has the kind {kind} and names a container: leave one of them out.")
    if kind == "service" and not values.get(ADDRESS):
        found.append(
            f"The variable {VARIABLE} has the kind service, and nothing says where the service is: set {ADDRESS} to its address."
        )
    return found


def is_open(values: Mapping[str, Any]) -> bool:
    """Whether a host's variables ``values`` leave open where PostgreSQL runs, or which user works for it there."""
    given = values.get(VARIABLE)
    entries = given if isinstance(given, Mapping) else {}
    kind = entries.get("kind", "auto")
    if ADDRESS not in values and (kind == "container" or (kind == "auto" and SOCKET not in values)):
        return True
    return USER not in values and (kind == "service" or bool(entries.get("container")))
