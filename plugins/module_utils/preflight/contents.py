# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the source: rarely used objects in the database, and what the migration will not copy."""

from __future__ import annotations

from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.findings import Findings
from ..postgres import catalog_use, collations, large_objects, preload_libraries, row_types, unlogged
from ..postgres.identifiers import quote
from ..postgres.objects import Objects, in_system_schemas
from ..postgres.privileges import not_member
from ..postgres.relations import USER_SCHEMAS, Tables, check_row_security
from ..postgres.session import Session
from . import check_constraints, foreign_keys, lock_room, named_values, text_keys
from .bounded_query import rows_within
from .source_facts import SourceFacts, SuperuserObject

# What no migration copies.
_NEVER_FILES = (
    "the server's configuration (postgresql.conf, pg_hba.conf)",
    "cron jobs and backups of the host",
    "replication slots",
)
NEVER = ("passwords and logins of roles", *_NEVER_FILES, "other databases")

_CREATORS = """
SELECT pg_catalog.pg_get_userbyid(n.nspowner) AS owner, ARRAY(
    SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END
    FROM pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a
    WHERE a.privilege_type = 'CREATE') AS creators
FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'public'
"""
_COUCHDB = """
SELECT pg_catalog.pg_get_userbyid(c.relowner) AS role, pg_catalog.has_schema_privilege(c.relowner, c.relnamespace, 'CREATE') AS may
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relname = 'couchdb' AND c.relkind IN ('r', 'p')
"""
_SLOTS = """
SELECT slot_name AS name FROM pg_catalog.pg_replication_slots WHERE database = pg_catalog.current_database() ORDER BY 1
"""
_SUBSCRIPTIONS = """
SELECT s.subname AS name FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid WHERE d.datname = pg_catalog.current_database() ORDER BY 1
"""
# Security labels of shared objects. pg_dump carries over only those of objects in the database.
_SHARED_LABELS = """
SELECT pg_catalog.format('SECURITY LABEL FOR %I ON %s %I IS %L', l.provider, CASE WHEN d.oid IS NULL THEN 'ROLE' ELSE 'DATABASE' END,
                         coalesce(d.datname, r.rolname), l.label) AS statement
FROM pg_catalog.pg_shseclabel AS l
LEFT JOIN pg_catalog.pg_database AS d ON d.oid = l.objoid AND l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = l.objoid AND l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
WHERE d.datname = pg_catalog.current_database() OR r.oid IS NOT NULL ORDER BY 1
"""
_TABLESPACE = """
SELECT t.spcname FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_tablespace AS t ON t.oid = d.dattablespace
WHERE d.datname = pg_catalog.current_database()
"""
_XML_COLUMNS = f"""
SELECT n.nspname || '.' || c.relname || '.' || a.attname AS name,
       pg_catalog.format('SELECT 1 FROM ONLY %I.%I WHERE %I IS NOT NULL LIMIT 1', n.nspname, c.relname, a.attname) AS query
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE a.atttypid IN ('pg_catalog.xml'::pg_catalog.regtype, 'pg_catalog.xml[]'::pg_catalog.regtype)
  AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r' AND {USER_SCHEMAS} ORDER BY 1
"""
VALUE_SECONDS = 5
WITHOUT_OIDS_SINCE = 120000
_WITH_OIDS = f"""
SELECT n.nspname || '.' || c.relname AS name FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relhasoids AND c.relkind = 'r' AND {USER_SCHEMAS} ORDER BY 1
"""
# Indexes of partitioned tables are dumped, valid or not.
_INVALID_INDEXES = f"""
SELECT n.nspname || '.' || c.relname AS name FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i' AND {USER_SCHEMAS} ORDER BY 1
"""
_ROW_SECURITY = f"""
SELECT n.nspname || '.' || c.relname AS name, c.relforcerowsecurity AS forced
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relrowsecurity AND {USER_SCHEMAS} AND {not_member("pg_class", "c.oid")} ORDER BY 1
"""

_RARE = f"""
SELECT count(DISTINCT c.oid) FILTER (WHERE c.relkind = 'p') AS partitioned,
       count(*) FILTER (WHERE a.attidentity <> '' AND NOT c.relispartition) AS identity,
       count(*) FILTER (WHERE coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '') AS generated
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND {USER_SCHEMAS} AND {not_member("pg_class", "c.oid")}
"""

_MAPPINGS = """
SELECT usename || ' on ' || srvname AS name FROM pg_catalog.pg_user_mappings WHERE umoptions IS NOT NULL ORDER BY 1
"""

_WIDE_PUBLICATIONS = """
SELECT pg_catalog.quote_ident(pubname) AS name, pg_catalog.pg_get_userbyid(pubowner)::text AS owner
FROM pg_catalog.pg_publication WHERE puballtables ORDER BY 1
"""
SCHEMA_PUBLICATIONS_SINCE = 150000
_SCHEMA_PUBLICATIONS = """
SELECT DISTINCT pg_catalog.quote_ident(p.pubname) AS name, pg_catalog.pg_get_userbyid(p.pubowner)::text AS owner
FROM pg_catalog.pg_publication_namespace AS s JOIN pg_catalog.pg_publication AS p ON p.oid = s.pnpubid ORDER BY 1
"""


def examine(
    session: Session, findings: Findings, facts: SourceFacts, objects: Objects, tables: Tables, loaded: bool
) -> None:
    """Add the findings, and the facts for the comparison on the target. loaded: whether the target loads rows, or gets the files."""
    look = _Contents(session, findings, facts, objects)
    findings.attempt("row-level security", lambda: look.row_security(tables))
    findings.attempt("large objects", look.large_objects)
    findings.attempt(lock_room.NAME, lambda: lock_room.examine_source(session, findings))
    findings.attempt("unlogged tables of a standby", look.unlogged)
    findings.attempt("contents", lambda: look.contents(tables))
    if loaded:
        findings.attempt("row types", look.row_types)
        findings.attempt(check_constraints.NAME, lambda: check_constraints.examine(session, findings))
        findings.attempt(foreign_keys.NAME, lambda: foreign_keys.examine(session, findings))
        findings.attempt("values that name objects", look.named_values)
    findings.attempt(text_keys.NAME, lambda: text_keys.examine(session, findings))
    findings.attempt("schema public", look.public)
    findings.attempt("publications", look.publications)
    if loaded:
        findings.attempt("not copied", look.not_copied)
    else:
        findings.ok("not copied", "; ".join(_NEVER_FILES), items=list(_NEVER_FILES))
    findings.attempt("facts", look.gather)


class _Contents:
    def __init__(self, session: Session, findings: Findings, facts: SourceFacts, objects: Objects) -> None:
        self.session = session
        self.findings = findings
        self.facts = facts
        self.objects = objects

    def row_security(self, tables: Tables) -> None:
        check_row_security(tables.kept, self.session.settings.user)
        found = self.session.rows(_ROW_SECURITY)
        protected = [row["name"] for row in found]
        if protected:
            self.facts["forced_row_security"] = [row["name"] for row in found if row["forced"]]
            self.findings.ok(
                "row-level security", f"enabled for {_some(protected)}; all rows and the policies are copied"
            )

    def large_objects(self) -> None:
        found = large_objects.count(self.session)
        hidden = large_objects.unreadable(self.session) if found else 0
        if hidden:
            user = self.session.settings.user
            raise MigrationError(
                f"The role {user!r} may not read {counted(hidden, 'large object')}. Set couch2pg_login_user to 'postgres', or run in the "
                "source's "
                f"database, as a superuser: {large_objects.reading(user)}",
                "not_readable",
            )
        if found:
            self.findings.ok("large objects", f"{found}, copied with owners, grants and a digest of their content")

    def unlogged(self) -> None:
        """Refuse unlogged tables on a standby: they have no rows there, and pg_dump leaves these rows out without a message."""
        if not self.facts["server"]["standby"]:
            return
        found = unlogged.find(self.session)
        if found:
            raise MigrationError(
                f"The source is a standby, which does not have the content of unlogged tables and sequences: {_some(list(found))}. Use the "
                f"primary as the source, or run on the primary: {' '.join(found.values())}",
                "unlogged",
            )

    def contents(self, tables: Tables) -> None:
        row = self.session.row(_RARE)
        numbers = {
            "partitioned table": row["partitioned"],
            "foreign table": len(self.objects.get("foreign table", {})),
            "unlogged table": sum(table.unlogged for table in tables.kept),
            "identity column": row["identity"],
            "generated column": row["generated"],
            "policy": len(self.objects.get("policy", {})),
            "event trigger": len(self.objects.get("event trigger", {})),
            "default privilege": len(self.objects["default_privileges"]),
            "foreign server": len(self.objects.get("server", {})),
        }
        some = {name: number for name, number in numbers.items() if number}
        text = ", ".join(counted(number, noun) for noun, number in some.items())
        self.findings.ok("contents", f"copied and compared: {text or 'no rarely used objects'}", **some)
        if numbers["unlogged table"]:
            names = sorted(table.key for table in tables.kept if table.unlogged)
            self.findings.warning(
                "unlogged tables",
                f"{_some(names)}: unlogged here and on the target, so a server crash empties them. If their rows matter, run in the "
                f"source's database: {' '.join(f'ALTER TABLE {table.sql} SET LOGGED;' for table in tables.kept if table.unlogged)}",
                tables=names,
            )
        mappings = [row["name"] for row in self.session.rows(_MAPPINGS)]
        if mappings:
            self.findings.warning(
                "user mappings",
                f"The archive will contain the passwords of the user mappings {_some(mappings)}. Only the owner can read its "
                "files. Remove the archive when it is no longer needed.",
                mappings=mappings,
            )

    def public(self) -> None:
        """couch2pg creates its tables and views in this schema, and stops when it isn't allowed to."""
        found = self.session.rows(_COUCHDB)
        rights = self.session.rows(_CREATORS)
        if not found or not rights:
            return
        role, may = found[0]["role"], found[0]["may"]
        self.facts["public"] = {
            "owner": rights[0]["owner"],
            "creators": rights[0]["creators"],
            "role": role,
            "may": may,
        }
        if may:
            self.findings.ok("schema public", f"{role!r} may create in it, as couch2pg needs")
        else:
            self.findings.warning(
                "schema public",
                f"{role!r}, which owns couchdb, may not create in schema public, and nor may it on the target: couch2pg "
                f"stops at its next new version. In the source's database: GRANT CREATE ON SCHEMA public TO {quote(role)};",
            )

    def row_types(self) -> None:
        """Refuse columns with rows of a table whose columns pg_dump puts into another order.

        Neither pg_dump nor a comparison of texts would notice that values have changed places.
        """
        found = row_types.reordered(self.session)
        if not found:
            return
        first = found[0]
        raise MigrationError(
            f"The column {first['column']} holds rows of the table {first['name']}, whose columns pg_dump puts into another order "
            f"({', '.join(first['order'])}), so that the restored values would change places. Turn it into jsonb on the source "
            "(ALTER TABLE ... ALTER COLUMN ... TYPE jsonb USING to_jsonb(...)), or into a composite type (CREATE TYPE), then run again.",
            "row_types",
            columns=found,
        )

    def named_values(self) -> None:
        self.facts["named_roles"] = named_values.roles(self.session)
        named_values.check_relations(self.session)

    def publications(self) -> None:
        names = sorted(self.objects.get("publication", {}))
        if names:
            self.findings.warning(
                "publications",
                f"{_some(names)} are copied, but their subscribers keep following the source until they are pointed at the "
                "target and have copied the tables again.",
                publications=names,
            )

    def not_copied(self) -> None:
        """List what is not copied, so that the operator can plan for it."""
        items = []
        subscriptions = [row["name"] for row in self.session.rows(_SUBSCRIPTIONS)]
        if subscriptions:
            items.append(
                f"subscriptions {_some(subscriptions)} (each has a slot that belongs to this server: create them again on the target)"
            )
        slots = [row["name"] for row in self.session.rows(_SLOTS)]
        if slots:
            items.append(f"replication slots {_some(slots)}")
        tablespace = self.session.value(_TABLESPACE)
        if tablespace != "pg_default":
            items.append(f"the database's tablespace {tablespace} (the target's default is used)")
        labels = [row["statement"] for row in self.session.rows(_SHARED_LABELS)]
        if labels:
            items.append(
                f"security labels of the database and of roles (on the target, after the promotion, run {'; '.join(labels)})"
            )
        if "pg_cron" in self.facts.get("extensions", {}):
            items.append("jobs of pg_cron that are in another database")
        invalid = [row["name"] for row in self.session.rows(_INVALID_INDEXES)]
        if invalid:
            items.append(
                f"the invalid indexes {_some(invalid)}, which pg_dump leaves out (on the source, REINDEX INDEX makes one valid, "
                "DROP INDEX removes it)"
            )
        with_oids = (
            [row["name"] for row in self.session.rows(_WITH_OIDS)] if self.session.version < WITHOUT_OIDS_SINCE else []
        )
        if with_oids:
            items.append(
                f"the oids of rows of {_some(with_oids)} (declared WITH OIDS; if something needs them, keep them in a column of the table)"
            )
        own = in_system_schemas(self.session)
        if own:
            items.append(
                f"{_some(own)}, which pg_dump leaves out in a schema of the server (create them again on the target)"
            )
        text = "; ".join([*items, *NEVER])
        if items:
            self.findings.warning("not copied", f"Not copied: {text}.", items=[*items, *NEVER])
        else:
            self.findings.ok("not copied", text, items=list(NEVER))

    def gather(self) -> None:
        # The columns that have a value, or whose query took too long.
        self.facts["xml_columns"] = [
            row["name"]
            for row in self.session.rows(_XML_COLUMNS)
            if rows_within(self.session, VALUE_SECONDS, row["query"]) != []
        ]
        self.facts["catalog_columns"] = catalog_use.read(self.session)
        if "database" in self.facts:
            self.facts["sorting"] = collations.used(self.session, self.facts["database"])
        self.facts["preload_libraries"] = preload_libraries.at_start(self.session)
        if self.facts["preload_libraries"] is None:
            user = self.session.settings.user
            self.findings.warning(
                "libraries",
                f"Whether the target's server loads the libraries that this one loads at its start is not checked: {user!r} may not read "
                "shared_preload_libraries. On the source, as a superuser, to have it checked: GRANT pg_read_all_settings TO "
                f"{quote(user)}; Then run again.",
            )
        # Objects that only a superuser can create or own.
        triggers = sorted(self.objects.get("event trigger", {}).items())
        publications = self.session.rows(_WIDE_PUBLICATIONS)
        if self.session.version >= SCHEMA_PUBLICATIONS_SINCE:
            publications += self.session.rows(_SCHEMA_PUBLICATIONS)
        self.facts["superuser_objects"] = [
            *(SuperuserObject(object=f"event trigger {name}", owner=entry["owner"]) for name, entry in triggers),
            *(SuperuserObject(object=f"publication {row['name']}", owner=row["owner"]) for row in publications),
        ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
