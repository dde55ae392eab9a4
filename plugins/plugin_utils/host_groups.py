# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory's groups: which host does what in a run, and mistakes in them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Callable, Mapping, Sequence

SOURCE, TARGET, REHEARSAL = "couch2pg_source", "couch2pg_target", "couch2pg_rehearsal"
APP_SOURCE, APP_TARGET = "couch2pg_app_source", "couch2pg_app_target"
NAMES = (SOURCE, TARGET, REHEARSAL, APP_SOURCE, APP_TARGET)
CLOSE = 0.85

Groups = Mapping[str, Sequence[str]]


def members(groups: Groups) -> list[str]:
    """Every host of this collection's groups, once."""
    return list(dict.fromkeys(host for name in NAMES for host in groups.get(name, ())))


def resolve(groups: Groups, rehearsal: bool, is_open: Callable[[str], bool]) -> dict[str, list[str]]:
    """The hosts by the groups of the run. ``is_open``: whether a host's variables leave open where PostgreSQL runs.

    ``run_source``, ``run_target``: PostgreSQL before and after; a rehearsal has its copy on couch2pg_rehearsal.
    ``run_app_source``, ``run_app_target``: couch2pg before and after; on the hosts of PostgreSQL, unless it has groups of its own.
    ``run_databases``, ``run_apps``: all hosts of either, with that of rehearsals. ``run_hosts``: all.
    ``run_search``: the hosts of PostgreSQL for which ``is_open`` is true.
    """
    source, target, third = (list(groups.get(name, ())) for name in (SOURCE, TARGET, REHEARSAL))
    app_source, app_target = _apps(groups)
    copy = third if rehearsal else []
    databases = _once(source, target, third)
    return {
        "run_source": source,
        "run_target": copy or target,
        "run_app_source": app_source,
        "run_app_target": copy or app_target,
        "run_databases": databases,
        "run_search": [host for host in databases if is_open(host)],
        "run_apps": _once(app_source, app_target, third),
        "run_hosts": members(groups),
    }


def problems(groups: Groups, partial: bool = False) -> list[str]:
    """A sentence for each mistake. ``partial``: whether one side is enough, as for a run that only shows its state."""
    if not groups.get("all"):
        return ["The inventory has no host. Give it with -i: ansible-playbook cht.couch2pg.preflight -i inventory.yml"]
    found = []
    for name in NAMES:
        hosts = groups.get(name, ())
        if len(hosts) > 1:
            found.append(
                f"The group {name} has {len(hosts)} hosts ({', '.join(hosts)}), and only one is meant: remove the others."
            )
        if not hosts:
            near = _near(name, groups)
            if near:
                found.append(
                    f"The inventory has no host in the group {name}, but its group {near} looks like it: rename that."
                )
            elif name in (SOURCE, TARGET) and not (partial and members(groups)):
                found.append(f"The inventory has no host in the group {name}: add {_words(name)}.")
    both = [host for host in groups.get(SOURCE, ()) if host in groups.get(TARGET, ())]
    if both:
        found.append(
            f"The host {both[0]} is in both {SOURCE} and {TARGET}, so the variables of one server replace those of the other. Use two "
            f"names in the inventory: {both[0]}-old and {both[0]}-new, both with ansible_host: {both[0]}, and each with "
            "couch2pg_login_port and the like of its server, and with its own couch2pg_app."
        )
    copied = [host for host in groups.get(SOURCE, ()) if host in groups.get(REHEARSAL, ())]
    if copied:
        found.append(
            f"The host {copied[0]} is in both {SOURCE} and {REHEARSAL}. A rehearsal needs another server than the source: leave "
            f"{REHEARSAL} out, and it runs on the target."
        )
    return found


def with_both_couch2pg(groups: Groups) -> list[str]:
    """The hosts of couch2pg both before and after the migration: such a host has one couch2pg_app for both."""
    before, after = _apps(groups)
    return [host for host in before if host in after]


def one_couch2pg(host: str) -> str:
    """What is wrong with a host ``with_both_couch2pg`` where couch2pg is to be moved."""
    return (
        f"The host {host} has couch2pg both before and after the migration, so that both would be the same deployment, and the run would "
        f"stop it before the restore. Nothing was changed. For two deployments on that host, use two names in the inventory: {host}-old "
        f"in {APP_SOURCE} and {host}-new in {APP_TARGET}, both with ansible_host: {host}, and each with its own couch2pg_app. If one "
        "couch2pg stays, set couch2pg_handover: false, and give it the address of the target yourself after the promotion."
    )


def _apps(groups: Groups) -> tuple[list[str], list[str]]:
    """The hosts of couch2pg before and after."""
    before = list(groups.get(APP_SOURCE, ())) or list(groups.get(SOURCE, ()))
    after = list(groups.get(APP_TARGET, ())) or list(groups.get(TARGET, ()))
    return before, after


def _near(name: str, groups: Groups) -> str:
    """A group with hosts that is spelt like ``name`` and is not a group of this collection."""
    others = [other for other, hosts in groups.items() if hosts and other not in NAMES]
    return next(iter(get_close_matches(name, others, n=1, cutoff=CLOSE)), "")


def _words(name: str) -> str:
    return "the server that the database is on now" if name == SOURCE else "the server that the database moves to"


def _once(*lists: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(host for hosts in lists for host in hosts))
