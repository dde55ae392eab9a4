# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say what becomes of what the target's server has otherwise than the source's."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.other_server)."""

    DOCUMENTATION = r"""
options:
  missing_roles:
    description:
      - V(create) makes roles that the target lacks, without login and password.
      - V(revoke) does so for roles that own something; others exist only while the restore runs, and what they were granted is revoked.
      - V(fail) refuses.
    type: str
    default: create
    choices: [create, revoke, fail]
  role_map:
    description:
      - Roles that bear another name on the target, as C(old name) and C(new name). What the old one owns and may do in this database
        the new one has on the target; other databases are left alone. A new one that isn't there is created without login.
      - A password doesn't come along.
    type: dict
    default: {}
  function_search_path:
    description:
      - Functions that get a C(search_path) of their own on the target, as C(schema.function(types)) and the path. It is for functions
        that name something without its schema and that a materialized view, an index, a constraint or a generated column calls.
      - M(cht.couch2pg.preflight) names them. The source stays as it is.
    type: dict
    default: {}
  tablespaces:
    description: V(keep) puts tables and indexes into tablespaces of the same names; V(default) puts all into the default one.
    type: str
    default: keep
    choices: [keep, default]
  extension_versions:
    description:
      - The version of an extension that the target gets, by the extension's name; others get the one that the target's server takes
        by itself, which must not be older than the source's.
    type: dict
    default: {}
"""
