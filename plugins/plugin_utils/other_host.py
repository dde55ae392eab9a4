# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to another host than the task's, as Ansible would make it for a task that is delegated there."""

from __future__ import annotations

from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.loader import become_loader, connection_loader

_PASSWORDS = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
_BECOME_PASSWORDS = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass", "ansible_su_pass")


def connect(
    host: str, become: bool, become_user: str, variables: dict[str, Any], keys: dict[str, Any], play: Any, templar: Any
) -> Any:
    """A connection to ``host`` with its own variables; ``keys`` are the task's keywords, ``play`` its context."""
    if host not in variables["hostvars"]:
        raise AnsibleError(f"The host {host} is not in the inventory. Check transfer_source_host.")
    its = variables["hostvars"][host]
    context = play.copy()
    context.remote_addr = its.get("ansible_host", host)
    context.port = context.remote_user = None
    transport = its.get("ansible_connection") or constants.config.get_config_value("DEFAULT_TRANSPORT")
    connection = connection_loader.get(transport, context, task_uuid=None, ansible_playbook_pid=None)
    # The task's keywords are those for its own host.
    keys = {name: value for name, value in keys.items() if name not in ("retries", "timeout", "port", "remote_user")}
    keys.update(become=become, become_user=become_user)
    # What was typed for all hosts (-k, -K) counts here, too; a password from the task's own host's variables stays there.
    for name, variable in (("password", _PASSWORDS), ("become_pass", _BECOME_PASSWORDS)):
        if any(word in variables for word in variable):
            setattr(context, name, None)
        elif getattr(play, name):
            keys[name] = getattr(play, name)
    # The plugin has no such variable: Ansible hands it on.
    if "ansible_timeout" in its:
        keys["timeout"] = int(its["ansible_timeout"])
    wanted = its.get("ansible_become")
    if become if wanted is None else boolean(wanted):
        method = (
            its.get("ansible_become_method")
            or keys.get("become_method")
            or constants.config.get_config_value("DEFAULT_BECOME_METHOD")
        )
        connection.set_become_plugin(become_loader.get(method))
        _configure("become", connection.become, its, keys, templar)
    _configure("connection", connection, its, keys, templar)
    _configure("shell", connection._shell, its, keys, templar)  # noqa: SLF001 - it has no other name
    return connection


def _configure(kind: str, plugin: Any, variables: Any, keys: dict[str, Any], templar: Any) -> None:
    names = constants.config.get_plugin_vars(kind, plugin._load_name)  # noqa: SLF001 - it has no other name
    options = {name: templar.template(variables[name]) for name in names if name in variables}
    # A name that plugins look up themselves.
    options["_extras"] = {}
    plugin.set_options(task_keys=keys, var_options=options)
