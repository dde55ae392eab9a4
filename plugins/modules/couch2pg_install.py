#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg on a host that has none, as it is on the source."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_install
short_description: Install couch2pg from the bundle of another host
version_added: 0.1.0
description:
  - Makes of a bundle of M(cht.couch2pg.couch2pg_bundle) what couch2pg consists of on its host, in the same places. Its settings are
    then written by M(cht.couch2pg.couch2pg_settings).
  - For a systemd unit these are its file and drop-ins, its application's folder, its user and groups where they are missing, and its
    Node.js where the bundle brings it. Environment files that the unit can't be started without are made empty (0600). systemd
    reads its files again; the unit is neither enabled nor started.
  - For Compose these are the compose files. Nothing is pulled.
  - Whatever is there already and isn't the same is refused, before anything is changed. Nothing is written over.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.deployment
  - cht.couch2pg.migration
options:
  bundle:
    description:
      - The bundle on this host.
      - C(<state_dir>/<migration_id>/couch2pg-bundle.tar.gz) by default.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Install couch2pg as on the source
  cht.couch2pg.couch2pg_install:
    migration_id: cht-2026
    state_dir: ~/couch2pg
"""

RETURN = r"""
files:
  description: The files and folders that were made, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/systemd/system/couch2pg.service, /opt/couch2pg]
accounts:
  description: The users and groups that were made, or would be.
  returned: success
  type: list
  elements: str
  sample: [couch2pg]
deployment:
  description: The deployment as it is here from now on, for the same option of other modules.
  returned: success
  type: dict
  sample: {kind: systemd, unit: couch2pg, app_dir: /opt/couch2pg, log: {kind: journald, unit: couch2pg}}
image:
  description: The image that must be here, or where Docker can get it from; empty without Compose.
  returned: success
  type: str
  sample: ""
ready:
  description: Whether the programs are here without which it can't be started.
  returned: success
  type: bool
  sample: true
problems:
  description: What is missing or different here, each with what to do.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import DEPLOYMENT_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import bundle as deployment_bundle
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import install as deployment_install
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import expand

OPTIONS: dict[str, Any] = {"bundle": {"type": "path", "default": ""}}


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    path = expand(options["bundle"]) if options["bundle"] else migration_state(module) / deployment_bundle.NAME

    def work() -> dict[str, Any]:
        planned = deployment_install.plan(path, options["deployment"])
        foreseen = {
            "changed": planned.needed,
            "files": planned.made(),
            "accounts": [command[-1] for command in planned.accounts],
            "deployment": planned.deployment.as_dict(),
            "image": planned.description.image,
            "diff": {"before": "", "after": "".join(f"{name}\n" for name in planned.made())},
        }
        if module.check_mode and planned.needed:
            return {**foreseen, "ready": True, "problems": []}
        if planned.needed:
            deployment_install.apply(planned, options["migration_id"])
        lacking = deployment_install.missing_programs(planned.description)
        problems = [*lacking, *deployment_install.problems(planned.description)]
        return {**foreseen, "ready": not lacking, "problems": problems}

    run(module, work)


if __name__ == "__main__":
    main()
