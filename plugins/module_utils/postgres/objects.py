# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What exists in a database: every object by kind and identity, with its owner and its grants.

Unlike definitions, these facts are never printed differently by two servers. Kinds and identities are those of
pg_identify_object. Left out: members of extensions, which their extension creates; what the server creates and names
itself; what pg_dump leaves out by design (``left_out``). Works on PostgreSQL 10 and later.
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, cast

from ..common.evidence_document import ObjectProperties
from .identifiers import sql_shown
from .privileges import GRANTABLE, grantee, grants, not_member, not_part
from .session import Session

# By kind and identity.
Objects = Dict[str, Dict[str, ObjectProperties]]

MAINTAIN_SINCE = 170000
_NEEDS_NO_QUOTES = re.compile(r'(?<!")"([a-z_][a-z0-9_$]*)"(?!")')
_JSON = re.compile(r"\bpg_catalog\.json\b")
# Every object that a user creates has an oid from here on.
_USER = "x.oid >= 16384"

# Catalog, column of the owner, column of the ACL and its kind for acldefault (empty where there is none), condition on the rows.
_OWNED = (
    ("pg_class", "relowner", "relacl", "r", "x.relkind IN ('r', 'p', 'v', 'm', 'f') AND x.relpersistence <> 't'"),
    ("pg_class", "relowner", "relacl", "s", "x.relkind = 'S' AND x.relpersistence <> 't'"),
    ("pg_proc", "proowner", "proacl", "f", not_part("pg_proc", "x.oid")),
    (
        "pg_type",
        "typowner",
        "typacl",
        "T",
        """(x.typtype IN ('b', 'd', 'e', 'r', 'p') OR EXISTS (
            SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = x.typrelid AND c.relkind = 'c'))
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_type AS e WHERE e.typarray = x.oid)""",
    ),
    ("pg_language", "lanowner", "lanacl", "l", "true"),
    ("pg_foreign_data_wrapper", "fdwowner", "fdwacl", "F", "true"),
    ("pg_foreign_server", "srvowner", "srvacl", "S", "true"),
    # Without collations that pg_import_system_collations added to pg_catalog: pg_dump leaves them out, and the restore imports them again.
    ("pg_collation", "collowner", "", "", "x.collnamespace <> 'pg_catalog'::pg_catalog.regnamespace"),
    ("pg_conversion", "conowner", "", "", "true"),
    ("pg_opclass", "opcowner", "", "", "true"),
    ("pg_opfamily", "opfowner", "", "", "true"),
    ("pg_operator", "oprowner", "", "", "x.oprcode <> 0"),
    ("pg_ts_config", "cfgowner", "", "", "true"),
    ("pg_ts_dict", "dictowner", "", "", "true"),
    ("pg_ts_parser", "", "", "", "true"),
    ("pg_ts_template", "", "", "", "true"),
    ("pg_statistic_ext", "stxowner", "", "", "true"),
    ("pg_event_trigger", "evtowner", "", "", "true"),
    ("pg_publication", "pubowner", "", "", "true"),
    ("pg_cast", "", "", "", not_part("pg_cast", "x.oid")),
    ("pg_transform", "", "", "", "true"),
    ("pg_am", "", "", "", "true"),
)
# Catalog of parts of relations, column of the relation, condition on the rows. Without parts that the server itself creates and names
# on partitions, and without not-null constraints, which have names only since PostgreSQL 18.
_PARTS = (
    ("pg_constraint", "conrelid", "x.contype NOT IN ('n', 't') AND coalesce(to_jsonb(x) ->> 'conparentid', '0') = '0'"),
    ("pg_trigger", "tgrelid", "NOT x.tgisinternal AND coalesce(to_jsonb(x) ->> 'tgparentid', '0') = '0'"),
    ("pg_rewrite", "ev_class", "x.rulename <> '_RETURN'"),
    ("pg_policy", "polrelid", "true"),
    ("pg_attrdef", "adrelid", "true"),
    ("pg_publication_rel", "prrelid", "true"),
)

_PUBLICATION_SCHEMAS_SINCE = 150000
_PUBLICATION_SCHEMAS = """
  UNION ALL SELECT 'pg_publication_namespace'::pg_catalog.regclass, x.oid, 0, NULL, NULL FROM pg_catalog.pg_publication_namespace AS x
"""

# Schema public belongs to the superuser of initdb (oid 10) up to PostgreSQL 14, and to pg_database_owner from 15 on. To be comparable, both
# owners are read as pg_database_owner.
_SCHEMAS = f"""
SELECT n.nspname AS identity, o.owner, (
    SELECT coalesce(jsonb_agg(g ORDER BY g COLLATE "C"), '[]') FROM (
        SELECT CASE WHEN left(g, length(o.before) + 1) = o.before || ' '
                    THEN o.owner || substr(g, length(o.before) + 1) ELSE g END AS g
        FROM jsonb_array_elements_text({grants("n.nspacl", "n", "n.nspowner")}) AS g) AS named) AS grants
FROM pg_catalog.pg_namespace AS n CROSS JOIN LATERAL (
    SELECT pg_get_userbyid(n.nspowner)::text AS before,
           CASE WHEN n.nspname = 'public' AND n.nspowner = 10 THEN 'pg_database_owner'
                ELSE pg_get_userbyid(n.nspowner)::text END AS owner) AS o
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND {not_member("pg_namespace", "n.oid")}
"""

_COLUMNS = f"""
SELECT {sql_shown("n.nspname", "c.relname")} AS relation, a.attname AS column, i.identity, c.relkind IN ('r', 'p', 'f') AS is_table,
       CASE WHEN a.attacl IS NOT NULL THEN {grants("a.attacl", "c", "c.relowner")} END AS grants
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.pg_identify_object('pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 0) AS i
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'f', 'v', 'm') AND c.relpersistence <> 't' AND a.attnum > 0
  AND NOT a.attisdropped AND {not_member("pg_class", "c.oid")}
"""

_POLICY_ROLES = """
SELECT i.identity, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(r)::text END
                         FROM pg_catalog.unnest(p.polroles) AS r ORDER BY 1) AS roles
FROM pg_catalog.pg_policy AS p
CROSS JOIN LATERAL pg_catalog.pg_identify_object('pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, 0) AS i
"""

_DEFAULT_PRIVILEGES = """
SELECT pg_catalog.pg_get_userbyid(a.defaclrole) || ' ' || coalesce(n.nspname, '*') || ' ' || a.defaclobjtype::text AS identity,
       (SELECT jsonb_agg(g ORDER BY g COLLATE "C") FROM (
            SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END || ' '
                   || x.privilege_type AS g FROM pg_catalog.aclexplode(a.defaclacl) AS x) AS listed) AS grants
FROM pg_catalog.pg_default_acl AS a LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = a.defaclnamespace
"""

_USER_MAPPINGS = """
SELECT m.usename || ' on ' || m.srvname AS identity, CASE WHEN m.umuser <> 0 THEN ARRAY[m.usename::text] END AS roles
FROM pg_catalog.pg_user_mappings AS m
"""

_LARGE_OBJECTS = f"""
SELECT l.oid::text AS identity, pg_catalog.pg_get_userbyid(l.lomowner)::text AS owner,
       {grants("l.lomacl", "L", "l.lomowner")} AS grants, pg_catalog.obj_description(l.oid, 'pg_largeobject') AS comment,
       (SELECT pg_catalog.string_agg(s.provider || ' ' || s.label, E'\\n' ORDER BY s.provider) FROM pg_catalog.pg_seclabel AS s
        WHERE s.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass AND s.objoid = l.oid) AS labels
FROM pg_catalog.pg_largeobject_metadata AS l
"""

_EXTENSIONS = """
SELECT e.extname AS identity, n.nspname AS schema
FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
"""

# What a user created in pg_catalog or information_schema, of which pg_dump dumps only grants.
_IN_SYSTEM_SCHEMAS = f"""
SELECT i.type AS kind, i.identity, 'it is in a schema of the server itself, and pg_dump leaves out what is there' AS reason
FROM (
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass AS classid, x.oid, x.pronamespace AS schema FROM pg_catalog.pg_proc AS x
    WHERE {_USER} AND {not_member("pg_proc", "x.oid")}
    UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, x.oid, x.relnamespace FROM pg_catalog.pg_class AS x
    WHERE {_USER} AND x.relkind IN ('r', 'v', 'm', 'S', 'f', 'p') AND {not_member("pg_class", "x.oid")}
) AS x JOIN pg_catalog.pg_namespace AS n ON n.oid = x.schema
CROSS JOIN LATERAL pg_catalog.pg_identify_object(x.classid, x.oid, 0) AS i
WHERE n.nspname IN ('pg_catalog', 'information_schema')
"""
_LEFT_OUT = f"""
SELECT 'index' AS kind, i.indexrelid::pg_catalog.regclass::text AS identity,
       'it is invalid on the source, and pg_dump leaves invalid indexes out' AS reason
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
WHERE i.indexrelid >= 16384 AND NOT i.indisvalid AND t.relkind IN ('r', 'm') AND t.relpersistence <> 't'
UNION ALL
SELECT 'operator', o.oid::pg_catalog.regoperator::text,
       'it has no function: it only stands for an operator that was never created, and pg_dump leaves it out'
FROM pg_catalog.pg_operator AS o WHERE o.oid >= 16384 AND o.oprcode = 0
UNION ALL {_IN_SYSTEM_SCHEMAS}
ORDER BY 1, 2
"""

_ROLES = """
SELECT DISTINCT pg_catalog.pg_get_userbyid(s.refobjid)::text AS name FROM pg_catalog.pg_shdepend AS s
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
  AND s.dbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
"""


def read_objects(session: Session) -> Objects:
    """Everything in the session's database, as the session's transaction sees it."""
    found: Objects = {}
    for row in session.rows(_query(session.version)):
        kind, identity = row.pop("kind"), row.pop("identity")
        properties = {name: value for name, value in row.items() if value is not None}
        found.setdefault(kind, {})[identity] = cast("ObjectProperties", properties)
    for kind, query in (
        ("schema", _SCHEMAS),
        ("default_privileges", _DEFAULT_PRIVILEGES),
        ("user_mappings", _USER_MAPPINGS),
        ("extension", _EXTENSIONS),
    ):
        found[kind] = _by_identity(session, query)
    found["large object"] = large_objects(session)
    _add_columns(found, session)
    for row in session.rows(_POLICY_ROLES):
        if row["identity"] in found.get("policy", {}):
            found["policy"][row["identity"]]["roles"] = row["roles"]
    return found


def large_objects(session: Session) -> dict[str, ObjectProperties]:
    """The large objects, as ``read_objects`` has them."""
    return _by_identity(session, _LARGE_OBJECTS)


def _by_identity(session: Session, query: str) -> dict[str, ObjectProperties]:
    """The rows of a query by the column ``identity``. The other columns are properties."""
    return {row.pop("identity"): cast("ObjectProperties", row) for row in session.rows(query)}


def _add_columns(found: Objects, session: Session) -> None:
    relations = {
        identity: entry for kind in ("table", "foreign table") for identity, entry in found.get(kind, {}).items()
    }
    granted = found.setdefault("column", {})
    for row in session.rows(_COLUMNS):
        if row["identity"] in relations:
            relations[row["identity"]].setdefault("columns", []).append(row["column"])
        if row["grants"] is not None:
            granted[f"{row['relation']}.{row['column']}"] = {"grants": row["grants"]}


def left_out(session: Session) -> list[dict[str, str]]:
    """Objects that pg_dump leaves out by design: ``{kind, identity, reason}``."""
    return session.rows(_LEFT_OUT)


def in_system_schemas(session: Session) -> list[str]:
    """Identities of the functions and relations that a user created in pg_catalog or information_schema."""
    return sorted(row["identity"] for row in session.rows(_IN_SYSTEM_SCHEMAS))


def roles_named(session: Session, objects: Objects) -> set[str]:
    """Every role that owns something, or was granted something, in the session's database.

    Also those that are only named in grants on the server's own objects or on members of extensions.
    """
    names = {row["name"] for row in session.rows(_ROLES)}
    for kind in objects.values():
        for properties in kind.values():
            names |= _roles_of(properties)
    for identity in objects.get("default_privileges", {}):
        names.add(identity.rsplit(" ", 2)[0])
    return names - {"PUBLIC"}


def _roles_of(properties: ObjectProperties) -> set[str]:
    names = {properties["owner"]} if properties.get("owner") else set()
    names.update(grantee(text) for text in properties.get("grants") or ())
    names.update(properties.get("roles") or ())
    return names


def comparable_identity(identity: str) -> str:
    """An identity without what depends on the server's version.

    Which names are quoted depends on its keywords, and from PostgreSQL 16 on it names the type json without its schema.
    """
    return _JSON.sub("json", _NEEDS_NO_QUOTES.sub(r"\1", identity))


def comparable_grants(texts: Iterable[str], versions: tuple[int, int]) -> list[str]:
    """Privileges without the one that the older of two servers doesn't have (PostgreSQL 17 added MAINTAIN)."""
    newer_only = min(versions) < MAINTAIN_SINCE
    return sorted(text for text in texts if not (newer_only and text.replace(GRANTABLE, "").endswith(" MAINTAIN")))


def _query(version: int) -> str:
    owned = [
        f"SELECT '{catalog}'::pg_catalog.regclass, x.oid, 0, {f'x.{owner}' if owner else 'NULL::oid'}, "
        f"{grants(f'x.{acl}', kind, f'x.{owner}') if acl else 'NULL::jsonb'} "
        f"FROM pg_catalog.{catalog} AS x WHERE {_USER} AND {rows} AND {not_member(catalog, 'x.oid')}"
        for catalog, owner, acl, kind, rows in _OWNED
    ]
    parts = [
        f"SELECT '{catalog}'::pg_catalog.regclass, x.oid, x.{relation}, NULL, NULL "
        f"FROM pg_catalog.{catalog} AS x WHERE {_USER} AND {rows}"
        for catalog, relation, rows in _PARTS
    ]
    indexes = """SELECT 'pg_class'::pg_catalog.regclass, x.indexrelid, x.indrelid, NULL, NULL FROM pg_catalog.pg_index AS x
        JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid
        WHERE x.indexrelid >= 16384 AND t.relkind <> 't' AND (x.indisvalid OR t.relkind = 'p')"""
    catalogs = " UNION ALL ".join([*owned, *parts, indexes])
    if version >= _PUBLICATION_SCHEMAS_SINCE:
        catalogs += _PUBLICATION_SCHEMAS
    # Parts of temporary tables and of members of extensions are left out, as are the tables and members themselves.
    return f"""
WITH object(classid, oid, relation, owner, grants) AS ({catalogs}), kept AS (
    SELECT o.* FROM object AS o LEFT JOIN pg_catalog.pg_class AS r ON r.oid = o.relation
    WHERE r.oid IS NULL OR r.relpersistence <> 't' AND {not_member("pg_class", "r.oid")}
)
SELECT i.type AS kind, i.identity, pg_catalog.pg_get_userbyid(k.owner)::text AS owner, k.grants
FROM kept AS k CROSS JOIN LATERAL pg_catalog.pg_identify_object(k.classid, k.oid, 0) AS i
WHERE coalesce(i.schema, '') NOT IN ('pg_catalog', 'information_schema')
UNION ALL
SELECT 'comment on ' || i.type, i.identity, NULL, NULL
FROM kept AS k JOIN pg_catalog.pg_description AS d ON d.classoid = k.classid AND d.objoid = k.oid
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
WHERE coalesce(i.schema, '') NOT IN ('pg_catalog', 'information_schema')
"""
