# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which password, and whether to become somebody, on a host that isn't the task's own."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.template import Templar
from ansible_collections.cht.couch2pg.plugins.plugin_utils.other_host import connect


def reach(its: dict[str, Any], **variables: Any) -> Any:
    """A connection for a task whose play has these passwords, typed or from its own host's variables."""
    play = PlayContext(passwords={"conn_pass": "login", "become_pass": "become"})
    context = {"hostvars": {"source": its}, **variables}
    return connect("source", True, "postgres", context, {"become_method": "sudo"}, play, Templar(DataLoader()))


def test_what_was_typed_counts_for_both_hosts() -> None:
    connection = reach({"ansible_timeout": "77"})
    assert connection.get_option("password") == "login"
    assert connection.become.get_option("become_pass") == "become"
    assert connection.become.get_option("become_user") == "postgres"
    assert connection.get_option("timeout") == 77


@pytest.mark.parametrize("own", [{}, {"ansible_password": "own login", "ansible_become_password": "own"}])
def test_the_password_of_one_host_is_not_sent_to_the_other(own: dict[str, str]) -> None:
    connection = reach(own, ansible_password="login", ansible_become_pass="become")
    assert connection.get_option("password") == own.get("ansible_password")
    assert connection.become.get_option("become_pass") == own.get("ansible_become_password")
    assert not connection._play_context.password  # noqa: SLF001 - the plugin falls back on it


def test_a_host_may_need_nobody_else() -> None:
    assert reach({"ansible_become": "false"}).become is None
