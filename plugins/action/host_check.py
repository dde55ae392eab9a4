# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first contact with a host: login, Python, the users that tasks become, psycopg2 and programs, all findings together."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Mapping

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils import basic
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.release import __version__
from ansible_collections.cht.couch2pg.plugins.module_utils.common.findings import FAILURE, WARNING, Findings
from ansible_collections.cht.couch2pg.plugins.module_utils.host import contact
from ansible_collections.cht.couch2pg.plugins.module_utils.host.contact import Become, Host, Login
from ansible_collections.cht.couch2pg.plugins.module_utils.host.container_programs import is_one
from ansible_collections.cht.couch2pg.plugins.plugin_utils.other_host import connect

ROOT = "root"
REGISTERED = "host_contact"
DEFAULT_PYTHON_FLOOR = (3, 8)
AUTOMATIC = "auto"


class ActionModule(ActionBase):
    """Action plugin of M(cht.couch2pg.host_check)."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The findings of this host; or, with ``hosts``, a failure with those of all hosts."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        wrong = set(self._task.args) - {"hosts"}
        if wrong:
            return dict(result, failed=True, msg=f"Unknown options of host_check: {', '.join(sorted(wrong))}.")
        if "hosts" in self._task.args:
            return dict(result, changed=False, **self._summary(self._task.args["hosts"]))
        self._findings = Findings()
        self._examine()
        return dict(result, changed=False, ready=not self._findings.failed, findings=self._findings.as_list())

    def _summary(self, hosts: list[str]) -> dict[str, object]:
        """A failure with the failures and warnings of every host; empty when all hosts are ready."""
        found = {host: self._variables["hostvars"][host].get(REGISTERED) or {} for host in hosts}
        if all(entry.get("ready", True) for entry in found.values()):
            return {}
        by_host = {
            host: [
                finding["message"] for finding in entry.get("findings", ()) if finding["status"] in (FAILURE, WARNING)
            ]
            for host, entry in found.items()
        }
        words = " ".join(f"On {host}: {' '.join(messages)}" for host, messages in by_host.items() if messages)
        return {"failed": True, "code": "first_contact", "msg": f"Nothing was changed. To fix first: {words}"}

    def _examine(self) -> None:
        becomes = self._becomes()
        login = self._login()
        pythons = self._pythons()
        try:
            said = self._low_level_execute_command(
                contact.look_script([become.user for become in becomes], pythons), sudoable=False
            )
        except AnsibleError as error:
            contact.unreachable(self._findings, login, _message(error))
            return
        answers = contact.answers(said["stdout"])
        if answers is None:
            contact.no_shell(self._findings, login, _said(said))
            return
        host = contact.read_look(answers)
        floor = getattr(basic, "_PY_MIN", DEFAULT_PYTHON_FLOOR)
        is_source = self._is_in("run_source")
        self._runs = contact.check_python(self._findings, host, pythons, tuple(floor)[:2], __version__, is_source)
        users: dict[str, Any] = {}
        if any(not self._is_become(name) for name in self._names()):
            users[host.user] = self._connection
        for become in becomes:
            if become.user in (host.user, *users):
                users.setdefault(become.user, self._connection)
            elif contact.check_account(self._findings, host, become):
                self._become(host, become, users)
        if not self._prepares():
            self._check_use(host, users)

    def _become(self, host: Host, become: Become, users: dict[str, Any]) -> None:
        """Try to become the user with Ansible's own means; if that works, add the connection to ``users``."""
        connection = connect(
            self._variables["inventory_hostname"],
            True,
            become.user,
            self._variables,
            self._task.dump_attrs(),
            self._play_context,
            self._templar,
        )
        method = connection.become.name if connection.become else "sudo"
        try:
            answers, said = self._ask(connection, host, "")
        except AnsibleError as error:
            contact.refused_become(self._findings, host, become, method, _message(error))
            return
        if answers is None:
            contact.refused_become(self._findings, host, become, method, said)
        elif self._cannot_share(connection, host, become):
            contact.cannot_share(self._findings, host, become)
        else:
            users[become.user] = connection

    def _ask(self, connection: Any, host: Host, bin_dir: str) -> tuple[dict[str, list[str]] | None, str]:
        """Run the script as the user that ``connection`` becomes. Returns its answers (or None), and its output."""
        own, self._connection = self._connection, connection
        try:
            said = self._low_level_execute_command(contact.use_script(host.python or "python3", bin_dir))
        finally:
            self._connection = own
        return contact.answers(said["stdout"]), _said(said)

    def _cannot_share(self, connection: Any, host: Host, become: Become) -> bool:
        """Whether files that this login copies can't be read by the user, tried as Ansible does it for a module."""
        own, self._connection = self._connection, connection
        try:
            if ROOT in (host.user, become.user) or self._is_pipelining_enabled("new"):
                return False
            folder = self._make_tmp_path()
            try:
                self._fixup_perms2([folder], execute=False)  # type: ignore[no-untyped-call]
            finally:
                self._remove_tmp_path(folder, force=True)  # type: ignore[no-untyped-call]
        except AnsibleError:
            return True
        finally:
            self._connection = own
        return False

    def _check_use(self, host: Host, users: Mapping[str, Any]) -> None:
        """Check psycopg2 for every user, and the programs for the user that works with the databases."""
        bin_dir = "" if self._has_image() else str(self._value("couch2pg_bin_dir", ""))
        of_databases = self._user_of("couch2pg", "postgres", host) if self._is_in("run_databases") else None
        for user, connection in users.items():
            with suppress(AnsibleError):
                answers, _said = self._ask(connection, host, bin_dir)
                programs = self._programs() if user == of_databases else []
                if self._runs:
                    contact.check_psycopg2(self._findings, host, user, answers or {})
                contact.check_programs(self._findings, host, user, answers or {}, programs)

    def _programs(self) -> list[str]:
        """The programs that this host needs for what it does."""
        archived = self._value("couch2pg_method", "archive") == "archive"
        way = self._value("couch2pg_transfer_way", "auto")
        fetched = ["rsync"] if archived and way in ("auto", "direct") else []
        if self._has_image():
            return fetched
        if self._is_in("run_target"):
            return ["pg_restore", "pg_dump", *fetched]
        return ["pg_dump", *fetched] if self._is_in("run_source") else []

    def _has_image(self) -> bool:
        """Whether PostgreSQL's programs run from an image of this host."""
        given = str(self._value("couch2pg_bin_dir", ""))
        server = self._value("couch2pg_postgres", {}) or {}
        return is_one(given) or (not given and bool(server.get("container")))

    def _names(self) -> list[str]:
        """The prefixes of the variables that name the users to become on this host."""
        apps = self._is_in("run_apps") and boolean(self._value("couch2pg_handover", True))
        return (["couch2pg"] if self._is_in("run_databases") else []) + (["couch2pg_app"] if apps else [])

    def _prepares(self) -> bool:
        """Whether the run only installs what is missing, as root."""
        return bool(boolean(self._value("run_prepares", False)))

    def _becomes(self) -> list[Become]:
        if self._prepares():
            return [Become(ROOT, "ansible_become_method", "couch2pg_become")] if self._is_become("couch2pg") else []
        found = []
        for name in self._names():
            if self._is_become(name):
                user = str(self._value(f"{name}_become_user", "postgres" if name == "couch2pg" else ROOT))
                found.append(Become(user, f"{name}_become_user", f"{name}_become"))
        return found

    def _user_of(self, name: str, default: str, host: Host) -> str:
        return str(self._value(f"{name}_become_user", default)) if self._is_become(name) else host.user

    def _is_become(self, name: str) -> bool:
        wanted = self._value(f"{name}_become", self._value("couch2pg_become", True))
        return bool(boolean(self._value("ansible_become", wanted)))

    def _is_in(self, group: str) -> bool:
        return self._variables["inventory_hostname"] in self._variables["groups"].get(group, ())

    def _value(self, name: str, default: Any) -> Any:
        return self._templar.template(self._variables[name]) if name in self._variables else default

    def _pythons(self) -> list[str]:
        """The interpreters that Ansible would try, in its order."""
        given = str(self._value("ansible_python_interpreter", ""))
        if given and not given.startswith(AUTOMATIC):
            return [given]
        found: list[str] = constants.config.get_config_value("INTERPRETER_PYTHON_FALLBACK", variables=self._variables)
        return found

    def _login(self) -> Login:
        def option(name: str) -> str:
            with suppress(KeyError):
                return str(self._connection.get_option(name) or "")
            return ""

        name = str(self._variables["inventory_hostname"])
        host = option("host") or str(self._value("ansible_host", name))
        return Login(
            self._connection.transport, host, option("port"), option("remote_user"), option("private_key_file")
        )


def _said(result: Mapping[str, Any]) -> str:
    """Both outputs, because sudo writes its messages to the standard output when it has a terminal."""
    return f"{result['stdout']}\n{result['stderr']}"


def _message(error: AnsibleError) -> str:
    return str(getattr(error, "message", "") or error)
