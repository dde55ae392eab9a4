# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether couch2pg's Node.js trusts CouchDB's certificate.

Node.js has its own list of authorities, and an old Node.js an old list. So Node.js itself opens a TLS connection to find out.
"""

from __future__ import annotations

import subprocess
from typing import Mapping, Sequence

from ..common.errors import MigrationError
from ..couchdb.url import CouchdbUrl
from ..host.programs import ask

# The URL in the argument has no credentials, and nothing is sent over the connection.
_SCRIPT = (
    "const url = require('url').parse(process.argv[1]);"
    "const host = url.hostname.replace(/^\\[|\\]$/g, '');"
    "const socket = require('tls').connect({host: host, port: url.port || 443,"
    " servername: require('net').isIP(host) ? '' : host}, () => { console.log('trusted'); socket.end(); });"
    "socket.setTimeout(15000, () => { console.log('no answer within 15 s'); process.exit(); });"
    "socket.on('error', error => console.log(error.message));"
)
VARIABLES = ("NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_OPTIONS")


def check(node: Sequence[str], url: CouchdbUrl, variables: Mapping[str, str]) -> None:
    """Check that couch2pg can open a TLS connection to ``url``; does nothing for plain HTTP.

    node: the command that runs couch2pg's Node.js. variables: couch2pg's settings.
    Raises MigrationError ``node_trust``, or ``node_missing`` when Node.js can't be run.
    """
    if url.scheme != "https":
        return
    own = [f"{name}={variables[name]}" for name in VARIABLES if name in variables]
    try:
        answer = ask(["env", *own, *node, "-e", _SCRIPT, url.server], inherit=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _not_run(node, str(error)) from error
    said = answer.output.strip()
    if not said:
        raise _not_run(node, answer.stderr)
    if said.splitlines()[-1] != "trusted":
        raise MigrationError(
            f"couch2pg's Node.js does not trust CouchDB at {url.server}: {said.splitlines()[-1]}. Set NODE_EXTRA_CA_CERTS in "
            "couch2pg's settings to a file with the certificate of its authority.",
            "node_trust",
        )


def _not_run(node: Sequence[str], reason: str) -> MigrationError:
    return MigrationError(
        f"{' '.join(node)} can't be run to check whether it trusts CouchDB: {reason or 'no output'}. Install the Node.js "
        "that couch2pg runs on (8, 10 or 12), or set node in couch2pg_app.",
        "node_missing",
    )
