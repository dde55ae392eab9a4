# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep Ansible from masking names in a result, where a password is also a name. Private to this collection.

Ansible replaces a module's passwords wherever they occur in its result. With the password ``couch2pg``, the role couch2pg and the path
/srv/couch2pg would be masked, and later tasks would work with wrong names. A reader who knows the text also learns the password from
the masked word.
"""

from __future__ import annotations

import re
from typing import Any, Iterator, Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values

# What may be a name. Other passwords stay masked even where a value of the result is equal to them.
_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]*[0-9]{0,4}[A-Za-z_.-]*")
# Words of the commands and paths that results contain.
_FIXED = (
    "ansible-playbook cht.couch2pg.migrate -i inventory.yml -e couch2pg_restart_from=restore",
    "/var/lib/postgresql",
)


def with_names(module: AnsibleModule, result: dict[str, Any]) -> dict[str, Any]:
    """The result for ``exit_json`` or ``fail_json``. Secrets that are names, too, are masked in the module's options only."""
    known = [*_FIXED, *_texts({name: value for name, value in module.params.items() if name != "schema"})]
    secrets = set(module.no_log_values)
    known = [text for text in known if text not in secrets]
    found = list(_texts(result))
    names = {
        secret
        for secret in secrets
        if _WORD.fullmatch(secret)
        and (any(secret in text for text in known) or any(_is_name(secret, text) for text in found))
    }
    if not names:
        return result
    module.no_log_values = secrets - names
    return dict(result, invocation={"module_args": remove_values(module.params, secrets)})


def _is_name(secret: str, text: str) -> bool:
    """Whether ``text``, a value of the result, is a name or a path with ``secret``, and no sentence."""
    return text == secret or (text.startswith("/") and secret in text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key in value:
            yield from _texts(key)
            yield from _texts(value[key])
    elif isinstance(value, (list, tuple, set)):
        for entry in value:
            yield from _texts(entry)
