# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option of modules that open or choose the way to the source's server."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.gate_server)."""

    DOCUMENTATION = r"""
options:
  server:
    description:
      - The source's PostgreSQL server, as the host of the task reaches it.
    type: dict
    suboptions:
      database:
        description: Name of the database.
        type: str
        required: true
      login_host:
        description: Address of the server; empty means the Unix socket.
        type: str
        default: ""
      login_port:
        description: Port of the server.
        type: int
        default: 5432
      login_user:
        description: Role that connects.
        type: str
        default: postgres
      login_password:
        description: Password of the role.
        type: str
      login_unix_socket:
        description: Folder of the Unix socket; empty means where libpq looks for it.
        type: str
        default: ""
      ssl_mode:
        description: How TLS is negotiated, as libpq's C(sslmode).
        type: str
        default: prefer
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
      ca_cert:
        description: File with the certificates that are trusted.
        type: path
        default: ""
      ssl_cert:
        description: PEM file with the role's own certificate.
        type: path
        default: ""
      ssl_key:
        description: File with the key of the certificate.
        type: path
        default: ""
      connect_params:
        description: Further connection parameters of libpq. None of them may be secret.
        type: dict
        default: {}
      maintenance_database:
        description: Database to connect to when O(server.database) can't be connected to.
        type: str
        default: postgres
      login_container:
        description: Name of the container of that host that the source's server runs in.
        type: str
        default: ""
"""
