# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a run on the controller, before any host is contacted: the command line, the groups, and the variables of every host."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Iterable, Mapping

import yaml
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible.utils.vars import load_extra_vars
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import check_writable, expand
from ansible_collections.cht.couch2pg.plugins.plugin_utils import command_line, host_groups, server_place
from ansible_collections.cht.couch2pg.plugins.plugin_utils.misspelt import (
    PREFIX,
    Options,
    find_misspelt,
    find_misspelt_extra,
    is_ours,
    role_options,
)
from ansible_collections.cht.couch2pg.plugins.plugin_utils.undefined import evaluate
from ansible_collections.cht.couch2pg.plugins.plugin_utils.unfit import find_unfit

COLLECTION = Path(__file__).parents[2]
OPTIONS: dict[str, Any] = {"every_host": False, "may_be_limited": False, "rehearsal": False, "tags": []}
# The prefix of connection variables, which are checked because they may refer to passwords in a vault.
CONNECTION = "ansible_"
# Facts come from the hosts, so they are not templates.
FACTS = ("ansible_facts", "ansible_local")

Problem = tuple[str, str]


class ActionModule(ActionBase):
    """Action plugin of M(cht.couch2pg.run_check)."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with a sentence for each mistake. All mistakes are reported together."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = task_vars or {}
        wrong = set(self._task.args) - set(OPTIONS)
        if wrong:
            return dict(result, failed=True, msg=f"Unknown options of run_check: {', '.join(sorted(wrong))}.")
        options = {**OPTIONS, **self._task.args}
        self._shared: Options = _load(COLLECTION / "docs" / "variables.yml")
        self._roles = {
            path.parents[1].name: role_options(_load(path))
            for path in sorted(COLLECTION.glob("roles/*/meta/argument_specs.yml"))
        }
        if options["every_host"]:
            found = [*self._run(options, given), *self._hosts(given)]
            # A run that may be limited only shows jobs or ends them, and writes no report.
            if not found and not options["may_be_limited"]:
                found = [*self._deployments(given), *self._reports(given)]
        else:
            found = self._variables(
                given, {name: given[name] for name in given if name.startswith(PREFIX)}, self._templar
            )
        if found:
            sentences = list(dict.fromkeys(sentence for _code, sentence in found))
            return dict(result, failed=True, code=found[0][0], msg=" ".join(sentences))
        result.update(changed=False, checked=sum(is_ours(name, self._roles) for name in given))
        if options["every_host"]:
            resolved = host_groups.resolve(given["groups"], options["rehearsal"], partial(self._is_open, given))
            result["hosts"] = [
                {"host": host, "groups": [name for name, hosts in resolved.items() if host in hosts]}
                for host in resolved["run_hosts"]
            ]
        return result

    def _run(self, options: Mapping[str, Any], given: Mapping[str, Any]) -> list[Problem]:
        """Problems of the command line and of the groups."""
        found = []
        if given.get("ansible_limit") is not None and not options["may_be_limited"]:
            sentence = (
                "With --limit, the run would skip the checks of a host. Nothing was changed. Leave that option out."
            )
            found.append(("limited_run", sentence))
        # An imported playbook has the tags of its import, too.
        known = [*options["tags"], *(tag for tag in self._task.tags if tag != command_line.ALWAYS)]
        tags = [*given.get("ansible_run_tags", ()), *given.get("ansible_skip_tags", ())]
        found += [("unknown_tag", sentence) for sentence in command_line.unknown_tags(tags, known)]
        found += [
            ("groups", sentence)
            for sentence in host_groups.problems(given["groups"], partial=options["may_be_limited"])
        ]
        extra = load_extra_vars(self._loader)
        found += [
            ("unknown_variable", sentence) for sentence in find_misspelt_extra(extra, set(self._shared), self._roles)
        ]
        return found

    def _hosts(self, given: Mapping[str, Any]) -> list[Problem]:
        """Problems of the variables of every host. A problem that only some hosts have names these hosts."""
        all_hosts = host_groups.members(given["groups"])
        places: dict[Problem, list[str]] = {}
        for host in all_hosts:
            for problem in self._host(host, given):
                places.setdefault(problem, []).append(host)
        return [
            (code, sentence if len(hosts) == len(all_hosts) else f"On {', '.join(hosts)}: {sentence}")
            for (code, sentence), hosts in places.items()
        ]

    def _deployments(self, given: Mapping[str, Any]) -> list[Problem]:
        """Whether couch2pg before and after the migration would be one deployment, although it is to be moved."""
        return [
            ("groups", host_groups.one_couch2pg(host))
            for host in host_groups.with_both_couch2pg(given["groups"])
            if boolean(self._evaluated(given, host, ["couch2pg_handover"]).get("couch2pg_handover", True), strict=False)
        ]

    def _reports(self, given: Mapping[str, Any]) -> list[Problem]:
        """Whether the reports of the run can be written on this machine."""
        target = given["hostvars"].raw_get(given["groups"][host_groups.TARGET][0])
        variables = {**target, **self._of_play(given), "hostvars": given["hostvars"]}
        usual = f"{os.environ.get('PWD', Path.cwd())}/couch2pg-records"
        folder = Templar(loader=self._loader, variables=variables).template(
            variables.get("couch2pg_records_dir", usual)
        )
        try:
            check_writable(expand(folder))
        except MigrationError as error:
            sentence = f"The report can't be written on the controller: {error.message} Set couch2pg_records_dir. Nothing was changed."
            return [(error.code, sentence)]
        return []

    def _of_play(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The variables that a playbook sets when it imports this one. They have precedence over the inventory's."""
        first = given["hostvars"].raw_get(given["inventory_hostname"])
        return {name: given[name] for name in given if name.startswith(PREFIX) and given[name] != first.get(name)}

    def _host(self, host: str, given: Mapping[str, Any]) -> list[Problem]:
        raw = given["hostvars"].raw_get(host)
        values = {**raw, **self._of_play(given), "hostvars": given["hostvars"]}
        checked = {name: values[name] for name in values if self._is_known(name) or _is_connection(name, values[name])}
        return self._variables(values, checked, Templar(loader=self._loader, variables=values))

    def _is_open(self, given: Mapping[str, Any], host: str) -> bool:
        """Whether the host's variables, which have no problem, leave open where PostgreSQL runs."""
        return server_place.is_open(self._evaluated(given, host, server_place.NAMES))

    def _evaluated(self, given: Mapping[str, Any], host: str, names: Iterable[str]) -> dict[str, Any]:
        """The values of those of the variables that the host has."""
        values = {**given["hostvars"].raw_get(host), **self._of_play(given), "hostvars": given["hostvars"]}
        asked = {name: values[name] for name in names if name in values}
        evaluated, _undefined = evaluate(asked, partial(_evaluate, Templar(loader=self._loader, variables=values)))
        return evaluated

    def _variables(self, names: Iterable[str], checked: Mapping[str, Any], templar: Any) -> list[Problem]:
        """Problems of one host's variables: unknown among ``names``; undefined or unfit among ``checked``."""
        found = [("unknown_variable", sentence) for sentence in find_misspelt(names, set(self._shared), self._roles)]
        values, undefined = evaluate(checked, partial(_evaluate, templar))
        found += [("undefined_variable", sentence) for sentence in undefined]
        known = {name: option for options in (*self._roles.values(), self._shared) for name, option in options.items()}
        ours = {name: values[name] for name in values if name in known}
        found += [("unfit_value", sentence) for sentence in find_unfit(ours, known)]
        return found + [("unfit_value", sentence) for sentence in server_place.problems(values)]

    def _is_known(self, name: str) -> bool:
        return name.startswith(PREFIX) or any(name in options for options in self._roles.values())


def _evaluate(templar: Any, text: Any) -> Any:
    return templar.template(text)


def _is_connection(name: str, value: Any) -> bool:
    return name.startswith(CONNECTION) and name not in FACTS and isinstance(value, str)


def _load(path: Path) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - both loaders are safe
