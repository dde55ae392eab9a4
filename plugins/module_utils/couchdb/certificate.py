# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remedy when a program refuses CouchDB's certificate. Another file of certificate authorities helps only in some cases."""

from __future__ import annotations

import re
from pathlib import Path

VARIABLE = "NODE_EXTRA_CA_CERTS"


def remedy(reason: str, file: str = "") -> str:
    """The remedy. reason: the message of Python or Node.js. file: the value of couch2pg's NODE_EXTRA_CA_CERTS, if it is set."""
    if re.search("expired|not yet valid", reason):
        return "Check the clock of this host; if it is right, renew the certificate of CouchDB, or of the proxy in front of it."
    if re.search("altnames|mismatch", reason):
        return (
            "Give CouchDB a certificate with that name; or set couch2pg_app_couchdb_url to a URL with a name that its certificate has, "
            "and couch2pg_rename_checkpoints: true."
        )
    if file and not Path(file).is_file():
        return f"couch2pg's {VARIABLE} names {file}, which this host lacks. Copy that file from the source."
    # CouchDB may send only its own certificate.
    authorities = (
        "the certificates of the authorities of CouchDB's certificate, from the one that signed it up to the root,"
    )
    if file:
        return f"Add {authorities} to {file}, which couch2pg's {VARIABLE} names."
    return (
        f"Put {authorities} into a file on this host, and set {VARIABLE}=FILE in couch2pg's settings here (its unit, environment file or "
        ".env)."
    )
