# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The usual mistakes: each ends in one sentence that says what to do, before anything is changed, and without a traceback."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import yaml
from support.cabled_hosts import PYTHON, Network
from support.cases import rarely
from support.machine import run
from support.many_playbooks import run_all
from support.migration import ROOT, Migration, Run

SOURCE, TARGET = "couch2pg_source", "couch2pg_target"
HOSTS = {SOURCE: ["old"], TARGET: ["new"]}
DATABASE = f"mistakes_{os.getpid()}"
BOTH = "all"
PASSWORD = "right and long"


@dataclass(frozen=True)
class Mistake:
    """A run with a mistake, and the beginning of what it says.

    groups: the inventory's; variables: for ``all`` or for one host; arguments: more of the command line; role: in place of a playbook,
    a role that somebody uses in a playbook of their own.
    """

    name: str
    sentence: str
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=lambda: HOSTS)
    arguments: tuple[str, ...] = ()
    playbook: str = "preflight"
    role: str = ""

    def path(self, folder: Path) -> str:
        """Its playbook."""
        if not self.role:
            return f"{ROOT}/playbooks/{self.playbook}.yml"
        path = folder / "inventory.play.yml"
        play = {"hosts": SOURCE, "gather_facts": False, "roles": [{"role": f"cht.couch2pg.{self.role}"}]}
        path.write_text(json.dumps([play]), encoding="utf-8")
        return str(path)


def variables(name: str, sentence: str, **of_all: Any) -> Mistake:
    """Variables of both hosts."""
    return Mistake(name, sentence, {BOTH: of_all})


def undefined(place: str, unknown: str) -> str:
    variable = re.split(r"[.\[]", place)[0]
    return f"The variable {place} uses {unknown}, which is not defined: define it, or correct {variable}."


COMMAND_LINE = [
    Mistake("the source alone", "With --limit, the run would skip the checks of a host.", arguments=("--limit", "old")),
    Mistake(
        "both hosts, not localhost",
        "With --limit, the run would skip",
        arguments=("--limit", "old,new"),
        playbook="migrate",
    ),
    Mistake(
        "a limit of a rollback", "With --limit, the run would skip", arguments=("--limit", "new"), playbook="rollback"
    ),
    Mistake("a limit of cleanup", "With --limit, the run would skip", arguments=("--limit", "new"), playbook="cleanup"),
    Mistake(
        "a limit of a rehearsal", "With --limit, the run would skip", arguments=("--limit", "new"), playbook="rehearse"
    ),
    Mistake(
        "a misspelt tag",
        "This run has no tag dmp. Did you mean dump? Its tags are preflight, dump,",
        arguments=("--tags", "dmp"),
        playbook="migrate",
    ),
    Mistake(
        "a misspelt tag to skip",
        "This run has no tag verfy. Did you mean verify?",
        arguments=("--skip-tags", "verfy"),
        playbook="migrate",
    ),
    Mistake(
        "a tag of another method",
        "This run has no tag stream. Its tags are",
        arguments=("--tags", "stream"),
        playbook="migrate",
    ),
    Mistake(
        "a tag where there is none",
        "This run has no tag promote. Leave --tags and --skip-tags out.",
        arguments=("--tags", "promote"),
        playbook="rollback",
    ),
    Mistake(
        "checks to skip",
        "With --skip-tags always, the run would skip checks.",
        arguments=("--skip-tags", "always"),
        playbook="migrate",
    ),
    Mistake(
        "a task to start at",
        "With --start-at-task, the run would skip checks.",
        arguments=("--start-at-task", "Dump*"),
        playbook="migrate",
    ),
    Mistake(
        "a phase to start at",
        "With --start-at-task, the run would skip checks.",
        arguments=("--start-at-task", "Give the verified*"),
        playbook="migrate",
    ),
    Mistake(
        "an extra variable without its prefix",
        "The variable replace_existing is unknown: did you mean couch2pg_replace_existing?",
        arguments=("-e", "replace_existing=true"),
    ),
    Mistake(
        "an extra variable with another prefix",
        "The variable couchpg_database is unknown: did you mean couch2pg_database?",
        arguments=("-e", "couchpg_database=x"),
    ),
    Mistake(
        "an extra variable with a dash",
        "The variable couch2pg-database is unknown: did you mean couch2pg_database?",
        arguments=("-e", "couch2pg-database=x"),
    ),
]
GROUPS = [
    Mistake("no host at all", "The inventory has no host. Give it with -i", groups={}),
    Mistake(
        "no source",
        f"The inventory has no host in the group {SOURCE}: add the server that the database is on now.",
        groups={TARGET: ["new"]},
    ),
    Mistake(
        "no target",
        f"The inventory has no host in the group {TARGET}: add the server that the database moves to.",
        groups={SOURCE: ["old"]},
        playbook="migrate",
    ),
    Mistake(
        "no group of ours", f"The inventory has no host in the group {SOURCE}: add", groups={"web": ["old", "new"]}
    ),
    Mistake(
        "a misspelt group",
        f"The inventory has no host in the group {SOURCE}, but its group couch2pg_sorce looks like it: rename that.",
        groups={"couch2pg_sorce": ["old"], TARGET: ["new"]},
        playbook="status",
    ),
    Mistake(
        "a misspelt group of couch2pg",
        "The inventory has no host in the group couch2pg_app_source, but its group couch2pg_app_sources",
        groups={**HOSTS, "couch2pg_app_sources": ["app"]},
    ),
    Mistake(
        "one couch2pg before and after",
        "The host app has couch2pg both before and after the migration, so that both would be the same deployment",
        groups={**HOSTS, "couch2pg_app_source": ["app"], "couch2pg_app_target": ["app"]},
        arguments=("-e", "couch2pg_handover=true"),
        playbook="migrate",
    ),
    Mistake(
        "an empty group",
        f"The inventory has no host in the group {TARGET}: add",
        groups={SOURCE: ["old"], TARGET: []},
        playbook="rollback",
    ),
    Mistake(
        "several hosts in a group",
        f"The group {TARGET} has 2 hosts (new, newer), and only one is meant: remove the others.",
        groups={SOURCE: ["old"], TARGET: ["new", "newer"]},
    ),
    Mistake(
        "one host in both groups",
        f"The host old is in both {SOURCE} and {TARGET}, so the variables of one server replace those of the other.",
        groups={SOURCE: ["old"], TARGET: ["old"]},
        playbook="migrate",
    ),
    Mistake(
        "a rehearsal on the source",
        f"The host old is in both {SOURCE} and couch2pg_rehearsal.",
        groups={**HOSTS, "couch2pg_rehearsal": ["old"]},
        playbook="rehearse",
    ),
]
VARIABLES = [
    variables("an undefined choice", undefined("couch2pg_ssl_mode", "tls_mode"), couch2pg_ssl_mode="{{ tls_mode }}"),
    variables(
        "an undefined folder", undefined("couch2pg_staging_dir", "disk"), couch2pg_staging_dir="{{ disk }}/staging"
    ),
    variables("an undefined name", undefined("couch2pg_migration_id", "year"), couch2pg_migration_id="cht-{{ year }}"),
    variables("an undefined database", undefined("couch2pg_database", "db"), couch2pg_database="{{ db }}"),
    variables(
        "what an undefined variable is made of",
        undefined("couch2pg_database", "site"),
        couch2pg_database="{{ db }}",
        db="{{ site }}",
    ),
    variables(
        "an entry that is not there",
        "The variable couch2pg_login_port uses port of a variable that has no such entry: add it",
        couch2pg_login_port="{{ server.port }}",
        server={"host": "x"},
    ),
    variables(
        "a nested value",
        undefined("couch2pg_app.unit", "unit_name"),
        couch2pg_app={"kind": "systemd", "unit": "{{ unit_name }}"},
    ),
    variables(
        "a value in a list",
        undefined("couch2pg_dashboard_queries[0].query", "table"),
        couch2pg_dashboard_queries=[{"query": "SELECT count(*) FROM {{ table }}"}],
    ),
    variables("a variable of a role", undefined("dump_jobs", "cores"), dump_jobs="{{ cores }}"),
    variables(
        "a forgotten vault variable",
        undefined("couch2pg_login_password", "vault_postgres_password"),
        couch2pg_login_password="{{ vault_postgres_password }}",
    ),
    variables(
        "a forgotten password for sudo",
        undefined("ansible_become_password", "vault_sudo"),
        ansible_become_password="{{ vault_sudo }}",
    ),
    Mistake(
        "an undefined variable of one host",
        f"On new: {undefined('couch2pg_login_host', 'address')}",
        {"new": {"couch2pg_login_host": "{{ address }}"}},
    ),
    Mistake(
        "an undefined address of one host",
        f"On old: {undefined('ansible_host', 'old_address')}",
        {"old": {"ansible_host": "{{ old_address }}"}},
    ),
    variables("a broken template", "The variable couch2pg_database can't be evaluated: ", couch2pg_database="{{ db"),
    variables(
        "a misspelt variable",
        "The variable couch2pg_databse is unknown: did you mean couch2pg_database?",
        couch2pg_databse="x",
    ),
    variables(
        "a misspelt prefix",
        "The variable couch_2pg_database is unknown: did you mean couch2pg_database?",
        couch_2pg_database="x",
    ),
    variables(
        "a misspelt variable of a role",
        "The variable dump_compresion is unknown: did you mean dump_compression?",
        dump_compresion="none",
    ),
    variables(
        "a choice that there is not",
        "The variable couch2pg_method must be one of archive, stream, ",
        couch2pg_method="rsync",
    ),
    variables(
        "no value for the database",
        "The variable couch2pg_database has no value: give it one, such as cht, or leave it out.",
        couch2pg_database="",
    ),
    variables(
        "a key without its value",
        "The variable couch2pg_staging_dir has no value: give it one, such as /srv/staging, or leave it out.",
        couch2pg_staging_dir=None,
    ),
    variables(
        "a port that is none",
        "The variable couch2pg_login_port must be a whole number up to 65535, and it is 54320000.",
        couch2pg_login_port=54320000,
    ),
    variables(
        "no worker", "The variable couch2pg_jobs must be a whole number from 1 on, and it is 0.", couch2pg_jobs=0
    ),
    variables(
        "a number in words",
        "The variable couch2pg_jobs must be a whole number, and it is 'many'.",
        couch2pg_jobs="many",
    ),
    variables(
        "neither true nor false",
        "The variable couch2pg_replace_existing must be true or false, and it is 'perhaps'.",
        couch2pg_replace_existing="perhaps",
    ),
    variables(
        "a rate without its unit",
        "The variable couch2pg_rate_limit must be 0 (no limit) or bytes per second",
        couch2pg_rate_limit="20",
    ),
    variables(
        "a mapping as a text",
        "The variable couch2pg_role_map must be a mapping, and it is a text.",
        couch2pg_role_map="a: b",
    ),
    variables(
        "a server in a place that there is not",
        "The variable couch2pg_postgres.kind must be one of auto, host, container, service, and it is 'docker'.",
        couch2pg_postgres={"kind": "docker"},
    ),
    variables(
        "a service that is nowhere",
        "The variable couch2pg_postgres has the kind service, and nothing says where the service is: set couch2pg_login_host",
        couch2pg_postgres={"kind": "service"},
        couch2pg_login_host="",
    ),
    variables(
        "an address with its port",
        "The variable couch2pg_login_host must be a host name or an address alone, without scheme or port, such as 127.0.0.1, and it is",
        couch2pg_login_host="db.example.org:5432",
    ),
    variables(
        "a URL for an address",
        "The variable couch2pg_login_host must be a host name or an address alone, without scheme or port",
        couch2pg_login_host="postgresql://db.example.org/cht",
    ),
    variables(
        "a word where a mapping belongs",
        "The variable couch2pg_postgres must be a mapping, and it is a text.",
        couch2pg_postgres="container",
    ),
    variables(
        "a phase that can't be begun again",
        "The variable couch2pg_restart_from must be one of dump, transfer, restore, and it is 'verify'.",
        couch2pg_restart_from="verify",
    ),
    Mistake(
        "a step of cleanup that there is not",
        "The variable couch2pg_cleanup must be one of archives, replaced_server, source_couch2pg, source_database, and it is 'archive'.",
        arguments=("-e", "couch2pg_cleanup=archive"),
        playbook="cleanup",
    ),
    variables(
        "a relative folder",
        "The variable couch2pg_staging_dir must be an absolute path",
        couch2pg_staging_dir="staging",
    ),
    variables(
        "a folder of reports that can't be made",
        "The report can't be written on the controller: ",
        couch2pg_records_dir="/dev/null/records",
    ),
]
ALONE = [
    Mistake(
        f"a role alone: {role}",
        undefined("couch2pg_staging_dir", "disk"),
        {BOTH: {"couch2pg_staging_dir": "{{ disk }}"}},
        role=role,
    )
    for role in ("dump", "rollback", "cleanup")
]
LOCAL = [*COMMAND_LINE, *GROUPS, *VARIABLES, *ALONE]


@dataclass(frozen=True)
class Outcome:
    """A run, and the files that it left."""

    run: Run
    left: list[str]

    def check(self, sentence: str) -> None:
        """It failed with this sentence first, without a traceback, and left nothing."""
        assert self.run.code, self.run.output
        assert "Traceback" not in self.run.output, self.run.output
        said = self.run.message.removeprefix("Nothing was changed. To fix first: ")
        if said:
            assert said.startswith(sentence), self.run.output
        else:
            # What Ansible says before the first play.
            assert sentence in self.run.output, self.run.output
        assert self.left == []


class Outcomes:
    """Of mistakes, each made in a folder of its own when it is first asked for."""

    def __init__(self, folder: Path, through: list[str] | None = None) -> None:
        self._folder, self._through = folder, through or []
        self._known: dict[str, Outcome] = {}

    def of(self, mistake: Mistake) -> Outcome:
        if mistake.name not in self._known:
            own = self._folder / str(len(self._known))
            own.mkdir()
            inventory = own / "inventory.json"
            inventory.write_text(json.dumps(inventory_of(mistake, own)), encoding="utf-8")
            words = [mistake.path(own), "-i", str(inventory), *mistake.arguments]
            (run,) = run_all([words], [own], self._through)
            left = sorted(path.name for path in own.rglob("*") if not path.name.startswith("inventory."))
            self._known[mistake.name] = Outcome(run, left)
        return self._known[mistake.name]


def inventory_of(mistake: Mistake, folder: Path) -> dict[str, Any]:
    names = {name for hosts in mistake.groups.values() for name in hosts}
    of_all = {
        "ansible_python_interpreter": sys.executable,
        "couch2pg_become": False,
        "couch2pg_handover": False,
        "couch2pg_state_dir": str(folder / "state"),
        "couch2pg_records_dir": str(folder / "records"),
        # Nothing listens there.
        "couch2pg_login_host": "127.0.0.1",
        "couch2pg_login_port": 1,
        **mistake.variables.get(BOTH, {}),
    }
    return {
        "all": {
            "vars": of_all,
            "hosts": {name: mistake.variables.get(name, {}) for name in names},
            "children": {group: {"hosts": {name: {} for name in hosts}} for group, hosts in mistake.groups.items()},
        }
    }


def parameters(mistakes: list[Mistake], each_time: set[str]) -> list[Any]:
    """Of ``parametrize``: those that ``make test`` makes, and the others, which are found in the same way."""
    assert each_time <= {mistake.name for mistake in mistakes}
    marks = {True: (), False: (pytest.mark.long,)}
    return [pytest.param(mistake, id=mistake.name, marks=marks[mistake.name in each_time]) for mistake in mistakes]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return Outcomes(tmp_path_factory.mktemp("local"))


EACH_TIME = {
    "the source alone",
    "a misspelt tag",
    "a tag where there is none",
    "checks to skip",
    "a task to start at",
    "an extra variable without its prefix",
    "no source",
    "a misspelt group",
    "several hosts in a group",
    "one host in both groups",
    "what an undefined variable is made of",
    "a nested value",
    "a forgotten password for sudo",
    "an undefined variable of one host",
    "a broken template",
    "a misspelt variable of a role",
    "a choice that there is not",
    "a key without its value",
    "a port that is none",
    "a rate without its unit",
    "a server in a place that there is not",
    "a relative folder",
    "a folder of reports that can't be made",
    "a role alone: dump",
}


@pytest.mark.parametrize("mistake", parameters(LOCAL, EACH_TIME))
def test_before_any_host_is_contacted(mistake: Mistake, local: Outcomes) -> None:
    of_all = {"ansible_connection": "local", **mistake.variables.get(BOTH, {})}
    outcome = local.of(replace(mistake, variables={**mistake.variables, BOTH: of_all}))
    outcome.check(mistake.sentence)
    assert "Contact the host" not in outcome.run.output


CONTACT = [
    Mistake(
        "a port without an sshd", "On old: It can't be reached by ssh (ansible_host: ", {"old": {"ansible_port": 1}}
    ),
    Mistake(
        "an unknown name",
        "On old: It can't be reached by ssh (ansible_host: old.invalid, ansible_port: 2222, ansible_user: root",
        {"old": {"ansible_host": "old.invalid"}},
    ),
    Mistake(
        "a key that the host doesn't know",
        "On old: It can't be reached by ssh (",
        {"old": {"ansible_ssh_private_key_file": "{{ inventory_dir }}/../other_key"}},
    ),
    Mistake(
        "a host with another key than before",
        "On old: It can't be reached by ssh (",
        {
            "old": {
                "ansible_ssh_common_args": "-o UserKnownHostsFile={{ inventory_dir }}/../known -o StrictHostKeyChecking=yes"
            }
        },
    ),
    Mistake(
        "a login without a shell",
        "On old: The login as nobody has no shell that runs commands (This account is currently not available). Set ansible_user",
        {"old": {"ansible_user": "nobody"}},
    ),
    variables(
        "no Python", "On old: There is no Python (/opt/no/python3): ", ansible_python_interpreter="/opt/no/python3"
    ),
    Mistake(
        "a Python that is too old",
        "On old: {inventory_dir}/../python3.6 is Python 3.6, and ansible-core ",
        {"old": {"ansible_python_interpreter": "{{ inventory_dir }}/../python3.6"}},
    ),
    Mistake(
        "no psycopg2",
        "On old: {inventory_dir}/../bare_python has no psycopg2 for root: ",
        {"old": {"ansible_python_interpreter": "{{ inventory_dir }}/../bare_python"}},
    ),
    Mistake(
        "a psycopg2 that is too old",
        "On old: {inventory_dir}/../old_psycopg2 has psycopg2 2.7.7 for root, and 2.8 or newer is needed: {inventory_dir}/../old_psycopg2 "
        "-m pip install --upgrade 'psycopg2-binary>=2.8'",
        {"old": {"ansible_python_interpreter": "{{ inventory_dir }}/../old_psycopg2"}},
    ),
    Mistake(
        "psycopg 3 alone",
        "On old: {inventory_dir}/../psycopg3 has no psycopg2 for root, and psycopg 3 does not take its place: ",
        {"old": {"ansible_python_interpreter": "{{ inventory_dir }}/../psycopg3"}},
    ),
    variables(
        "a user who is not there",
        "On old: There is no user 'nobody_knows' to become (couch2pg_become_user). Set couch2pg_become_user to one that exists, "
        "or couch2pg_become to false, to work as root.",
        couch2pg_become=True,
        couch2pg_become_user="nobody_knows",
    ),
    variables(
        "couch2pg's user who is not there",
        "On old: There is no user 'nobody_knows' to become (couch2pg_app_become_user).",
        couch2pg_handover=True,
        couch2pg_app_become=True,
        couch2pg_app_become_user="nobody_knows",
    ),
]
# They log in as the ordinary user {login}, for whom {other} is another one.
SUDO = [
    Mistake(
        "a password for sudo",
        "On old: {login} can't become {other} (couch2pg_become_user) with sudo without a password. Run again with --ask-become-pass",
    ),
    Mistake(
        "a wrong password for sudo",
        "On old: {login} can't become {other} (couch2pg_become_user) with sudo: the password was refused.",
        {"old": {"ansible_become_password": "wrong"}},
    ),
    Mistake(
        "what sudo doesn't allow",
        "On old: {login} can't become root (couch2pg_become_user) with sudo, because sudoers doesn't allow it. Have an administrator",
        {"old": {"couch2pg_become_user": "root", "ansible_become_password": PASSWORD}},
    ),
    Mistake(
        "files for another ordinary user",
        "On old: {login} becomes {other}, and Ansible can't hand its files from one ordinary user to another here. Set "
        "ansible_pipelining: true",
        {
            "old": {
                "ansible_become_password": PASSWORD,
                "ansible_pipelining": False,
                "ansible_shell_executable": "{{ inventory_dir }}/../without_acl",
            }
        },
    ),
]
# Not a mistake: what is advised for them works, and the run ends at the next thing that is wrong.
ADVISED = Mistake("a right password", "", {"old": {"ansible_become_password": PASSWORD}}, playbook="status")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture(scope="module")
def contacted(network: Network) -> Iterator[Callable[[Mistake], Outcome]]:
    """What comes of a mistake over SSH, between name spaces of the network."""
    folder = network.folder / "mistakes"
    folder.mkdir()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "other_key"))
    (folder / "known").write_text(
        f"[{network.source.address}]:2222 {(folder / 'other_key.pub').read_text()}", encoding="utf-8"
    )
    programs = {
        # What it says of its version is all that is asked of it.
        "python3.6": "echo 3.6",
        "bare_python": f'exec {PYTHON} -S "$@"',
        "old_psycopg2": f'PYTHONPATH={folder}/old exec {PYTHON} -S "$@"',
        "psycopg3": f'PYTHONPATH={folder}/three exec {PYTHON} -S "$@"',
        "without_acl": f'PATH={folder}/bin; exec /bin/sh "$@"',
    }
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    for place, package, version in (("old", "psycopg2", "2.7.7 (dt dec pq3 ext lo64)"), ("three", "psycopg", "3.2.1")):
        # What it says of its version is all that is asked of it.
        (folder / place / package).mkdir(parents=True)
        (folder / place / package / "__init__.py").write_text(f"__version__ = {version!r}\n", encoding="utf-8")
    (folder / "bin").mkdir()
    for path in [*Path("/bin").iterdir(), *Path("/usr/bin").iterdir()]:
        if path.name != "setfacl" and not (folder / "bin" / path.name).exists():
            (folder / "bin" / path.name).symlink_to(path)
    hosts = {"old": network.source.variables, "new": network.target.variables}
    quick = {"couch2pg_become": False, "ansible_ssh_args": "-o ControlMaster=no", "ansible_timeout": 20}
    user, other = network.source.user, network.target.user
    sudo = {**quick, "couch2pg_become": True, "couch2pg_become_user": other}
    ordinary = {"old": {**hosts["old"], "ansible_user": user}, "new": {**hosts["new"], "couch2pg_become": False}}
    made = Outcomes(folder, network.controller)

    def of(mistake: Mistake) -> Outcome:
        return made.of(_at(mistake, hosts, quick) if mistake in CONTACT else _at(mistake, ordinary, sudo))

    with network.target.becoming(user, PASSWORD):
        yield of


def _at(mistake: Mistake, hosts: dict[str, dict[str, Any]], common: dict[str, Any]) -> Mistake:
    """The same at these hosts."""
    of_all = mistake.variables.get(BOTH, {})
    of_hosts = {name: {**hosts[name], **common, **of_all, **mistake.variables.get(name, {})} for name in hosts}
    if hosts["new"].get("couch2pg_become") is False:
        of_hosts["new"]["couch2pg_become"] = False
    return replace(mistake, variables=of_hosts)


@pytest.mark.parametrize(
    "mistake",
    parameters(
        [*CONTACT, *SUDO],
        {"a port without an sshd", "no Python", "no psycopg2", "a user who is not there", "a wrong password for sudo"},
    ),
)
def test_at_the_first_contact(mistake: Mistake, contacted: Callable[[Mistake], Outcome], network: Network) -> None:
    outcome = contacted(mistake)
    number = re.search(r"mistakes/\d+", outcome.run.output)
    names = {
        "login": network.source.user,
        "other": network.target.user,
        "inventory_dir": f"{network.folder}/{number[0]}" if number else "",
    }
    outcome.check(mistake.sentence.format(**names))
    # Nothing ran there, and the other host was contacted as well.
    assert "ok: [new]" in outcome.run.output
    assert "ok: [old]" in outcome.run.output
    for host in (network.source, network.target):
        assert not list((host.folder / "state of migrations").iterdir())
        assert not list((host.home / ".ansible" / "tmp").iterdir())


@pytest.mark.long
def test_what_is_advised_works(contacted: Callable[[Mistake], Outcome], network: Network) -> None:
    outcome = contacted(ADVISED)
    assert "can't become" not in outcome.run.output
    # The first contact asks the user who is become for psycopg2, which the system's Python may lack. What follows is no part of it: that
    # user may not read the state folder of the other.
    passed = "PLAY [Show the migrations on the database hosts]" in outcome.run.output
    assert passed or f"has no psycopg2 for {network.target.user}" in outcome.run.output


@pytest.mark.parametrize("path", sorted(Path(ROOT, "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_every_playbook_checks_first(path: Path) -> None:
    """What is true of one is true of all, for each begins with hosts.yml, or with one that does."""
    if path.stem == "hosts":
        return
    first = next(line for line in path.read_text(encoding="utf-8").splitlines() if "import_playbook" in line)
    before = path.read_text(encoding="utf-8").split(first)[0]
    assert first.split()[-1] in ("hosts.yml", "preflight.yml")
    assert "hosts:" not in before.replace("# ", "")


@pytest.mark.parametrize(
    ("tag", "sentence"),
    [
        ("restore", "There is no archive in {folder}/staging/test: its manifest.json is missing. Run the dump first"),
        rarely("promote", "This migration has no successful verification in {folder}/state/test/jobs/verify"),
    ],
)
def test_a_phase_before_its_turn(tag: str, sentence: str, migration: Migration) -> None:
    before = migration.databases()
    assert migration.fail("--tags", tag).startswith(sentence.format(folder=migration.folder))
    assert migration.databases() == before
    assert not (migration.folder / "staging").exists()


class Moved(Migration):
    """With another host in the group of the source than the inventory had first."""

    hosts: dict[str, Any]

    def inventory(self) -> Path:
        path = super().inventory()
        content = json.loads(path.read_text(encoding="utf-8"))
        content["all"]["children"][SOURCE]["hosts"] = self.hosts
        path.write_text(json.dumps(content), encoding="utf-8")
        return path


@pytest.mark.long
def test_another_host_dumps_in_place_of_one_with_an_old_python(migration: Migration, tmp_path: Path) -> None:
    """The lines as they are printed, with the operator's own values in the places that are in capitals."""
    old = tmp_path / "python3.6"
    old.write_text("#!/bin/sh\necho 3.6\n", encoding="utf-8")
    old.chmod(0o755)
    migration.host_variables["source"] = {"ansible_python_interpreter": str(old)}
    printed = re.search(r"old-database: \{.*?\}", migration.fail(playbook="preflight"))
    assert printed
    cluster = migration.source
    line = printed[0].replace("HOST-WITH-NEWER-PYTHON", "localhost").replace("ADDRESS-OF-THIS-SERVER", cluster.host)
    moved = Moved(**vars(migration))
    moved.hosts = yaml.safe_load(line.replace("PASSWORD", cluster.password))
    # The page about it has the same lines.
    assert moved.hosts["old-database"].keys() == _documented("old-database").keys()
    moved.hosts["old-database"]["couch2pg_login_port"] = cluster.port
    moved.succeed("--tags", "dump")
    assert (migration.archive / "manifest.json").is_file()
    assert migration.record["phases"]["dump"]["host"] == "old-database"


def _documented(host: str) -> dict[str, Any]:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```yaml\n(couch2pg_source:.*?)```", page, re.DOTALL)
    of_host: dict[str, Any] = yaml.safe_load(lines)[SOURCE]["hosts"][host]
    return of_host
