# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checklist of manual steps during and after a migration, with commands."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Mapping, TypedDict

from ansible_collections.cht.couch2pg.plugins.module_utils.common import restart
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.identifiers import literal, quote
from ansible_collections.cht.couch2pg.plugins.module_utils.record.document import Record

from . import report_text as text
from .record_results import Results, results
from .record_summary import roles_without_login

_SESSIONS = "SELECT DISTINCT usename, application_name, client_addr FROM pg_stat_activity WHERE datname = {}"
NOW, BEFORE, LATER = "Now", "Before the dashboards are moved", "Days later, when everything works"


@dataclass(frozen=True)
class Item:
    """One step: when, what, why, on which host, with which commands."""

    when: str
    title: str
    why: str
    host: str = ""
    commands: list[str] = field(default_factory=list)


class Group(TypedDict):
    """The steps of one time."""

    when: str
    todo: list[Item]


class Place(TypedDict, total=False):
    """How a host of the inventory is reached. A value that is not set is empty. socket: the folder of the Unix socket."""

    host: str
    port: int
    user: str
    socket: str
    container: str
    become_user: str


@dataclass(frozen=True)
class Places:
    """How to reach PostgreSQL on each host, from the inventory."""

    hosts: Mapping[str, Place]

    def program(self, host: str, program: str) -> list[str]:
        """The start of a command line, without a password: PostgreSQL's programs prompt for it."""
        place = self.hosts.get(host) or Place()
        command = [program]
        where = place.get("host") or place.get("socket")
        if where:
            command += ["-h", str(where)]
        if str(place.get("port") or 5432) != "5432":
            command += ["-p", str(place["port"])]
        if place.get("user"):
            command += ["-U", str(place["user"])]
        account = place.get("become_user")
        inside = ["docker", "exec", "-it", str(place["container"])] if place.get("container") else []
        return [*(["sudo", "-u", str(account)] if account else []), *inside, *command]

    def psql(self, host: str, *statements: str) -> str:
        """A psql command line that runs the statements in one session."""
        arguments = [part for statement in statements for part in ("-c", statement)]
        return shlex.join([*self.program(host, "psql"), "-d", "postgres", *arguments])

    def become(self, host: str, *command: str) -> str:
        """A command line for the user who owns the migration's files on the host."""
        account = (self.hosts.get(host) or Place()).get("become_user")
        return shlex.join([*(["sudo", "-u", str(account)] if account else []), *command])


def checklist(record: Record, places: Places) -> list[Item]:
    """All manual steps for the state of the record, in order."""
    phases, done = record["phases"], results(record)
    items: list[Item] = []
    if restart.rehearses(record["migration_id"]) is not None:
        return _copy(record, done, places)
    if "restore" in done:
        items += _roles(record, done, places)
        items += _properties(record, done, places)
    if "promote" not in done:
        return items
    if "rollback" in done:
        return _rolled_back(record, done, places)
    target = text.name(phases["promote"]["host"])
    source = text.name(phases["dump"]["host"]) if "dump" in done else "the source"
    if "handover" not in done:
        items.append(
            Item(
                NOW,
                "Start couch2pg on the target",
                "Use the settings from the source, and change only PostgreSQL's address and password. "
                "COUCHDB_URL must not change except for its credentials, or couch2pg downloads everything again. "
                "couch2pg on the source keeps running.",
                target,
                ["sudo systemctl enable --now couch2pg", "sudo journalctl -u couch2pg --since -5min -f"],
            )
        )
    items += _dashboards(record, done, places, source, target)
    return items + _leftovers(record, done, places, source, target)


def _copy(record: Record, done: Results, places: Places) -> list[Item]:
    """The steps after a rehearsal: drop a copy that was kept."""
    ended = done.get("rehearse")
    if ended is None or not ended.get("kept"):
        return []
    name, host = text.name(ended.get("database")), text.name(record["phases"]["rehearse"]["host"])
    why = "It was kept and contains every document. The next rehearsal needs its name."
    return [Item(LATER, f"Drop the copy {name}", why, host, [shlex.join([*places.program(host, "dropdb"), name])])]


def _roles(record: Record, done: Results, places: Places) -> list[Item]:
    owner = done["restore"].get("properties", {}).get("owner")
    items = []
    host = text.name(record["phases"]["restore"]["host"])
    for role in map(text.name, roles_without_login(done)):
        statements = [f"ALTER ROLE {quote(role)} LOGIN", f"\\password {quote(role)}"]
        why = "A restore created it on the target, without login and password. psql prompts for the password."
        if role == owner:
            statements.insert(0, "SET password_encryption = 'md5'")
            why += " couch2pg's own driver supports only md5 passwords. If the driver was updated, leave out the first statement."
        items.append(
            Item(NOW, f"Give the role {role} its login and password", why, host, [places.psql(host, *statements)])
        )
    return items


def _properties(record: Record, done: Results, places: Places) -> list[Item]:
    """The step that checks which of the source's properties an empty database on the target has changed."""
    differs = [text.sentence(phrase) for phrase in done["restore"].get("properties_differ") or []]
    if not differs:
        return []
    name, host = text.name(record["database"]), text.name(record["phases"]["restore"]["host"])
    why = f"The empty database that was there before changed these properties of the source's: {'; '.join(differs)}."
    return [
        Item(
            NOW,
            f"Check the properties of the database {name}",
            why,
            host,
            [places.psql(host, f"\\l+ {name}", f"\\drds * {name}")],
        )
    ]


def _dashboards(record: Record, done: Results, places: Places, source: str, target: str) -> list[Item]:
    items = []
    if not done.get("dashboards", {}).get("passed"):
        items.append(
            Item(
                BEFORE,
                "Compare the dashboards' queries on both sides",
                "Set couch2pg_dashboard_queries to the queries, run this, and fix the problems that it reports.",
                "the controller",
                ["ansible-playbook cht.couch2pg.dashboards -i inventory.yml"],
            )
        )
    if done.get("cutover", {"side": "source"}).get("side") == "source":
        items.append(
            Item(
                BEFORE,
                "Point Superset, Klipfolio and everything else that reads the database at the target",
                f"Wait for a few runs of couch2pg first; until then they keep reading the source. The new address is that of {target}. "
                "Set couch2pg_superset, couch2pg_klipfolio and couch2pg_cutover_steps. The first command shows what would change. "
                "To undo it, run cht.couch2pg.switch_back.",
                "the controller",
                [
                    "ansible-playbook cht.couch2pg.cutover -i inventory.yml --check --diff",
                    "ansible-playbook cht.couch2pg.cutover -i inventory.yml",
                ],
            )
        )
        items.append(
            Item(
                BEFORE,
                "Allow their connections",
                "pg_hba.conf, the firewall, TLS certificates and poolers (pgbouncer.ini) of the target need an entry for each program "
                "that connects to the source today. This lists them.",
                source,
                [places.psql(source, _SESSIONS.format(_text(text.name(record["database"]))))],
            )
        )
    return items


def _rolled_back(record: Record, done: Results, places: Places) -> list[Item]:
    """The steps after a rollback."""
    kept, host = text.name(done["rollback"].get("kept_as")), text.name(record["phases"]["rollback"]["host"])
    # With the method physical it is the path of a data directory.
    whole = kept.startswith("/")
    return [
        Item(
            NOW,
            "Fix the cause of the rollback, and migrate again",
            f"Use another name than {text.name(record['migration_id'])}, because work that is done is not repeated under the same name.",
            "the controller",
            [restart.migrate_as(text.name(record["migration_id"]))],
        ),
        Item(
            LATER,
            f"{'Remove' if whole else 'Drop'} {kept}",
            f"It is the migrated {'server' if whole else 'database'} at the time of the rollback. Nothing reads it.",
            host,
            [shlex.join(["rm", "-r", kept] if whole else [*places.program(host, "dropdb"), kept])],
        ),
        Item(LATER, "Remove the archives", _ARCHIVES, "the controller", [_cleanup("archives")]),
    ]


_ARCHIVES = "They contain every document. Only files of this migration are removed; the record is kept."


def _cleanup(step: str, *words: str) -> str:
    return shlex.join(
        [
            "ansible-playbook",
            "cht.couch2pg.cleanup",
            "-i",
            "inventory.yml",
            "-e",
            " ".join([f"couch2pg_cleanup={step}", *words]),
        ]
    )


def _leftovers(record: Record, done: Results, places: Places, source: str, target: str) -> list[Item]:
    database = text.name(record["database"])
    cleaned: Mapping[str, object] = done.get("cleanup") or {}
    items = []
    promoted = done["promote"]
    kept, replaced = promoted.get("kept_as"), promoted.get("replaced")
    if replaced and "replaced_server" not in cleaned:
        items.append(
            Item(
                LATER,
                "Remove the data directory that the target's server had before",
                f"It is {text.name(replaced)}, with which a rollback is possible.",
                "the controller",
                [_cleanup("replaced_server")],
            )
        )
    if kept:
        items.append(
            Item(
                LATER,
                f"Drop {text.name(kept)}",
                f"It is the database that had the name {text.name(promoted.get('name'))} on the target before.",
                target,
                [shlex.join([*places.program(target, "dropdb"), text.name(kept)])],
            )
        )
    if "archives" not in cleaned:
        items.append(Item(LATER, "Remove the archives", _ARCHIVES, "the controller", [_cleanup("archives")]))
    if "source_couch2pg" not in cleaned:
        items.append(
            Item(
                LATER,
                "Stop couch2pg on the source",
                "Until then it keeps the source up to date, so a rollback is possible.",
                "the controller",
                [_cleanup("source_couch2pg")],
            )
        )
    if "source_database" not in cleaned:
        items.append(
            Item(
                LATER,
                f"Drop the database {database} on the source",
                "Only when it is no longer needed. The first command shows who is connected. A rollback is not possible afterwards.",
                source,
                [
                    places.psql(source, _SESSIONS.format(_text(database))),
                    _cleanup(
                        "source_database",
                        f"couch2pg_cleanup_database={database}",
                        f"couch2pg_cleanup_host={source}",
                        "couch2pg_cleanup_last_archive=true",
                    ),
                ],
            )
        )
    items += _by_people(target)
    return items


def _by_people(target: str) -> list[Item]:
    """Steps that no playbook automates."""
    return [
        Item(
            LATER,
            "Back up the target",
            "Add it to the backups of the source, and restore one backup to test it.",
            target,
        ),
        Item(
            LATER,
            "Delete backups of the old server",
            "They contain patient data too: on its disks, in object storage, at the provider.",
        ),
        Item(
            LATER,
            "Monitoring, cron jobs and poolers",
            "Move everything that monitors, vacuums, exports or pools on the source to the target.",
        ),
    ]


def _text(value: str) -> str:
    """An SQL string constant that stays readable inside a shell's single quotes, if possible."""
    return literal(value) if "$" in value or "'" in value else f"$${value}$$"


def shown(items: list[Item]) -> list[Group]:
    """The checklist grouped by time, for a template."""
    groups: list[Group] = []
    for when in (NOW, BEFORE, LATER):
        own = [item for item in items if item.when == when]
        if own:
            groups.append({"when": when, "todo": own})
    return groups
