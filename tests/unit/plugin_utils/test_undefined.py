# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that use what is not defined, found wherever they are in a value."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import AnsibleVaultError
from ansible.template import Templar
from ansible_collections.cht.couch2pg.plugins.plugin_utils.undefined import evaluate

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19, every text is a template

    def trust_as_template(value: str) -> str:
        return value


def trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: trusted(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [trusted(inner) for inner in value]
    return trust_as_template(value) if isinstance(value, str) else value


def found(**variables: Any) -> tuple[dict[str, Any], list[str]]:
    variables = trusted(variables)
    templar = Templar(loader=DataLoader(), variables=variables)
    ours = {name: value for name, value in variables.items() if name.startswith("couch2pg_")}
    return evaluate(ours, templar.template)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"couch2pg_ssl_mode": "{{ tls }}"},
            "The variable couch2pg_ssl_mode uses tls, which is not defined: define it",
        ),
        (
            {"couch2pg_ssl_mode": "{{ a }}", "a": "{{ b }}"},
            "The variable couch2pg_ssl_mode uses b, which is not defined",
        ),
        (
            {"couch2pg_app": {"unit": "{{ u }}"}},
            "The variable couch2pg_app.unit uses u, which is not defined: define it, or correct couch2pg_app.",
        ),
        ({"couch2pg_x": ["a", "{{ u }}.yml"]}, "The variable couch2pg_x[1] uses u, which is not defined"),
        (
            {"couch2pg_x": "{{ d.port }}", "d": {"host": 1}},
            "The variable couch2pg_x uses port of a variable that has no such entry",
        ),
        ({"couch2pg_x": "{{ open"}, "The variable couch2pg_x can't be evaluated"),
        ({"couch2pg_password": "secret {{ open"}, "The variable couch2pg_password can't be evaluated. Correct it."),
    ],
)
def test_it_is_named(variables: dict[str, Any], sentence: str) -> None:
    values, (said,) = found(**variables)
    assert said.startswith(sentence)
    assert not values
    assert "secret" not in said


def test_what_is_defined_is_evaluated() -> None:
    values, sentences = found(
        couch2pg_a="{{ b }}", b=5, couch2pg_c={"d": ["{{ b }}", True, None]}, couch2pg_e="{{ f | default('g') }}"
    )
    assert sentences == []
    assert values == {"couch2pg_a": 5, "couch2pg_c": {"d": [5, True, None]}, "couch2pg_e": "g"}


def test_a_vault_without_its_password() -> None:
    def template(_text: Any) -> Any:
        raise AnsibleVaultError("Attempting to decrypt but no vault secrets found.")

    _values, (said,) = evaluate({"couch2pg_login_password": object()}, template)
    assert re.match("The variable couch2pg_login_password can't be decrypted: run again with --ask-vault-pass", said)
