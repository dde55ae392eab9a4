# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the target's server answers in English: harmless messages of pg_restore are only recognised in English."""

from __future__ import annotations

import re

from ..postgres.identifiers import quote
from ..postgres.session import Session

_ENGLISH = re.compile(r"C|POSIX|C[._-].*|en([_.@].*)?|English.*|", re.IGNORECASE)


def problem(session: Session) -> str:
    """Why messages would be in another language, with the remedy; empty when they are in English.

    ``Session`` sets the language itself if the role may do that: a superuser, or a role with a grant.
    """
    language = str(session.value("SELECT pg_catalog.current_setting('lc_messages')"))
    if _ENGLISH.fullmatch(language):
        return ""
    user = quote(session.settings.user)
    return (
        f"The server speaks {language}, and the role {session.settings.user!r} may not change that, so harmless messages of "
        "pg_restore would stop the restore. Connect as a superuser (couch2pg_login_user: postgres), or have a superuser run: "
        f"ALTER ROLE {user} SET lc_messages = 'C';"
    )
