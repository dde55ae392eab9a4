# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the target: differences from the source in locale, extensions, roles, settings and catalogs."""

from __future__ import annotations

from typing import NamedTuple

from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.findings import Findings
from ..postgres import catalog_use, collations, preload_libraries, role_plan, trial
from ..postgres.collations import Sorting
from ..postgres.connection import ConnectionSettings
from ..postgres.database import find_database
from ..postgres.database_properties import PlannedProperties, plan_properties
from ..postgres.identifiers import quote
from ..postgres.role_plan import RolePlan
from ..postgres.session import Session
from ..restore.target_database import refused_settings
from .options import Options
from .source_facts import SourceFacts
from .target_facts import TargetFacts

SAFE_SEARCH_PATH_SINCE = 17
SET_PRIVILEGE_SINCE = 160000
SHOWN = 5
FEATURE_NOT_SUPPORTED = "0A000"
# Extensions of PostgreSQL itself, and the major version that removed them.
REMOVED = {"adminpack": 17, "old_snapshot": 17, "timetravel": 12, "chkpass": 11}

_EXTENSIONS = """
SELECT e.name, e.default_version AS version, (
    SELECT jsonb_object_agg(v.version, v.superuser AND NOT coalesce((to_jsonb(v) ->> 'trusted')::boolean, false))
    FROM pg_catalog.pg_available_extension_versions AS v WHERE v.name = e.name) AS versions
FROM pg_catalog.pg_available_extensions AS e WHERE e.name = ANY(%s)
"""


class _Owner(NamedTuple):
    """A role on the target that will own something, and whether the session's role may act as it."""

    name: str
    superuser: bool
    member: bool


class Differences:
    """Checks that compare the target with the facts of the source. A check may raise MigrationError."""

    def __init__(
        self,
        session: Session,
        settings: ConnectionSettings,
        findings: Findings,
        facts: TargetFacts,
        options: Options,
        source: SourceFacts,
    ) -> None:
        self.session = session
        self.settings = settings
        self.findings = findings
        self.facts = facts
        self.options = options
        self.source = source
        self.planned = RolePlan()
        # The new version of each extension that gets another one on the target.
        self.changed: dict[str, str] = {}

    def examine(self) -> None:
        """Run every check."""
        if "roles" not in self.source:
            # Preflight on the source has failed and has reported why.
            return
        for name, check in (
            ("locale", self._locale),
            ("collation", self._collation),
            ("extensions", self._extensions),
            ("roles", self._roles),
            ("rights", self._rights),
            ("roles in rows", self._named_roles),
            ("schema public", self._public),
            ("database properties", self._properties),
            ("settings", self._settings),
            ("views of catalogs", self._catalogs),
            ("libraries", self._libraries),
            ("xml", self._xml),
            ("search paths of extensions", self._hazards_of_extensions),
            ("materialized views", self._hazards),
            ("tablespaces", self._tablespaces),
        ):
            self.findings.attempt(name, check)

    def _locale(self) -> None:
        wanted = self.source["database"]
        existing = find_database(self.session, self.settings.database)
        # A database that isn't empty is kept under another name, so its encoding doesn't matter.
        if existing is not None and existing["encoding"] != wanted["encoding"] and self._wanted().merged:
            raise MigrationError(
                f"The target's empty database {existing['name']!r} has the encoding {existing['encoding']}, the source's "
                f"{wanted['encoding']}. Drop it on the target, so that the restore makes it: DROP DATABASE {quote(existing['name'])};",
                "encoding",
            )
        # With any locale provider, a database also names locales of the C library.
        for locale in sorted({wanted["lc_collate"], wanted["lc_ctype"]} - {"C", "POSIX"}):
            collations.check_libc(self.session, locale)
        if wanted["locale_provider"] == "i":
            collations.version_here(self.session, "i", wanted["locale"] or "")
        provided = (
            ""
            if wanted["locale_provider"] == "c"
            else f", {wanted['locale']} of provider {wanted['locale_provider']!r}"
        )
        self.findings.ok("locale", f"{wanted['encoding']}, {wanted['lc_collate']}{provided} is available")

    def _collation(self) -> None:
        """Whether text sorts the same, which depends on the version of glibc or ICU."""
        nothing: Sorting = {"collations": [], "text_partitions": []}
        sorting = self.source.get("sorting", nothing)
        different, unknown = [], []
        for row in sorting["collations"]:
            library = "ICU" if row["provider"] == "i" else "glibc"
            try:
                here = collations.version_here(self.session, row["provider"], row["locale"])
            except MigrationError as error:
                # The check of the locale reports the database's own collation.
                if row["locale"] != (self.source["database"]["locale"] or self.source["database"]["lc_collate"]):
                    raise
                unknown.append(f"{row['locale']} ({error.code})")
                continue
            if row["version"] is None or here is None:
                unknown.append(row["locale"])
            elif row["version"] != here:
                different.append(f"{row['locale']} ({library} {row['version']} on the source, {here} here)")
        partitions = sorting["text_partitions"]
        bounds = (
            f" Rows of {', '.join(partitions[:SHOWN])} are put into the partitions that they belong to here."
            if partitions
            else ""
        )
        if different:
            self.findings.warning(
                "collation",
                f"Text may sort differently with {'; '.join(different)}. The restore builds all indexes, so they are correct. "
                f"Check reports that depend on the order.{bounds}",
                collations=different,
                partitions=partitions,
            )
        elif unknown:
            self.findings.warning(
                "collation",
                f"Whether text sorts the same with {', '.join(unknown)} is unknown. The restore builds all indexes, "
                f"so they are correct.{bounds}",
                collations=unknown,
            )
        else:
            self.findings.ok("collation", "text sorts the same")

    def _extensions(self) -> None:
        wanted, chosen = self.source.get("extensions", {}), self.options["extension_versions"]
        available = {row["name"]: row for row in self.session.rows(_EXTENSIONS, [sorted(wanted)])}
        unknown = sorted(set(chosen) - set(wanted))
        if unknown:
            raise MigrationError(
                f"couch2pg_extension_versions contains {', '.join(unknown)}, which the source's database doesn't have. Check the names.",
                "extension_versions",
            )
        missing = sorted(set(wanted) - set(available))
        if missing:
            gone = [
                name
                for name in missing
                if REMOVED.get(name, self.facts["server"]["major"] + 1) <= self.facts["server"]["major"]
            ]
            install = "Install its package there, or leave" if gone != missing else "Leave"
            ended = "".join(f" PostgreSQL has no {name} since {REMOVED[name]}." for name in gone)
            raise MigrationError(
                f"The target's server lacks the extension {', '.join(missing)}.{ended} {install} it "
                f"out: couch2pg_leave_out: {{extensions: [{', '.join(missing)}]}}.",
                "extension_missing",
                extensions=missing,
            )
        problems, fine, codes = [], [], []
        for name, version in sorted(wanted.items()):
            found = available[name]
            here = str(chosen.get(name, found["version"]))
            if here != version:
                self.changed[name] = here
            if here not in found["versions"]:
                codes.append("extension_version")
                problems.append(
                    f"The target's server doesn't have {name} {here}, which couch2pg_extension_versions requests; it has "
                    f"{', '.join(sorted(found['versions'], key=catalog_use.number))}. Install the package of that version."
                )
            elif name not in chosen and catalog_use.number(here) < catalog_use.number(version):
                codes.append("extension_older")
                problems.append(
                    f"The target's {name} is {here}, older than the source's {version}, and may lack what the database "
                    f"uses. Install a newer package, or accept it: couch2pg_extension_versions: {{{name}: '{here}'}}."
                )
            elif (
                found["versions"][here]
                and not self.facts["server"]["superuser"]
                and (reason := trial.extension_refusal(self.session, name, here))
            ):
                codes.append("extension_rights")
                problems.append(
                    f"{self.session.settings.user!r} may not create the extension {name} on the target: {reason}. Let the service's "
                    "console enable it, set couch2pg_login_user to a superuser of the target, or leave it out: "
                    f"couch2pg_leave_out: {{extensions: [{name}]}}."
                )
            else:
                fine.append(f"{name} {version}" + (f" becomes {here}" if here != version else ""))
        if problems:
            raise MigrationError(" ".join(problems), codes[0], problems=problems)
        self.findings.ok("extensions", f"available: {', '.join(fine) or 'none needed'}")

    def _roles(self) -> None:
        wanted = self.source["roles"]
        owning = set(self.source.get("owners", [])) | {self.source["database"]["owner"]}
        self.planned = planned = role_plan.plan(
            self.session, wanted, owning, self.options["missing_roles"], self.options["role_map"]
        )
        renamed = [f"{old} becomes {new}" for old, new in sorted(planned.moves.items()) if new is not None]
        if renamed:
            self.findings.warning(
                "renamed roles",
                f"{', '.join(renamed)}, in this database only. The password is not copied: set it on the target, and change "
                "the name in couch2pg's and the dashboards' settings.",
                moves=planned.moves,
            )
        if planned.revoked:
            self.findings.warning(
                "revoked roles",
                f"The target lacks {', '.join(planned.revoked)}: their privileges and policies are removed from the copy.",
                roles=planned.revoked,
            )
        self.facts["created_roles"] = planned.kept
        if planned.kept:
            self.findings.warning(
                "roles",
                f"The target lacks {', '.join(planned.kept)}: the restore creates them without login. "
                "Before they are needed, give them LOGIN and a password.",
                roles=planned.kept,
            )
        else:
            self.findings.ok("roles", "every role that the database needs exists")
        lacking = role_plan.lacking(self.session, wanted, planned)
        if lacking:
            more = f" and {len(lacking) - SHOWN} more, see the details" if len(lacking) > SHOWN else ""
            self.findings.warning(
                "properties of roles",
                f"Not copied, because they affect the whole server: {'; '.join(lacking[:SHOWN])}{more}. "
                "Run these statements on the target if they are needed.",
                statements=lacking,
            )

    def _named_roles(self) -> None:
        """Roles that are only values in rows: the restore neither creates nor renames them."""
        named = set(self.source.get("named_roles", [])) - set(self.planned.kept)
        there = {row["name"] for row in self.session.rows("SELECT rolname AS name FROM pg_catalog.pg_roles")}
        missing = sorted(named - there)
        if missing:
            statements = "; ".join(f"CREATE ROLE {quote(name)}" for name in missing)
            raise MigrationError(
                f"Rows of the source name the roles {', '.join(missing)} (values of type regrole or aclitem), and the target can't load a "
                f"role that it lacks. On the target, run: {statements}; then run again.",
                "named_roles",
                roles=missing,
            )

    def _rights(self) -> None:
        facts = self.facts["server"]
        user = self.session.settings.user
        if facts["superuser"]:
            self._check_superusers()
            self.findings.ok("rights", f"{user!r} is a superuser")
            return
        if not facts["create_database"]:
            raise MigrationError(
                f"{user!r} may not create databases on the target. Let it (ALTER ROLE {quote(user)} CREATEDB), or use 'postgres' "
                "(couch2pg_login_user).",
                "rights",
            )
        self._check_needs_no_superuser(user)
        acted = {*self.source["acted_for"], self._wanted().properties["owner"]}
        # From PostgreSQL 16 on, the creator of a role has ADMIN on it, but not SET.
        acts = "SET" if self.session.version >= SET_PRIVILEGE_SINCE else "MEMBER"
        there = self.session.rows(
            "SELECT rolname AS name, rolsuper AS superuser, pg_catalog.pg_has_role(current_user, oid, 'USAGE') "
            "AND pg_catalog.pg_has_role(current_user, oid, %s) AS member "
            "FROM pg_catalog.pg_roles WHERE rolname = ANY(%s) ORDER BY rolname",
            [acts, [self.planned.moves.get(name) or name for name in acted]],
        )
        missing = [owner for owner in (_Owner(**row) for row in there) if not owner.member]
        if missing:
            names = [owner.name for owner in missing]
            raise MigrationError(
                f"{user!r} may not give objects to {', '.join(names)} on the target, or set its defaults. "
                + self._membership_remedy(user, missing),
                "rights",
                roles=names,
            )
        made = role_plan.made_of(self.planned, acted)
        becomes = f"; the restore makes it a member of {', '.join(made)}" if made else ""
        self.findings.ok("rights", f"{user!r} may create databases and is a member of every owner{becomes}")

    def _membership_remedy(self, user: str, missing: list[_Owner]) -> str:
        """The remedy that lets ``user`` give objects to these roles. It never makes ``user`` a member of a superuser."""
        powerful = [owner.name for owner in missing if owner.superuser]
        if powerful:
            came_from = {new: old for old, new in self.planned.moves.items() if new}
            old = [came_from.get(name, name) for name in powerful]
            if not {role["name"] for role in self.source["roles"]}.issuperset(old):
                # The role is not from the source: it owns the empty database that is replaced.
                return f"On the target: ALTER DATABASE {quote(self.settings.database)} OWNER TO {quote(user)};"
            theirs = [name for role in old for name in self.source["of_superusers"].get(role, [])]
            new = self.source.get("public", {}).get("role") or "ROLE"
            statements = [f"ALTER {name} OWNER TO {quote(new)}" for name in theirs]
            for role in old:
                statements += self.source["defaults_of_superusers"].get(role, [])
            if not statements:
                return "Set couch2pg_login_user to a superuser there."
            return (
                "Set couch2pg_login_user to a superuser there. Or give what belongs to it to another role, and remove its default "
                f"privileges, in the source's database: {'; '.join(statements)};"
            )
        names = ", ".join(quote(owner.name) for owner in missing)
        member = f"GRANT {names} TO {quote(user)}"
        # The role may be a member already, but without using the rights of the group.
        if self.session.version >= SET_PRIVILEGE_SINCE:
            member += " WITH INHERIT TRUE, SET TRUE"
        elif not self.session.value("SELECT rolinherit FROM pg_catalog.pg_roles WHERE rolname = current_user"):
            member += f"; ALTER ROLE {quote(user)} INHERIT"
        return f"Make it a member there ({member}), or use 'postgres' (couch2pg_login_user)."

    def _check_needs_no_superuser(self, user: str) -> None:
        needing = [entry["object"] for entry in self.source.get("superuser_objects", [])]
        kinds = {name: "event trigger" if name.startswith("event trigger ") else "publication" for name in needing}
        refused = {kind for kind in set(kinds.values()) if trial.object_refusal(self.session, kind)}
        objects = [name for name in needing if kinds[name] in refused]
        if objects:
            raise MigrationError(
                f"Only a superuser can create {', '.join(objects[:SHOWN])}, and {user!r} is not one on the target. "
                "Use 'postgres' (couch2pg_login_user), or drop them on the source if they are not needed.",
                "rights",
                objects=objects,
            )
        forced = self.source.get("forced_row_security", [])
        bypass = self.session.value("SELECT rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user")
        if forced and not bypass:
            raise MigrationError(
                f"Row-level security, forced for owners too, would hide rows of {', '.join(forced[:SHOWN])} from {user!r}. "
                f"Let it see them on the target (ALTER ROLE {quote(user)} BYPASSRLS), or use 'postgres' (couch2pg_login_user).",
                "rights",
                tables=forced,
            )

    def _check_superusers(self) -> None:
        """The owner of an event trigger, or of a publication FOR ALL TABLES, must be a superuser here too."""
        for entry in self.source.get("superuser_objects", []):
            owner = self.planned.moves.get(entry["owner"]) or entry["owner"]
            if not self._is_superuser(owner):
                missing = owner in {role["name"] for role in self.planned.make}
                raise MigrationError(
                    f"The {entry['object']} belongs to {owner!r}, which must be a superuser on the target and is not. "
                    f"Make it one there ({'CREATE' if missing else 'ALTER'} ROLE {quote(owner)} SUPERUSER), or give the {entry['object']} "
                    f"to a superuser that both have, in the source's database: ALTER {entry['object']} OWNER TO postgres;",
                    "superuser_needed",
                    **entry,
                )

    def _wanted(self) -> PlannedProperties:
        """The properties that the restored database will have."""
        return plan_properties(self.settings, self.settings.database, self.source["database"], self.planned.moves)

    def _properties(self) -> None:
        """Report the properties that an existing, empty database on the target changes."""
        wanted = self._wanted()
        name = self.settings.database
        if not wanted.merged:
            self.findings.ok(
                "database properties", "owner, settings, grants, comment and connection limit of the source"
            )
        elif wanted.differs:
            self.findings.warning(
                "database properties",
                f"The empty database {name!r} on the target changes what comes from the source: {'; '.join(wanted.differs)}. "
                f"Where everything is to be as on the source, run on the target: DROP DATABASE {quote(name)};",
                differs=wanted.differs,
            )
        else:
            self.findings.ok("database properties", f"those of the source; the empty {name!r} changes nothing")

    def _public(self) -> None:
        """Whether couch2pg's role will be able to create in schema public, as it can on the source."""
        public = self.source.get("public")
        if not public or not public["may"]:
            return
        role = self.planned.moves.get(public["role"]) or public["role"]
        creators = {self.planned.moves.get(name, name) for name in public["creators"]} | {public["owner"]}
        groups: list[str] = next(
            (entry["member_of"] for entry in self.source["roles"] if entry["name"] == public["role"]), []
        )
        wanted = self._wanted()
        owner = wanted.properties["owner"]
        through_database = "pg_database_owner" in creators and self._acts_as(role, owner)
        if creators & {"PUBLIC", role, *groups} or through_database or self._is_superuser(role):
            self.findings.ok("schema public", f"{role!r} will be able to create in it")
            return
        # The new database takes the owner of an empty one that it replaces, else the source's; grants come from the source.
        belongs = (
            f"belongs to {owner!r} there. On the target: "
            f"{self._creation(role)}ALTER DATABASE {quote(self.settings.database)} OWNER TO {quote(role)};"
            if wanted.merged
            else f"will belong to {owner!r}. In the source's database: "
            f"GRANT CREATE ON SCHEMA public TO {quote(public['role'])};"
        )
        raise MigrationError(
            f"{role!r} may not create objects in schema public on the target, and couch2pg fails without that. Since PostgreSQL 15, only "
            f"the database's owner may, and {self.settings.database!r} {belongs}",
            "public_not_writable",
            role=role,
            owner=owner,
        )

    def _creation(self, role: str) -> str:
        """The statement that creates a missing role, as the restore would."""
        missing = [entry["name"] for entry in self.planned.make]
        return f"CREATE ROLE {quote(role)}; " if role in missing else ""

    def _acts_as(self, role: str, owner: str) -> bool:
        """Whether the role is the owner, or has the owner's rights on the target."""
        return role == owner or bool(
            self.session.rows(
                "SELECT 1 FROM pg_catalog.pg_roles AS r, pg_catalog.pg_roles AS o WHERE r.rolname = %s AND o.rolname = %s "
                "AND pg_catalog.pg_has_role(r.oid, o.oid, 'USAGE')",
                [role, owner],
            )
        )

    def _is_superuser(self, role: str) -> bool:
        return bool(
            self.session.rows("SELECT 1 AS one FROM pg_catalog.pg_roles WHERE rolname = %s AND rolsuper", [role])
        )

    def _settings(self) -> None:
        database = self.source["database"]
        wanted = list(database["settings"] or [])
        wanted += [setting for settings in (database["role_settings"] or {}).values() for setting in settings]
        refused = refused_settings(self.session, sorted(set(wanted)))
        if refused:
            why = "; ".join(f"{setting} ({reason.rstrip('.')})" for setting, reason in refused.items())
            self.findings.warning(
                "settings",
                f"Not copied, because the target's server refuses them: settings of the database {why}. "
                "Check whether the target has a replacement.",
                settings=refused,
            )
        elif wanted:
            self.findings.ok("settings", f"{counted(len(wanted), 'setting')} of the database, all supported here")

    def _catalogs(self) -> None:
        used = self.source.get("catalog_columns", [])
        versions = {
            row["name"]: str(self.options["extension_versions"].get(row["name"], row["version"]))
            for row in self.session.rows(_EXTENSIONS, [sorted(self.source.get("extensions", {}))])
        }
        gone = catalog_use.missing(self.session, used, versions)
        if gone:
            shown = "; ".join(f"{row['view']} reads {row['relation']}.{row['column']}" for row in gone[:SHOWN])
            raise MigrationError(
                f"These views can't be restored, because the target's PostgreSQL {self.facts['server']['major']} or its "
                f"extensions don't have a column any more: {shown}. Rewrite them on the source, or drop them if nobody "
                "needs them.",
                "catalog_column_gone",
                columns=gone,
            )
        if used:
            views = sorted({row["view"] for row in used})
            self.findings.ok(
                "views of catalogs",
                f"{counted(len(views), 'view')} of PostgreSQL's catalogs; their columns are all here",
            )

    def _libraries(self) -> None:
        here = preload_libraries.at_start(self.session)
        # None: the source's login may not read them, which is a finding of the source.
        wanted = list(self.source.get("preload_libraries") or [])
        readers = sorted(
            {row["view"] for row in self.source.get("catalog_columns", []) if row["extension"] == "pg_stat_statements"}
        )
        if readers and "pg_stat_statements" not in wanted:
            wanted.append("pg_stat_statements")
        if here is None:
            if wanted:
                self.findings.warning("libraries", preload_libraries.unknown(self.session, wanted), libraries=wanted)
            return
        missing = [name for name in wanted if name not in here]
        if missing:
            views = f" Until then the views {', '.join(readers[:SHOWN])} only give errors." if readers else ""
            self.findings.warning(
                "libraries",
                f"The source's server loads {', '.join(missing)} at its start (shared_preload_libraries); the target's "
                f"doesn't.{views} If the target needs them, install their packages, run as a superuser: "
                f"{preload_libraries.add_at_start(here, missing)} and restart the server.",
                libraries=missing,
            )

    def _xml(self) -> None:
        """A server that was built without libxml has the type xml, but refuses each value."""
        columns = self.source.get("xml_columns", [])
        if not columns:
            return
        try:
            self.session.value("SELECT '<a/>'::pg_catalog.xml::pg_catalog.text")
        except MigrationError as error:
            if error.details.get("sqlstate") != FEATURE_NOT_SUPPORTED:
                raise
            raise MigrationError(
                f"The target's server was built without libxml and can't hold the values of {', '.join(columns[:SHOWN])}. "
                "Use PostgreSQL packages that have libxml.",
                "without_xml",
                columns=columns,
            ) from error
        self.findings.ok("xml", f"the server holds XML values ({', '.join(columns[:SHOWN])})")

    def _hazards_of_extensions(self) -> None:
        """Report what fails on the source because of an extension's function. Another version of the extension may have corrected it."""
        for hazard in self.source.get("hazards", []):
            name, mine = f"{hazard['kind']} {hazard['object']}", hazard["extensions"]
            if hazard["fixed"] or not mine:
                continue
            versions = ", ".join(f"{one} becomes {self.changed[one]}" for one in mine if one in self.changed)
            if versions:
                self.findings.warning(
                    name,
                    f"The {name} fails on the source with an empty search_path, because of {', '.join(mine)}. On the target, "
                    f"{versions}, which may have corrected this. If it fails there, too: {hazard['remedy']}",
                    **hazard,
                )
            elif hazard["kind"] != "matview":
                self.findings.failure(
                    name, f"The {name} can't be restored: {hazard['reason']} {hazard['remedy']}", **hazard
                )

    def _hazards(self) -> None:
        hazards = [
            hazard
            for hazard in self.source.get("hazards", [])
            if hazard["kind"] == "matview" and (hazard["fixed"] or not set(hazard["extensions"]) & set(self.changed))
        ]
        if not hazards:
            self.findings.ok("materialized views", "none depends on the search_path")
            return
        open_ones = [hazard for hazard in hazards if not hazard["fixed"]]
        fixed = sorted({function for hazard in hazards if hazard["fixed"] for function in hazard["functions"]})
        if fixed:
            self.findings.warning(
                "functions",
                f"The restore sets a search_path on {', '.join(fixed)} on the target only; the source is not changed.",
                functions=fixed,
            )
        if not open_ones:
            return
        names = ", ".join(hazard["object"] for hazard in open_ones[:SHOWN])
        remedies = " ".join(sorted({hazard["remedy"] for hazard in open_ones}))
        text = f"{names}: a function in it names an object without its schema. {remedies}"
        since = f"PostgreSQL {SAFE_SEARCH_PATH_SINCE} and later"
        if self.facts["server"]["major"] >= SAFE_SEARCH_PATH_SINCE:
            self.findings.failure("materialized views", f"{since} can't refresh {text}", hazards=open_ones)
        else:
            self.findings.warning("materialized views", f"{since} could not refresh {text}", hazards=open_ones)

    def _tablespaces(self) -> None:
        used = self.source.get("sizes", {}).get("tablespaces", {})
        there = {row["name"] for row in self.session.rows("SELECT spcname AS name FROM pg_catalog.pg_tablespace")}
        missing = sorted(set(used) - there)
        if used and self.options["tablespaces"] == "default":
            self.findings.warning(
                "tablespaces",
                f"Not copied: the tablespaces {', '.join(sorted(used))}; everything goes into the target's default tablespace.",
                tablespaces=sorted(used),
            )
        elif missing:
            raise MigrationError(
                f"The target's server lacks the tablespace {', '.join(missing)}, where the source keeps tables or indexes. "
                "Set couch2pg_tablespaces: default, so that everything goes into the default tablespace. Or create it there, in an empty "
                f"folder that belongs to the server's user: {' '.join(self._creation_of_tablespace(name) for name in missing)}",
                "tablespace_missing",
                tablespaces=missing,
            )
        closed = self.session.rows(
            "SELECT spcname AS name FROM pg_catalog.pg_tablespace WHERE spcname = ANY (%s) "
            "AND NOT pg_catalog.has_tablespace_privilege(oid, 'CREATE') ORDER BY 1",
            [sorted(used)],
        )
        if closed and self.options["tablespaces"] != "default":
            user = self.session.settings.user
            raise MigrationError(
                f"{user!r} may not create anything in the target's tablespace {', '.join(row['name'] for row in closed)}. Set "
                "couch2pg_tablespaces: default, so that everything goes into the default tablespace. Or run on the target, as a superuser: "
                f"{' '.join(_use_of_tablespace(row['name'], user) for row in closed)}",
                "tablespace_closed",
                tablespaces=[row["name"] for row in closed],
            )

    def _creation_of_tablespace(self, name: str) -> str:
        """The statements, with the folder for the operator to name."""
        use = "" if self.facts["server"]["superuser"] else f" {_use_of_tablespace(name, self.session.settings.user)}"
        return f"CREATE TABLESPACE {quote(name)} LOCATION '/FOLDER';{use}"


def _use_of_tablespace(name: str, user: str) -> str:
    return f"GRANT CREATE ON TABLESPACE {quote(name)} TO {quote(user)};"
