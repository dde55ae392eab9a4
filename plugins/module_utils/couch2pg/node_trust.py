# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether couch2pg's Node.js trusts CouchDB's certificate.

Node.js has its own list of authorities, and an old Node.js an old list. So Node.js itself opens a TLS connection to find out.
"""

from __future__ import annotations

import re
import subprocess
from typing import Mapping, Sequence

from ..common.errors import MigrationError
from ..couchdb import certificate
from ..couchdb.url import CouchdbUrl
from ..host.programs import ask
from .settings import OF_NODE

# The URL in the argument has no credentials, and nothing is sent over the connection.
_SCRIPT = (
    "const url = require('url').parse(process.argv[1]);"
    "const host = url.hostname.replace(/^\\[|\\]$/g, '');"
    "const socket = require('tls').connect({host: host, port: url.port || 443,"
    " servername: require('net').isIP(host) ? '' : host}, () => { console.log('trusted'); socket.end(); });"
    "socket.setTimeout(15000, () => { console.log('no answer within 15 s'); process.exit(); });"
    "socket.on('error', error => console.log(error.message));"
)
# Errors that occur before the server sends its certificate.
_AWAY = re.compile(r"\bE[A-Z]{4,}\b|EAI_AGAIN|no answer within|wrong version number|socket (?:disconnected|hang up)")


def check(node: Sequence[str], url: CouchdbUrl, variables: Mapping[str, str]) -> None:
    """Check that couch2pg can open a TLS connection to ``url``; does nothing for plain HTTP.

    node: the command that runs couch2pg's Node.js. variables: couch2pg's settings.
    Raises MigrationError ``node_trust``, ``couchdb_unreachable``, or ``node_missing`` when Node.js can't be run.
    """
    if url.scheme != "https":
        return
    own = [f"{name}={variables[name]}" for name in OF_NODE if name in variables]
    try:
        answer = ask(["env", *own, *node, "-e", _SCRIPT, url.server], inherit=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _not_run(node, str(error)) from error
    said = answer.output.strip()
    if not said:
        raise _not_run(node, answer.stderr)
    reason = said.splitlines()[-1].rstrip(".")
    if _AWAY.search(reason):
        raise MigrationError(
            f"couch2pg's Node.js doesn't reach CouchDB at {url.server} by TLS: {reason}. Check its name, its port, that it speaks TLS "
            "there, and the firewalls in between.",
            "couchdb_unreachable",
        )
    if reason != "trusted":
        raise MigrationError(
            f"couch2pg's Node.js does not trust CouchDB at {url.server}: {reason}. "
            f"{certificate.remedy(reason, variables.get(certificate.VARIABLE, ''))}",
            "node_trust",
        )


def _not_run(node: Sequence[str], reason: str) -> MigrationError:
    return MigrationError(
        f"{' '.join(node)} can't be run to check whether it trusts CouchDB: {reason or 'no output'}. Install the Node.js "
        "that couch2pg runs on (8, 10 or 12), or set node in couch2pg_app.",
        "node_missing",
    )
