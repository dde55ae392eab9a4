# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find variables with invalid values before a migration starts."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Mapping, TypedDict

from ansible.module_utils.common.text.formatters import human_to_bytes
from ansible.module_utils.common.validation import (
    check_type_bool,
    check_type_dict,
    check_type_float,
    check_type_int,
    check_type_list,
)

_TYPES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "int": (check_type_int, "a whole number"),
    "float": (check_type_float, "a number"),
    "bool": (check_type_bool, "true or false"),
    "dict": (check_type_dict, "a mapping"),
    "list": (check_type_list, "a list"),
}
# A lower limit is a mistake: "20" means 20 bytes per second.
_SMALLEST_RATE = 1000


class Variable(TypedDict, total=False):
    """A variable as docs/variables.yml describes it, or an option of a role, which has the first keys only.

    form: narrows the type, one of ``_FORMS``. empty: an empty text has a meaning.
    """

    type: str
    elements: str
    default: object
    choices: list[str]
    example: object
    form: str
    empty: bool
    minimum: float
    maximum: float


def _is_rate(text: str) -> bool:
    try:
        rate = human_to_bytes(text)
    except ValueError:
        return False
    return bool(rate == 0 or rate >= _SMALLEST_RATE)


def _is_memory(text: str) -> bool:
    """Whether the text is an amount of memory in PostgreSQL's notation."""
    return re.fullmatch(r"\d+ *(B|kB|MB|GB|TB)?", text) is not None


def _is_path(text: str) -> bool:
    """Whether the text is an absolute path; ~ is the home of the user who runs the task."""
    return text == "" or text.startswith(("/", "~", "$"))


def _is_address(text: str) -> bool:
    """Whether the text may be a host: an address of IPv6 has several colons, a name with a port has one."""
    return not re.search(r"/|\s", text) and text.count(":") != 1


_FORMS: dict[str, tuple[Callable[[str], bool], str]] = {
    "rate": (_is_rate, "0 (no limit) or bytes per second"),
    "memory": (_is_memory, "an amount of memory"),
    "path": (_is_path, "an absolute path"),
    "address": (_is_address, "a host name or an address alone, without scheme or port"),
}


def find_unfit(values: Mapping[str, Any], known: Mapping[str, Variable]) -> list[str]:
    """A sentence for each invalid value; ``known``: the content of docs/variables.yml, or the options of roles."""
    sentences = []
    for name in sorted(values):
        if "example" not in known[name] and _is_not_given(values[name], known[name]):
            continue
        if _is_empty(values[name], known[name]):
            sentences.append(f"The variable {name} has no value: give it one{_example(known[name])}, or leave it out.")
            continue
        wanted = _wanted(values[name], known[name])
        if wanted is not None:
            sentences.append(f"The variable {name} must be {wanted}, and it is {_shown(values[name], known[name])}.")
    return sentences


def _is_not_given(value: Any, known: Variable) -> bool:
    """Whether the specification of a role takes the value for an option that was left out, or for its empty value."""
    return value is None or (value == "" and known["type"] in ("str", "list"))


def _is_empty(value: Any, known: Variable) -> bool:
    """Whether there is no value where one is needed. An empty text is a value if it is the default, or has a meaning (``empty``)."""
    return value is None or (value == "" and known.get("default", "") != "" and not known.get("empty", False))


def _example(known: Variable) -> str:
    """The example of docs/variables.yml as the end of a sentence. The options of roles have none."""
    if "example" not in known:
        return ""
    is_text = known["type"] not in ("dict", "list", "bool")
    return f", such as {known['example'] if is_text else json.dumps(known['example'])}"


def _shown(value: Any, known: Variable) -> str:
    """The value for a message; only its type for dicts and lists, which may contain credentials."""
    if known["type"] not in ("dict", "list"):
        return repr(value)
    if isinstance(value, str):
        return "a text"
    return "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else "a number"


def _wanted(value: Any, known: Variable) -> str | None:
    """A description of valid values; None when the value is valid."""
    if "choices" in known:
        return None if value in known["choices"] else f"one of {', '.join(filter(None, known['choices']))}"
    form = known.get("form", known["type"])
    if form in _FORMS:
        fits, wanted = _FORMS[form]
        return None if fits(str(value)) else f"{wanted}{_example(known)}"
    return _wanted_of_type(value, known) if known["type"] in _TYPES else None


def _wanted_of_type(value: Any, known: Variable) -> str | None:
    convert, wanted = _TYPES[known["type"]]
    try:
        converted = convert(value)
    except TypeError:
        return wanted
    if "minimum" in known and converted < known["minimum"]:
        return f"{wanted} from {known['minimum']} on"
    return f"{wanted} up to {known['maximum']}" if "maximum" in known and converted > known["maximum"] else None
