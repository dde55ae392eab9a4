# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A value that can't work is refused before hours are spent on finding out; docs/variables.yml says what can."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cht.couch2pg.plugins.plugin_utils.misspelt import role_options
from ansible_collections.cht.couch2pg.plugins.plugin_utils.unfit import find_unfit

ROLES = Path(__file__).parents[3] / "roles"
KNOWN: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[3] / "docs" / "variables.yml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("couch2pg_jobs", "many", "a whole number"),
        ("couch2pg_jobs", -3, "a whole number from 1 on"),
        ("couch2pg_nice", 99, "a whole number up to 19"),
        ("couch2pg_io_class", "turbo", "one of none, best-effort, idle"),
        ("couch2pg_ssl_mode", True, "one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("couch2pg_rate_limit", "fast", "0 (no limit) or bytes per second, such as 40 MB"),
        # Twenty bytes per second: nobody means that.
        ("couch2pg_bandwidth_limit", 20, "0 (no limit) or bytes per second, such as 20 MB"),
        ("couch2pg_maintenance_work_mem", "lots", "an amount of memory, such as 2GB"),
        ("couch2pg_replace_existing", "perhaps", "true or false"),
        ("couch2pg_health_timeout", "soon", "a number"),
        ("couch2pg_staging_dir", "archives", "an absolute path, such as /srv/staging"),
        ("couch2pg_records_dir", "./records", "an absolute path, such as /home/me/records"),
    ],
)
def test_a_value_that_can_not_work_is_refused_with_what_can(name: str, value: Any, wanted: str) -> None:
    assert find_unfit({name: value, "couch2pg_database": "cht"}, KNOWN) == [
        f"The variable {name} must be {wanted}, and it is {value!r}."
    ]


@pytest.mark.parametrize(
    ("name", "value", "example"),
    [
        ("couch2pg_database", "", "cht"),
        ("couch2pg_staging_dir", "", "/srv/staging"),
        ("couch2pg_jobs", None, "4"),
        ("couch2pg_ca_cert", None, "/etc/ssl/postgres-ca.pem"),
        ("couch2pg_app", None, '{"kind": "compose", "project_dir": "/opt/couch2pg"}'),
    ],
)
def test_no_value_where_one_is_needed(name: str, value: Any, example: str) -> None:
    sentence = f"The variable {name} has no value: give it one, such as {example}, or leave it out."
    assert find_unfit({name: value}, KNOWN) == [sentence]


def test_an_empty_value_means_the_default_where_the_roles_say_so() -> None:
    defaults = [path.read_text(encoding="utf-8") for path in ROLES.glob("*/defaults/main.yml")]
    said = {found for text in defaults for found in re.findall(r"(couch2pg_\w+) \| default\(''\)", text)}
    texts = {name for name in said if KNOWN[name]["type"] in ("str", "path")}
    assert texts == {name for name in texts if KNOWN[name]["default"] == "" or KNOWN[name].get("empty")}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("couch2pg_klipfolio", "kf-0123456789", "must be a mapping, and it is a text."),
        ("couch2pg_dashboard_passwords", ["secret"], "must be a mapping, and it is a list."),
        ("couch2pg_cutover_steps", {"http": {"headers": "secret"}}, "must be a list, and it is a mapping."),
    ],
)
def test_what_may_hold_credentials_is_not_shown(name: str, value: Any, sentence: str) -> None:
    assert find_unfit({name: value}, KNOWN) == [f"The variable {name} {sentence}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("couch2pg_jobs", "4"),
        ("couch2pg_state_dir", "~/couch2pg-migration"),
        ("couch2pg_ca_cert", ""),
        ("couch2pg_rate_limit", 0),
        ("couch2pg_rate_limit", "10MB"),
        ("couch2pg_maintenance_work_mem", 65536),
        ("couch2pg_replace_existing", "yes"),
        ("couch2pg_transfer_user", ""),
    ],
)
def test_what_works_is_left_alone(name: str, value: Any) -> None:
    assert find_unfit({name: value}, KNOWN) == []


def test_every_example_is_one_that_works() -> None:
    examples = {name: known["example"] for name, known in KNOWN.items()}
    assert find_unfit({name: value for name, value in examples.items() if "{{" not in str(value)}, KNOWN) == []


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("verify_jobs", "many", "must be a whole number, and it is 'many'."),
        ("dump_format", "zip", "must be one of directory, custom, tar, and it is 'zip'."),
        ("restore_role_map", "x", "must be a mapping, and it is a text."),
        ("refresh_jobs", "", "has no value: give it one, or leave it out."),
        ("refresh_jobs", None, None),
        ("dump_compression", "", None),
        ("cleanup_hosts", "", None),
        ("promote_login_host", "", None),
        ("verify_accept_differences", ["public.t"], None),
    ],
)
def test_a_variable_of_a_role_has_the_types_and_choices_of_its_spec(
    name: str, value: Any, sentence: str | None
) -> None:
    role = name.split("_", maxsplit=1)[0]
    path = ROLES / role / "meta" / "argument_specs.yml"
    options = role_options(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert find_unfit({name: value}, options) == ([f"The variable {name} {sentence}"] if sentence else [])
