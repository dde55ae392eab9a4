# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that ask CouchDB and PostgreSQL in couch2pg's name, from the host on which it runs."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.reach)."""

    DOCUMENTATION = r"""
options:
  ca_cert:
    description:
      - File on this host with the certificates that are trusted for CouchDB, beside the system's.
      - The default is that of C(NODE_EXTRA_CA_CERTS) in the settings, where this host has it.
    type: path
    default: ""
  couchdb_server:
    description:
      - Where CouchDB is for this host, as C(scheme://host:port) without credentials, where couch2pg knows it by another name, as in a
        network of containers.
    type: str
    default: ""
  login_host:
    description: Address of PostgreSQL, where this host knows it by another one than couch2pg, as with a network of containers.
    type: str
    default: ""
  login_port:
    description: Port of PostgreSQL, where it is another one for this host than for couch2pg.
    type: int
"""
