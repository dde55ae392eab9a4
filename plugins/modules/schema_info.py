#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of a database without rows."""

from __future__ import annotations

DOCUMENTATION = r"""
module: schema_info
short_description: Read the schema of a database without rows
version_added: 0.1.0
description:
  - Dumps the schema alone, for M(cht.couch2pg.preflight) to try on the target before any row is moved.
  - The result may hold passwords, for example those of user mappings. Set C(no_log) for the task.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
  - cht.couch2pg.programs
  - cht.couch2pg.leave_out
"""

EXAMPLES = r"""
- name: Read the source's schema
  cht.couch2pg.schema_info:
    database: cht
  register: schema
  no_log: true
"""

RETURN = r"""
archive:
  description: The schema as a custom archive of C(pg_dump), in base64.
  returned: success
  type: str
  sample: UEdETVAB
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import connection_settings, make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    CONNECTION_OPTIONS,
    LEAVE_OUT_OPTIONS,
    PROGRAM_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.leave_out import LeaveOut
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import schema_archive


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, PROGRAM_OPTIONS, LEAVE_OUT_OPTIONS)
    settings = connection_settings(module)
    leaving = LeaveOut.of(module.params["leave_out"])

    def work() -> dict[str, Any]:
        return {"changed": False, "archive": schema_archive.dump(settings, module.params["bin_dir"], leaving)}

    run(module, work)


if __name__ == "__main__":
    main()
