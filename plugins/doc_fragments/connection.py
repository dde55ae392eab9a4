# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that talks to PostgreSQL."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.connection)."""

    DOCUMENTATION = r"""
options:
  database:
    description: Name of the database.
    type: str
    required: true
  login_host:
    description:
      - Address of the PostgreSQL server, as seen from the managed host.
      - Empty means the Unix socket.
    type: str
    default: ""
  login_port:
    description: Port of the PostgreSQL server; it is also part of the Unix socket's name.
    type: int
    default: 5432
  login_user:
    description: Role to log in as. It must be able to read every table on the source, and to create databases on the target.
    type: str
    default: postgres
  login_password:
    description: Password of the role. It is never written to a command line, a log or a result.
    type: str
  login_unix_socket:
    description: Folder of the Unix socket; empty means libpq's default. Used when O(login_host) is empty.
    type: str
    default: ""
  ssl_mode:
    description: How TLS is negotiated, as libpq's C(sslmode).
    type: str
    default: prefer
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
  ca_cert:
    description: PEM file with the certificates to trust, on the managed host; empty means libpq's default.
    type: path
    default: ""
  ssl_cert:
    description: PEM file with the role's own certificate, on the managed host.
    type: path
    default: ""
  ssl_key:
    description: File with the key of O(ssl_cert). Only its user may read it.
    type: path
    default: ""
  connect_params:
    description: Further connection parameters of libpq, such as C(hostaddr) or C(gssencmode). None of them may be secret.
    type: dict
    default: {}
  maintenance_database:
    description: Database to connect to while others are created and renamed.
    type: str
    default: postgres
  login_container:
    description:
      - Name of the container of the managed host that the server runs in, or C(PROJECT/SERVICE) of Compose. It must run.
      - Host, port, superuser and password that are not given come from the container. A O(login_user) of V(postgres) stands for
        its superuser.
      - The module needs the right to use Docker there, as root has.
    type: str
    default: ""
requirements:
  - psycopg2 2.8 or later (Debian, Ubuntu and Red Hat C(python3-psycopg2)) on the managed host
"""
