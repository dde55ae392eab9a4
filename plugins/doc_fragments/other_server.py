# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that handle differences between the target's server and the source's."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.other_server)."""

    DOCUMENTATION = r"""
options:
  missing_roles:
    description:
      - V(create) creates roles that the target lacks, without login and password.
      - V(revoke) does so for roles that own something. Other roles exist only during the restore, and their grants are revoked.
      - V(fail) fails if the target lacks a role.
    type: str
    default: create
    choices: [create, revoke, fail]
  role_map:
    description:
      - Roles that have another name on the target, as C(old name) and C(new name). On the target, the new role gets the ownership and the
        grants of the old one in this database; other databases are not changed. A missing new role is created without login.
      - Passwords are not copied.
    type: dict
    default: {}
  function_search_path:
    description:
      - Functions whose C(search_path) is set on the target, as C(schema.function(types)) and the path. This is for functions
        that use names without a schema and that a materialized view, an index, a constraint or a generated column calls.
      - M(cht.couch2pg.preflight) reports them. The source is not changed.
    type: dict
    default: {}
  tablespaces:
    description: V(keep) puts tables and indexes into tablespaces of the same names; V(default) puts everything into the default one.
    type: str
    default: keep
    choices: [keep, default]
  extension_versions:
    description:
      - The version of extensions on the target, by the extension's name. Other extensions get the default version of the target's
        server, which must not be older than the source's.
    type: dict
    default: {}
"""
