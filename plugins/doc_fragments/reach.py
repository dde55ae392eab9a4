# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that connect to CouchDB and PostgreSQL with couch2pg's settings, from its host."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.reach)."""

    DOCUMENTATION = r"""
options:
  ca_cert:
    description:
      - File on this host with certificates to trust for CouchDB, in addition to the system's.
      - The default is the file of C(NODE_EXTRA_CA_CERTS) in the settings, if this host has it.
    type: path
    default: ""
  couchdb_server:
    description:
      - Address of CouchDB on this host, as C(scheme://host:port) without credentials, when couch2pg's settings have another one, as in
        a network of containers.
    type: str
    default: ""
  login_host:
    description: Address of PostgreSQL on this host, when couch2pg's settings have another one, as in a network of containers.
    type: str
    default: ""
  login_port:
    description: Port of PostgreSQL on this host, when couch2pg's settings have another one.
    type: int
"""
