# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Extensions and tables that the operator leaves out (``couch2pg_leave_out``): neither dumped, counted nor expected.

The evidence lists them under ``left_out`` and ``objects_left_out``, so that the record and the report name them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping, Sequence

from ..common.errors import MigrationError
from ..postgres.identifiers import quote
from ..postgres.objects import Objects
from ..postgres.relations import Table, Tables
from ..postgres.session import Session

EXTENSIONS_SINCE = 17
REASON = "couch2pg_leave_out names it"
_MIGRATIONS = ("couch2pg_migrations", "xmlforms_migrations", "users_meta_migrations")

# What is left out with a table: constraints, triggers, rules, policies, defaults, its own sequences; and the comments on all these.
_PARTS = """
WITH RECURSIVE part(classid, objid) AS (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, t.oid FROM pg_catalog.unnest(%s::oid[]) AS t(oid)
  UNION
    SELECT d.classid, d.objid FROM part
    JOIN pg_catalog.pg_depend AS d ON d.refclassid = part.classid AND d.refobjid = part.objid AND d.deptype IN ('a', 'i', 'P', 'S')
)
SELECT i.type AS kind, i.identity FROM part
CROSS JOIN LATERAL pg_catalog.pg_identify_object(part.classid, part.objid, 0) AS i WHERE i.identity IS NOT NULL
UNION
SELECT 'comment on ' || i.type, i.identity
FROM part JOIN pg_catalog.pg_description AS d ON d.classoid = part.classid AND d.objoid = part.objid
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i WHERE i.identity IS NOT NULL
"""


@dataclass(frozen=True)
class LeaveOut:
    """Names of extensions, and of tables as ``schema.name`` or, where that is ambiguous, ``"schema"."name"``."""

    extensions: Sequence[str] = ()
    tables: Sequence[str] = ()

    @classmethod
    def of(cls, option: Mapping[str, Sequence[str] | None] | None) -> LeaveOut:
        """From the option ``leave_out`` of a module: ``{extensions: [...], tables: [...]}``, each of which may be absent."""
        given = option or {}
        return cls(tuple(given.get("extensions") or ()), tuple(given.get("tables") or ()))

    def as_dict(self) -> dict[str, list[str]]:
        """What ``of`` takes, for parameters of a job."""
        return {"extensions": sorted(self.extensions), "tables": sorted(self.tables)}

    def check(self, tables: Iterable[Table], extensions: Iterable[str], pg_dump_major: int) -> None:
        """Raise MigrationError ``leave_out`` for a name that the source lacks, or for what can't be left out."""
        listed = list(tables)
        found = {name: [table for table in listed if _is_named(table, [name])] for name in self.tables}
        unclear = [name for name in self.tables if len(found[name]) > 1]
        if unclear:
            raise MigrationError(
                f"couch2pg_leave_out names {unclear[0]}, which is the name of several tables. Write one of "
                f"{', '.join(table.sql for table in found[unclear[0]])}.",
                "leave_out",
            )
        unknown = sorted(name for name in self.tables if not found[name]) + sorted({*self.extensions} - {*extensions})
        if unknown:
            raise MigrationError(
                f"couch2pg_leave_out contains {', '.join(unknown)}, which the source's database doesn't have. Write a table as "
                "schema.name, as preflight names it.",
                "leave_out",
            )
        needed = [name for name in self.tables if _is_couch2pgs(found[name][0].name)]
        if needed:
            raise MigrationError(
                f"couch2pg_leave_out contains {', '.join(needed)}, which couch2pg writes and needs. Remove it from the variable.",
                "leave_out",
            )
        if self.extensions and pg_dump_major < EXTENSIONS_SINCE:
            raise MigrationError(
                f"couch2pg_leave_out names the extension {self.extensions[0]}, and pg_dump can leave out extensions since version "
                f"{EXTENSIONS_SINCE}; this one is {pg_dump_major}. Install postgresql-client-{EXTENSIONS_SINCE} or newer on the "
                "source's host, and set couch2pg_bin_dir to its folder.",
                "leave_out",
            )

    def kept(self, tables: Tables) -> Tables:
        """``tables`` without those that are left out, which are listed with the reason."""
        named = self._named(tables.kept)
        left_out = [
            dict(entry, reason=f"couch2pg_leave_out names its extension {entry['extension']}")
            if entry.get("extension") in self.extensions
            else entry
            for entry in tables.left_out
        ]
        left_out += [{"table": table.key, "reason": REASON, "extension": ""} for table in named]
        return Tables([table for table in tables.kept if table not in named], left_out)

    def remove(self, session: Session, tables: Iterable[Table], objects: Objects) -> list[dict[str, str]]:
        """Remove from ``objects`` what is left out; returns that as ``{kind, identity, reason}``.

        ``tables``: the source's tables, including those that are left out.
        """
        named = self._named(tables)
        rows = session.rows(_PARTS, [[table.oid for table in named]]) if named else []
        for row in rows:
            objects.get(row["kind"], {}).pop(row["identity"], None)
        for table in named:
            for column in [name for name in objects.get("column", {}) if name.startswith(f"{table.key}.")]:
                del objects["column"][column]
        for name in self.extensions:
            objects["extension"].pop(name, None)
        listed = [{"kind": "extension", "identity": name} for name in self.extensions]
        listed += [{"kind": "table", "identity": table.key} for table in named]
        return [dict(entry, reason=REASON) for entry in listed]

    def _named(self, tables: Iterable[Table]) -> list[Table]:
        return [table for table in tables if _is_named(table, self.tables)]

    def arguments(self, tables: Iterable[Table]) -> list[str]:
        """Options of pg_dump. Double quotes in its patterns disable wildcards."""
        return [f"--exclude-table={table.sql}" for table in self._named(tables)] + [
            f"--exclude-extension={quote(name)}" for name in self.extensions
        ]


NOTHING = LeaveOut()


def _is_named(table: Table, names: Sequence[str]) -> bool:
    return any(name in (table.key, table.plain, table.sql) for name in names)


def _is_couch2pgs(name: str) -> bool:
    return name.startswith("couchdb") or name in _MIGRATIONS
