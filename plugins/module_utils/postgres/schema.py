# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of a database as plain data: every object the operator made, by kind and identity, with what defines it.

Members of extensions are left out: their extension makes them. Works on PostgreSQL 10 and later: a catalog column that
is newer than that is read through ``to_jsonb(row) ->> 'column'``, which is NULL where there is no such column.
"""

from __future__ import annotations

from typing import Any

from .connection import Session
from .privileges import grantee, grants, in_order, not_member, not_part
from .relations import USER_SCHEMAS
from .schema_rarer import QUERIES, SINCE

_QUERIES = {
    # The superuser that initdb made (oid 10) owns public up to 14, pg_database_owner from 15 on, and an older pg_dump doesn't tell:
    # both are named by the newer one.
    "schemas": f"""
        SELECT n.nspname AS identity, jsonb_build_object(
            'owner', o.owner, 'grants', (
                SELECT coalesce(jsonb_agg(g ORDER BY g COLLATE "C"), '[]') FROM (
                    SELECT CASE WHEN left(g, length(o.before) + 1) = o.before || ' '
                                THEN o.owner || substr(g, length(o.before) + 1) ELSE g END AS g
                    FROM jsonb_array_elements_text({grants("n.nspacl", "n", "n.nspowner")}) AS g) AS named)) AS properties
        FROM pg_namespace AS n CROSS JOIN LATERAL (
            SELECT pg_get_userbyid(n.nspowner)::text AS before,
                   CASE WHEN n.nspname = 'public' AND n.nspowner = 10 THEN 'pg_database_owner'
                        ELSE pg_get_userbyid(n.nspowner)::text END AS owner) AS o
        WHERE {USER_SCHEMAS} AND {not_member("pg_namespace", "n.oid")}""",
    # From 17 on, partitions have their parent's identity columns; from 12 on, columns of type name have a collation.
    "tables": f"""
        SELECT n.nspname || '.' || c.relname AS identity, jsonb_build_object(
            'kind', c.relkind, 'owner', pg_get_userbyid(c.relowner), 'persistence', c.relpersistence,
            'options', {in_order("c.reloptions")}, 'row_security', c.relrowsecurity, 'force_row_security', c.relforcerowsecurity,
            'replica_identity', c.relreplident, 'partition_key', pg_get_partkeydef(c.oid),
            'partition_bound', pg_get_expr(c.relpartbound, c.oid),
            'foreign', (SELECT jsonb_build_object('server', v.srvname, 'options', {in_order("f.ftoptions")})
                        FROM pg_foreign_table AS f JOIN pg_foreign_server AS v ON v.oid = f.ftserver WHERE f.ftrelid = c.oid),
            'inherits', (SELECT jsonb_agg(i.inhparent::regclass::text ORDER BY i.inhseqno)
                         FROM pg_inherits AS i WHERE i.inhrelid = c.oid),
            'grants', {grants("c.relacl", "r", "c.relowner")},
            'columns', (
                SELECT jsonb_agg(jsonb_build_object(
                    'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
                    'default', (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef AS d
                                WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum),
                    'identity', CASE WHEN c.relispartition THEN '' ELSE a.attidentity END,
                    'generated', coalesce(to_jsonb(a) ->> 'attgenerated', ''),
                    'collation', (SELECT o.collname FROM pg_collation AS o
                                  WHERE o.oid = a.attcollation AND a.atttypid NOT IN (19, 1003)),
                    'grants', (SELECT jsonb_agg(x.grantee || ' ' || x.privilege_type
                                                   ORDER BY x.grantee COLLATE "C", x.privilege_type COLLATE "C") FROM (
                        SELECT CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END AS grantee,
                               e.privilege_type FROM aclexplode(a.attacl) AS e) AS x)
                ) ORDER BY a.attnum)
                FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
            ) AS properties
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND {USER_SCHEMAS}
          AND {not_member("pg_class", "c.oid")}""",
    "views": f"""
        SELECT n.nspname || '.' || c.relname AS identity, jsonb_build_object(
            'kind', c.relkind, 'owner', pg_get_userbyid(c.relowner), 'options', {in_order("c.reloptions")},
            'definition', pg_get_viewdef(c.oid), 'grants', {grants("c.relacl", "r", "c.relowner")},
            'columns', (SELECT jsonb_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
                        FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
            ) AS properties
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND {USER_SCHEMAS}
          AND {not_member("pg_class", "c.oid")}""",
    "indexes": f"""
        SELECT n.nspname || '.' || c.relname AS identity, jsonb_build_object(
            'definition', pg_get_indexdef(i.indexrelid), 'clustered', i.indisclustered,
            'replica_identity', i.indisreplident) AS properties
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_class AS t ON t.oid = i.indrelid
        WHERE {USER_SCHEMAS} AND i.indisvalid AND t.relpersistence <> 't' AND {not_member("pg_class", "i.indrelid")}""",
    # Not-null constraints have had names of their own only since PostgreSQL 18; they are compared with the columns.
    "constraints": f"""
        SELECT n.nspname || '.' || c.relname || ': ' || k.conname AS identity,
            jsonb_build_object('definition', pg_get_constraintdef(k.oid), 'validated', k.convalidated) AS properties
        FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE k.contype NOT IN ('n', 't') AND {USER_SCHEMAS} AND c.relpersistence <> 't'
          AND {not_member("pg_class", "c.oid")}""",
    "functions": f"""
        SELECT n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS identity,
            jsonb_build_object(
            'owner', pg_get_userbyid(p.proowner), 'language', l.lanname, 'source', p.prosrc,
            'arguments', pg_get_function_arguments(p.oid), 'returns', pg_get_function_result(p.oid),
            'volatility', p.provolatile, 'strict', p.proisstrict, 'security_definer', p.prosecdef,
            'body', CASE WHEN to_jsonb(p) ->> 'prosqlbody' IS NOT NULL THEN pg_get_functiondef(p.oid) END,
            'aggregate', (SELECT jsonb_build_object('kind', g.aggkind, 'step', g.aggtransfn::text, 'end', g.aggfinalfn::text,
                              'state', format_type(g.aggtranstype, NULL), 'start', g.agginitval)
                          FROM pg_aggregate AS g WHERE g.aggfnoid = p.oid),
            'leakproof', p.proleakproof, 'parallel', p.proparallel, 'settings', p.proconfig,
            'grants', {grants("p.proacl", "f", "p.proowner")}) AS properties
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
        WHERE {USER_SCHEMAS} AND {not_member("pg_proc", "p.oid")} AND {not_part("pg_proc", "p.oid")}""",
    # What is called is a function to servers from 11 on, a procedure to older ones.
    "triggers": f"""
        SELECT n.nspname || '.' || c.relname || ': ' || t.tgname AS identity,
            jsonb_build_object('definition',
                replace(pg_get_triggerdef(t.oid), ' EXECUTE PROCEDURE ', ' EXECUTE FUNCTION '),
                'enabled', t.tgenabled) AS properties
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE NOT t.tgisinternal AND {USER_SCHEMAS} AND {not_member("pg_class", "c.oid")}""",
    "rules": f"""
        SELECT n.nspname || '.' || c.relname || ': ' || r.rulename AS identity,
            jsonb_build_object('definition', pg_get_ruledef(r.oid), 'enabled', r.ev_enabled) AS properties
        FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE r.rulename <> '_RETURN' AND {USER_SCHEMAS} AND {not_member("pg_class", "c.oid")}""",
    "policies": f"""
        SELECT n.nspname || '.' || c.relname || ': ' || p.polname AS identity, jsonb_build_object(
            'command', p.polcmd, 'using', pg_get_expr(p.polqual, p.polrelid),
            'check', pg_get_expr(p.polwithcheck, p.polrelid),
            'permissive', p.polpermissive,
            'roles', (SELECT jsonb_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                                       ORDER BY pg_get_userbyid(r)::text COLLATE "C") FROM unnest(p.polroles) AS r)
            ) AS properties
        FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE {USER_SCHEMAS} AND {not_member("pg_class", "c.oid")}""",
    "sequences": f"""
        SELECT n.nspname || '.' || c.relname AS identity, jsonb_build_object(
            'owner', pg_get_userbyid(c.relowner), 'type', format_type(s.seqtypid, NULL), 'start', s.seqstart,
            'increment', s.seqincrement, 'minimum', s.seqmin, 'maximum', s.seqmax, 'cycle', s.seqcycle,
            'cache', s.seqcache, 'grants', {grants("c.relacl", "s", "c.relowner")}) AS properties
        FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE {USER_SCHEMAS} AND c.relpersistence <> 't' AND {not_member("pg_class", "c.oid")}""",
    "types": f"""
        SELECT n.nspname || '.' || t.typname AS identity, jsonb_build_object(
            'kind', t.typtype, 'owner', pg_get_userbyid(t.typowner), 'base', format_type(nullif(t.typbasetype, 0), t.typtypmod),
            'default', t.typdefault, 'not_null', t.typnotnull,
            'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid),
            'checks', (SELECT jsonb_agg(k.conname || ' ' || pg_get_constraintdef(k.oid) ORDER BY k.conname)
                       FROM pg_constraint AS k WHERE k.contypid = t.oid AND k.contype = 'c'),
            'columns', (SELECT jsonb_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
                        FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
            'grants', {grants("t.typacl", "T", "t.typowner")}) AS properties
        FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace LEFT JOIN pg_class AS c ON c.oid = t.typrelid
        WHERE {USER_SCHEMAS} AND (c.relkind = 'c' OR t.typtype IN ('e', 'd', 'r')) AND {not_member("pg_type", "t.oid")}""",
    "comments": """
        SELECT o.type || ' ' || o.identity AS identity, to_jsonb(d.description) AS properties
        FROM pg_description AS d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS o
        WHERE d.objoid >= 16384 AND o.type IS NOT NULL AND o.identity !~ '^pg_toast' AND NOT EXISTS (
            SELECT FROM pg_depend AS e WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e')
          AND d.classoid <> 'pg_extension'::regclass""",
    "extensions": """
        SELECT e.extname AS identity, jsonb_build_object('schema', n.nspname) AS properties
        FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace""",
    "default_privileges": """
        SELECT pg_get_userbyid(a.defaclrole) || ' ' || coalesce(n.nspname, '*') || ' ' || a.defaclobjtype::text AS identity,
            jsonb_build_object('grants', (SELECT jsonb_agg(g ORDER BY g COLLATE "C") FROM (
                SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END || ' '
                       || x.privilege_type AS g FROM aclexplode(a.defaclacl) AS x) AS listed)) AS properties
        FROM pg_default_acl AS a LEFT JOIN pg_namespace AS n ON n.oid = a.defaclnamespace""",
    "statistics": f"""
        SELECT n.nspname || '.' || s.stxname AS identity,
            jsonb_build_object('definition', pg_get_statisticsobjdef(s.oid), 'owner', pg_get_userbyid(s.stxowner)) AS properties
        FROM pg_statistic_ext AS s JOIN pg_namespace AS n ON n.oid = s.stxnamespace WHERE {USER_SCHEMAS}""",
    **QUERIES,
}

_EXTENSION_VERSIONS = "SELECT extname AS name, extversion AS version FROM pg_catalog.pg_extension ORDER BY extname"


def read_schema(session: Session) -> dict[str, dict[str, Any]]:
    """``{kind: {identity: properties}}`` for the session's database."""
    return {
        kind: {row["identity"]: row["properties"] for row in session.rows(query)}
        for kind, query in _QUERIES.items()
        if session.version >= SINCE.get(kind, 0)
    }


def extension_versions(session: Session) -> dict[str, str]:
    """The installed extensions with their versions."""
    return {row["name"]: row["version"] for row in session.rows(_EXTENSION_VERSIONS)}


def roles_named(schema: dict[str, dict[str, Any]]) -> set[str]:
    """Every role that owns something, or was granted something, in this schema."""
    names: set[str] = set()
    for kind in schema.values():
        for properties in kind.values():
            if isinstance(properties, dict):
                names.update(_roles_of(properties))
    for identity in schema.get("default_privileges", {}):
        names.add(identity.rsplit(" ", 2)[0])
    return names - {"PUBLIC"}


def _roles_of(properties: dict[str, Any]) -> set[str]:
    names = {properties["owner"]} if "owner" in properties else set()
    listed = list(properties.get("grants") or [])
    for column in properties.get("columns") or []:
        if isinstance(column, dict):
            listed += column.get("grants") or []
    names.update(grantee(text) for text in listed)
    names.update(properties.get("roles") or [])
    return names
