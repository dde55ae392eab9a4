# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules on the target's host that read the source's server themselves."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.source)."""

    DOCUMENTATION = r"""
options:
  source:
    description: How this host reaches the source's database. Options have the names and defaults of the module's own.
    type: dict
    required: true
    suboptions:
      database:
        description: Name of the source's database.
        type: str
        required: true
      login_host:
        description: Address of the source's server; empty means the Unix socket.
        type: str
        default: ""
      login_port:
        description: Port of the source's server.
        type: int
        default: 5432
      login_user:
        description: Role that connects; it must be able to read every table.
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
        description: File on this host with the certificates that are trusted.
        type: path
        default: ""
      ssl_cert:
        description: PEM file on this host with the role's own certificate.
        type: path
        default: ""
      ssl_key:
        description: File on this host with the key of the certificate.
        type: path
        default: ""
      connect_params:
        description: Further connection parameters of libpq. None of them may be secret.
        type: dict
        default: {}
      maintenance_database:
        description: Database to connect to when O(source.database) can't be connected to.
        type: str
        default: postgres
      login_container:
        description: Name of the container of this host that the source's server runs in.
        type: str
        default: ""
  tunnel:
    description:
      - The way through SSH to the source's server, instead of O(source.login_host) and O(source.login_port).
      - It needs the key and the gate of M(cht.couch2pg.transfer_key), with O(cht.couch2pg.transfer_key#module:kind=restore). The job
        removes both when it ends.
      - In check mode there is no key yet, so nothing is checked that needs a connection to the source's server.
    type: dict
    suboptions:
      address:
        description: Address of the source's sshd.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        default: 22
      user:
        description: RV(cht.couch2pg.transfer_key#module:user) of the source.
        type: str
        default: ""
      host_keys:
        description: RV(cht.couch2pg.transfer_key#module:host_keys) of the source. No others are accepted.
        type: list
        elements: str
        default: []
      obstacles:
        description: What may keep the source's sshd from accepting the key, for the message when it does not.
        type: list
        elements: str
        default: []
      source_host:
        description:
          - For a way through the controller, the source's name in the inventory. While the task runs, the controller forwards
            O(tunnel.port) of this host, which is RV(cht.couch2pg.transfer_key#module:port), to the source's sshd.
        type: str
        default: ""
  archive:
    description: Folder on this host for the evidence and the archive of the schema.
    type: path
    required: true
"""
