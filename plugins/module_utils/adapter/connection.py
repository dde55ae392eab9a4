# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect a module with CONNECTION_OPTIONS to its server. Apart from module.py, so that other modules ship no code for PostgreSQL."""

from __future__ import annotations

import sys

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..common.errors import MigrationError
from ..host.packages import PSYCOPG2_SINCE
from ..postgres import container_server
from ..postgres.connection import ConnectionSettings
from ..postgres.session import PSYCOPG2_IMPORT_ERROR, psycopg2_version
from .module import fail


def require_psycopg2(module: AnsibleModule) -> None:
    """Fail the module when psycopg2 is missing or too old."""
    if PSYCOPG2_IMPORT_ERROR is not None:
        module.fail_json(
            msg=f"{missing_required_lib('psycopg2')} On Debian, Ubuntu and Red Hat the package is python3-psycopg2; "
            "ansible-playbook cht.couch2pg.prepare -i inventory.yml installs it.",
            code="psycopg2_missing",
            exception=PSYCOPG2_IMPORT_ERROR,
        )
    if psycopg2_version() < PSYCOPG2_SINCE:
        needed, found = (".".join(map(str, version)) for version in (PSYCOPG2_SINCE, psycopg2_version()))
        module.fail_json(
            msg=f"psycopg2 on this host is version {found}; {needed} or later is needed. Install it for the Python that Ansible uses: "
            f"{sys.executable} -m pip install --upgrade 'psycopg2-binary>={needed}'",
            code="psycopg2_old",
        )


def connection_settings(module: AnsibleModule) -> ConnectionSettings:
    """The connection settings from CONNECTION_OPTIONS, completed by those of ``login_container``.

    Also completes ``bin_dir`` in the module's parameters. Fails the module when psycopg2 is missing, or the container unreachable.
    """
    require_psycopg2(module)
    try:
        module.params.update(container_server.effective(module.params))
        if module.params["login_password"]:
            # It may have come from the container.
            module.no_log_values.add(module.params["login_password"])
        return ConnectionSettings.from_options(module.params)
    except MigrationError as error:
        fail(module, error)
