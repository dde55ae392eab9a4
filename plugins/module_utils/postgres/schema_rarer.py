# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queries for the rarer kinds of objects in a schema: publications, foreign servers, large objects, operators and the like.

They are of the same form as those in ``schema``, and work on PostgreSQL 10 and later; those in ``SINCE`` from there on.
"""

from __future__ import annotations

from .privileges import grants, in_order, not_member, not_part
from .relations import USER_SCHEMAS

# Publications of whole schemas.
SINCE = {"publication_schemas": 150000}

QUERIES = {
    # What a version doesn't have yet is what it would be by default.
    "publications": """
        SELECT p.pubname AS identity, jsonb_build_object(
            'owner', pg_get_userbyid(p.pubowner), 'all_tables', p.puballtables, 'inserts', p.pubinsert, 'updates', p.pubupdate,
            'deletes', p.pubdelete, 'truncates', coalesce(to_jsonb(p) ->> 'pubtruncate', 'false'),
            'via_root', coalesce(to_jsonb(p) ->> 'pubviaroot', 'false'),
            'generated_columns', coalesce(to_jsonb(p) ->> 'pubgencols', 'n'),
            'tables', (
                SELECT jsonb_agg(jsonb_build_object(
                    'table', n.nspname || '.' || c.relname, 'filter', to_jsonb(t) ->> 'rowfilter',
                    'columns', CASE WHEN to_jsonb(r) ->> 'prattrs' IS NOT NULL THEN to_jsonb(t) -> 'attnames' END
                ) ORDER BY n.nspname::text COLLATE "C", c.relname::text COLLATE "C")
                FROM pg_publication_rel AS r JOIN pg_class AS c ON c.oid = r.prrelid
                JOIN pg_namespace AS n ON n.oid = c.relnamespace
                LEFT JOIN pg_publication_tables AS t
                    ON t.pubname = p.pubname AND t.schemaname = n.nspname AND t.tablename = c.relname
                WHERE r.prpubid = p.oid)) AS properties
        FROM pg_publication AS p""",
    "publication_schemas": """
        SELECT p.pubname || ': ' || n.nspname AS identity, 'true'::jsonb AS properties
        FROM pg_publication_namespace AS s JOIN pg_publication AS p ON p.oid = s.pnpubid
        JOIN pg_namespace AS n ON n.oid = s.pnnspid""",
    "event_triggers": f"""
        SELECT e.evtname AS identity, jsonb_build_object('owner', pg_get_userbyid(e.evtowner), 'event', e.evtevent,
            'enabled', e.evtenabled, 'function', e.evtfoid::regprocedure::text, 'tags', e.evttags) AS properties
        FROM pg_event_trigger AS e WHERE {not_member("pg_event_trigger", "e.oid")}""",
    "foreign_data_wrappers": f"""
        SELECT f.fdwname AS identity, jsonb_build_object(
            'owner', pg_get_userbyid(f.fdwowner), 'handler', nullif(f.fdwhandler, 0)::regprocedure::text,
            'validator', nullif(f.fdwvalidator, 0)::regprocedure::text, 'options', {in_order("f.fdwoptions")},
            'grants', {grants("f.fdwacl", "F", "f.fdwowner")}) AS properties
        FROM pg_foreign_data_wrapper AS f WHERE {not_member("pg_foreign_data_wrapper", "f.oid")}""",
    "foreign_servers": f"""
        SELECT s.srvname AS identity, jsonb_build_object(
            'owner', pg_get_userbyid(s.srvowner), 'wrapper', f.fdwname, 'type', s.srvtype, 'version', s.srvversion,
            'options', {in_order("s.srvoptions")}, 'grants', {grants("s.srvacl", "S", "s.srvowner")}) AS properties
        FROM pg_foreign_server AS s JOIN pg_foreign_data_wrapper AS f ON f.oid = s.srvfdw
        WHERE {not_member("pg_foreign_server", "s.oid")}""",
    # Their options hold passwords: only the names are looked at.
    "user_mappings": """
        SELECT m.usename || ' on ' || m.srvname AS identity, jsonb_build_object(
            'roles', CASE WHEN m.umuser <> 0 THEN jsonb_build_array(m.usename) END,
            'options', (SELECT jsonb_agg(split_part(o, '=', 1) ORDER BY o COLLATE "C") FROM unnest(m.umoptions) AS o)
            ) AS properties
        FROM pg_user_mappings AS m""",
    "large_objects": f"""
        SELECT l.oid::text AS identity, jsonb_build_object(
            'owner', pg_get_userbyid(l.lomowner), 'grants', {grants("l.lomacl", "L", "l.lomowner")}) AS properties
        FROM pg_largeobject_metadata AS l""",
    "collations": f"""
        SELECT n.nspname || '.' || o.collname AS identity, jsonb_build_object(
            'owner', pg_get_userbyid(o.collowner), 'provider', o.collprovider, 'locale', coalesce(
                to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale', to_jsonb(o) ->> 'collcollate'),
            'deterministic', coalesce(to_jsonb(o) ->> 'collisdeterministic', 'true')) AS properties
        FROM pg_collation AS o JOIN pg_namespace AS n ON n.oid = o.collnamespace
        WHERE {USER_SCHEMAS} AND {not_member("pg_collation", "o.oid")}""",
    "operators": f"""
        SELECT o.oid::regoperator::text AS identity, jsonb_build_object(
            'owner', pg_get_userbyid(o.oprowner), 'function', o.oprcode::text, 'result', format_type(o.oprresult, NULL),
            'restrict', o.oprrest::text, 'join', o.oprjoin::text) AS properties
        FROM pg_operator AS o JOIN pg_namespace AS n ON n.oid = o.oprnamespace
        WHERE {USER_SCHEMAS} AND {not_member("pg_operator", "o.oid")}""",
    "casts": f"""
        SELECT format_type(c.castsource, NULL) || ' as ' || format_type(c.casttarget, NULL) AS identity,
            jsonb_build_object('function', nullif(c.castfunc, 0)::regprocedure::text, 'context', c.castcontext,
            'method', c.castmethod) AS properties
        FROM pg_cast AS c WHERE c.oid >= 16384 AND {not_member("pg_cast", "c.oid")} AND {not_part("pg_cast", "c.oid")}""",
    # That they are there, and whose they are.
    "others": " UNION ALL ".join(
        f"""
        SELECT i.type || ' ' || i.identity AS identity,
            jsonb_build_object('owner', pg_get_userbyid(x.{owner})) AS properties
        FROM {catalog} AS x CROSS JOIN LATERAL pg_identify_object('{catalog}'::regclass, x.oid, 0) AS i
        WHERE x.oid >= 16384 AND {not_member(catalog, "x.oid")}"""
        for catalog, owner in (
            ("pg_opclass", "opcowner"),
            ("pg_opfamily", "opfowner"),
            ("pg_conversion", "conowner"),
            ("pg_language", "lanowner"),
            ("pg_ts_config", "cfgowner"),
            ("pg_ts_dict", "dictowner"),
        )
    ),
    "security_labels": """
        SELECT l.provider || ' on ' || l.objtype || ' ' || l.objname AS identity, to_jsonb(l.label) AS properties
        FROM pg_seclabels AS l WHERE l.objtype NOT IN ('database', 'role', 'tablespace', 'subscription')""",
}
