# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find variables whose value uses something that is not defined. Where they are used, a ``default()`` would silently replace them."""

from __future__ import annotations

import re
from typing import Any, Callable, Iterator, Mapping, Sequence

_NAME = re.compile(r"'([A-Za-z_]\w*)' is undefined")
_ATTRIBUTE = re.compile(r"has no (?:attribute|element) '?([^'\s]+)'?")
_SECRET = re.compile(r"pass|secret|key|token|vault", re.IGNORECASE)
_VAULT = re.compile(r"decrypt", re.IGNORECASE)

Template = Callable[[Any], Any]


def evaluate(values: Mapping[str, Any], template: Template) -> tuple[dict[str, Any], list[str]]:
    """The values of the variables, and a sentence for each part of one that can't be evaluated; such a variable is left out.

    template: evaluates one text, and raises when that is not possible.
    """
    evaluated: dict[str, Any] = {}
    sentences: list[str] = []
    for name in sorted(values):
        found: list[str] = []
        value = _evaluate(name, values[name], template, found)
        if found:
            sentences += found
        else:
            evaluated[name] = value
    return evaluated, sentences


def _evaluate(place: str, value: Any, template: Template, sentences: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _evaluate(f"{place}.{key}", value[key], template, sentences) for key in _keys(value)}
    if isinstance(value, (list, tuple)):
        return [_evaluate(f"{place}[{number}]", value[number], template, sentences) for number in range(len(value))]
    if value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and "{" not in value):
        return value
    try:
        evaluated = template(value)
        # An encrypted value is decrypted only when it is used, so use it here.
        return evaluated if isinstance(evaluated, (Mapping, Sequence)) else _used(evaluated)
    except Exception as error:  # noqa: BLE001 - a template may fail in any way, and the operator learns which variable it is in
        sentences.append(_sentence(place, str(getattr(error, "message", "") or error)))
        return None


def _keys(value: Mapping[str, Any]) -> Iterator[str]:
    return iter(sorted(value, key=str))


def _used(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _sentence(place: str, said: str) -> str:
    name, attribute = _NAME.search(said), _ATTRIBUTE.search(said)
    variable = re.split(r"[.\[]", place)[0]
    if name:
        return f"The variable {place} uses {name.group(1)}, which is not defined: define it, or correct {variable}."
    if attribute:
        entry = attribute.group(1)
        return f"The variable {place} uses {entry} of a variable that has no such entry: add it, or correct {variable}."
    if _VAULT.search(said):
        return f"The variable {place} can't be decrypted: run again with --ask-vault-pass, or with the right --vault-password-file."
    # The text of a template may hold a secret.
    reason = "" if _SECRET.search(place) else f": {said.strip().splitlines()[0].rstrip('.')}"
    return f"The variable {place} can't be evaluated{reason}. Correct it."
