# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL expressions for privileges as texts (``role PRIVILEGE [WITH GRANT OPTION]``) and for extension membership."""

from __future__ import annotations

from .relations import EXTENSION_MEMBER

GRANTABLE = " WITH GRANT OPTION"


def grants(acl: str, kind: str, owner: str) -> str:
    """SQL for the privileges in ``acl`` (the default ones when it is NULL) as a sorted jsonb list of texts."""
    return f"""(
        SELECT coalesce(pg_catalog.jsonb_agg(g ORDER BY g COLLATE "C"), '[]') FROM (
            SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END
                   || ' ' || x.privilege_type || CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS g
            FROM pg_catalog.aclexplode(coalesce({acl}, pg_catalog.acldefault('{kind}', {owner}))) AS x
        ) AS listed)"""


def not_member(catalog: str, oid: str) -> str:
    """SQL that is true for an object that doesn't belong to an extension."""
    return f"NOT {EXTENSION_MEMBER.format(catalog=catalog, oid=oid)}"


def not_part(catalog: str, oid: str) -> str:
    """SQL that is true for an object that isn't an internal part of another one, such as a range's multirange type."""
    return (
        f"NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = '{catalog}'::regclass "
        f"AND d.objid = {oid} AND d.deptype = 'i')"
    )


def grantee(text: str) -> str:
    """The role in a text of ``grants``. A privilege is one word; a role name may contain spaces."""
    return text.replace(GRANTABLE, "").rsplit(" ", 1)[0]


def privilege(text: str) -> str:
    """The privilege in a text of ``grants``."""
    return text.replace(GRANTABLE, "").rsplit(" ", 1)[1]
