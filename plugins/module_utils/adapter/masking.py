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
_WORD = re.compile(r"[a-z][a-z_.-]*[0-9]{0,4}[a-z_.-]*")
# Options with a name or a path. Connection parameters, commands and URLs are neither.
_NAME_OR_PATH = re.compile(r"[~/]\S*|[\w.-]+")
# Words of the commands and paths that results contain.
_FIXED = ("cht.couch2pg.migrate", "inventory.yml", "ansible-playbook", "couch2pg_restart_from", "/var/lib/postgresql")
# A value under such a key is no name.
_SECRET_KEY = re.compile("pass|secret|token|key|url", re.IGNORECASE)
# The secrets that are names, which Ansible does not mask any more.
_UNMASKED: set[str] = set()


def with_names(module: AnsibleModule, result: Mapping[str, Any]) -> dict[str, Any]:
    """The result for ``exit_json`` or ``fail_json``. Secrets that are also names are masked in the module's options only.

    It may be called again with the result that is then made.
    """
    secrets = set(module.no_log_values) | _UNMASKED
    options = [text for text in _texts(module.params) if text not in secrets and _NAME_OR_PATH.fullmatch(text)]
    found = list(_texts(result))
    _UNMASKED.update(
        secret
        for secret in secrets
        if _WORD.fullmatch(secret)
        and (any(secret in text for text in (*_FIXED, *options)) or any(_is_name(secret, text) for text in found))
    )
    if not _UNMASKED:
        return dict(result)
    module.no_log_values = secrets - _UNMASKED
    return dict(result, invocation={"module_args": remove_values(module.params, secrets)})


def _is_name(secret: str, text: str) -> bool:
    """Whether ``text``, a value of the result, is a name or a path with ``secret``, and no sentence."""
    return text == secret or (text.startswith("/") and secret in text)


def _texts(value: Any) -> Iterator[str]:
    """The keys and values in ``value``, without the values of secrets."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key in value:
            yield from _texts(key)
            if not (isinstance(key, str) and _SECRET_KEY.search(key)):
                yield from _texts(value[key])
    elif isinstance(value, (list, tuple, set)):
        for entry in value:
            yield from _texts(entry)
