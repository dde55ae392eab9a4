# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a connection to another host than the task's, as Ansible does for a delegated task."""

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
    """Create a connection to ``host`` with the host's variables; ``keys``: the task's keywords, ``play``: its play context."""
    if host not in variables["hostvars"]:
        raise AnsibleError(f"The host {host} is not in the inventory. Check couch2pg_transfer_source_host.")
    its = variables["hostvars"][host]
    context = play.copy()
    context.remote_addr = its.get("ansible_host", host)
    context.port = context.remote_user = None
    transport = its.get("ansible_connection") or constants.config.get_config_value("DEFAULT_TRANSPORT")
    connection = connection_loader.get(transport, context, task_uuid=None, ansible_playbook_pid=None)
    # These keywords of the task are for the task's own host.
    keys = {name: value for name, value in keys.items() if name not in ("retries", "timeout", "port", "remote_user")}
    keys.update(become=become, become_user=become_user)
    # A password that was entered for all hosts (-k, -K) applies here too, but not one from the variables of the task's host.
    for name, variable in (("password", _PASSWORDS), ("become_pass", _BECOME_PASSWORDS)):
        if any(word in variables for word in variable):
            setattr(context, name, None)
        elif getattr(play, name):
            keys[name] = getattr(play, name)
    # The plugin doesn't read ansible_timeout itself; Ansible passes it as a keyword.
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
    # Plugins expect this key.
    options["_extras"] = {}
    plugin.set_options(task_keys=keys, var_options=options)
