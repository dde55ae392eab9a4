# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A password stays masked in a module's result, unless it is a name that the result contains as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

MODULE = """
import json, os
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.masking import with_names

secret, text = {"type": "str", "no_log": True}, {"type": "str"}
options = {"login_password": secret, "staging_dir": text, "database": text, "connect_params": {"type": "dict"}}
module = AnsibleModule(argument_spec=options)
for result in json.loads(os.environ["RESULTS"]):
    ended = with_names(module, result)
module.exit_json(**ended)
"""
CONNECTION = {"connect_params": {"options": "-c search_path=sommer"}}
HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def ended(password: str, *results: dict[str, Any]) -> dict[str, Any]:
    """What Ansible gets of the last result, without the options."""
    # Ansible shows all options of a module, too, before 2.21 always.
    shown = {"_ansible_inject_invocation": True}
    arguments = {"login_password": password, "staging_dir": "/srv/staging", "database": "cht", **CONNECTION, **shown}
    done = subprocess.run(
        [sys.executable, "-c", MODULE],
        env={**os.environ, "RESULTS": json.dumps(results)},
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    options = found.pop("invocation")["module_args"]
    assert options["login_password"] == HIDDEN
    return found


@pytest.mark.parametrize(
    ("password", "result"),
    [
        # A word of an option, of a command or of a usual path.
        ("staging", {"archive": "/srv/staging/cht"}),
        ("cht", {"msg": "There is no database 'cht'."}),
        ("couch2pg", {"msg": "Run ansible-playbook cht.couch2pg.prepare -i inventory.yml"}),
        ("postgres", {"data_directory": "/var/lib/postgresql/16/main"}),
        # A value or a key of the result, also far inside.
        ("superset", {"facts": {"owners": [{"name": "superset"}]}, "msg": "The role superset is missing."}),
        ("superset", {"roles": {"superset": ["reads"]}}),
        ("ops", {"path": "/home/ops/archives"}),
    ],
)
def test_a_name_is_a_name(password: str, result: dict[str, Any]) -> None:
    assert ended(password, result) == result


@pytest.mark.parametrize(
    ("password", "result", "shown"),
    [
        # Only connection parameters contain it.
        ("sommer", {"msg": "sommer is wrong"}, {"msg": "******** is wrong"}),
        # No value of the result is that name.
        ("superset", {"msg": "The password superset is wrong."}, {"msg": "The password ******** is wrong."}),
        # The value of a secret is no name, and neither are capitals and most digits.
        ("sommer", {"password": "sommer", "said": "sommer!"}, {"password": HIDDEN, "said": "********!"}),
        ("Winter2024", {"value": "Winter2024"}, {"value": HIDDEN}),
        ("x7Kp2-9qR", {"value": "x7Kp2-9qR"}, {"value": HIDDEN}),
        ("deadbeef12cafe34", {"path": "/srv/deadbeef12cafe34"}, {"path": "/srv/********"}),
        ("two words", {"value": "two words"}, {"value": HIDDEN}),
    ],
)
def test_any_other_password_is_masked(password: str, result: dict[str, Any], shown: dict[str, Any]) -> None:
    assert ended(password, result) == shown


@pytest.mark.parametrize("password", ["postgres", "superset"])
def test_a_second_result_does_not_show_the_password_either(password: str) -> None:
    """As where the record can't be written after the work."""
    failed = {"msg": "No space is left on the device."}
    assert ended(password, {"owner": password}, failed) == failed
