# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a database contains and pg_dump doesn't print: the server's own objects, members of extensions, subscriptions.

Two databases of one server contain the same such objects when the same extensions were created in both.
"""

from __future__ import annotations

import hashlib
from typing import Mapping, NamedTuple

from .session import Session

FIRST_USER_OID = 16384
SQL_BODY_SINCE = 140000


class Unprinted(NamedTuple):
    """An object: what it is, and its identity with its schema."""

    kind: str
    identity: str


_EXTENSIONS = """
SELECT 'extension' AS kind, e.extname::text AS identity,
       'version ' || e.extversion AS text
FROM pg_catalog.pg_extension AS e
"""
# A subscription has no text here: its connection string may hold a password.
_SUBSCRIPTIONS = """
SELECT 'subscription', s.subname::text, 'subscription' FROM pg_catalog.pg_subscription AS s
WHERE s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
"""
_FUNCTIONS = """
SELECT {kind}, 'function ' || n.nspname || '.' || p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
        pg_catalog.concat_ws(E'\\n',
           {of_another}, 'arguments ' || pg_catalog.pg_get_function_arguments(p.oid),
           'result ' || pg_catalog.pg_get_function_result(p.oid), 'cost ' || p.procost::text, 'rows ' || p.prorows::text,
           'volatile ' || p.provolatile::text, 'parallel ' || p.proparallel::text, 'strict ' || p.proisstrict::text,
           'security definer ' || p.prosecdef::text, 'leakproof ' || p.proleakproof::text, 'settings ' || p.proconfig::text,
           'library ' || p.probin, p.prosrc, {body})
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace {owner}
WHERE {unprinted}
"""
_RELATIONS = """
SELECT {kind}, 'relation ' || n.nspname || '.' || c.relname, pg_catalog.concat_ws(E'\\n',
           {of_another}, 'options ' || c.reloptions::text,
           CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) ELSE (
               SELECT pg_catalog.string_agg(a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
                          || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, E'\\n' ORDER BY a.attnum)
               FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace {owner}
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND {unprinted}
"""
_OWNER = """
LEFT JOIN (pg_catalog.pg_depend AS d JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid) ON d.deptype = 'e'
    AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.classid = 'pg_catalog.{catalog}'::pg_catalog.regclass
    AND d.objid = {alias}.oid
"""
# The owner, if it isn't the extension's owner. Members of an extension usually belong to the role that created the extension.
_OF_ANOTHER = "CASE WHEN {owner} IS DISTINCT FROM e.extowner THEN 'owner ' || pg_catalog.pg_get_userbyid({owner}) END"
_KIND = "CASE WHEN e.oid IS NULL THEN 'object of the server' ELSE 'member of extension ' || e.extname END"
_UNPRINTED = (
    f"(e.oid IS NOT NULL OR {{alias}}.oid < {FIRST_USER_OID} OR n.nspname IN ('pg_catalog', 'information_schema'))"
)


def read_unprinted(session: Session) -> dict[Unprinted, str]:
    """The text of every such object in the session's database."""
    body = "pg_catalog.pg_get_function_sqlbody(p.oid)" if session.version >= SQL_BODY_SINCE else "NULL"
    functions, relations = (
        query.format(
            kind=_KIND,
            owner=_OWNER.format(catalog=catalog, alias=alias),
            of_another=_OF_ANOTHER.format(owner=f"{alias}.{owner}"),
            unprinted=_UNPRINTED.format(alias=alias),
            body=body,
        )
        for query, catalog, alias, owner in (
            (_FUNCTIONS, "pg_proc", "p", "proowner"),
            (_RELATIONS, "pg_class", "c", "relowner"),
        )
    )
    rows = session.rows(f"{_EXTENSIONS} UNION ALL {_SUBSCRIPTIONS} UNION ALL {functions} UNION ALL {relations}")
    return {Unprinted(row["kind"], row["identity"]): row["text"] for row in rows}


def fingerprints(texts: Mapping[Unprinted, str]) -> dict[str, str]:
    """The start of each text's SHA-256, by kind and identity: for the evidence, which would be too large with the texts themselves."""
    return {
        f"{entry.kind} {entry.identity}": hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:16]
        for entry, text in texts.items()
    }
