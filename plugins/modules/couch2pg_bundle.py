#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg from where it runs, as a file, to install the same elsewhere."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_bundle
short_description: Pack couch2pg, without its settings, to install the same on another host
version_added: 0.1.0
description:
  - Packs what couch2pg's deployment on this host consists of, for M(cht.couch2pg.couch2pg_install) on another one. The deployment is
    only read; the bundle is C(<state_dir>/<migration_id>/couch2pg-bundle.tar.gz) (0600).
  - Of a systemd unit these are its file and drop-ins, the folder of its application with C(node_modules), and the Node.js program
    unless it is a distribution's. Of a Compose project these are its compose files, and the image's name. Of V(env_file) it is the
    application's folder.
  - Settings stay where they are, since M(cht.couch2pg.couch2pg_settings) writes them anew. C(Environment=) lines, environment files,
    C(.env), logs and C(.git) are not packed, and a unit or compose file that has a password of the settings elsewhere is refused.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.deployment
  - cht.couch2pg.migration
"""

EXAMPLES = r"""
- name: Pack the couch2pg of this host
  cht.couch2pg.couch2pg_bundle:
    migration_id: cht-2026
    state_dir: ~/couch2pg
    deployment:
      kind: systemd
      unit: couch2pg
      app_dir: /opt/couch2pg
"""

RETURN = r"""
bundle:
  description: The bundle.
  returned: success
  type: str
  sample: /root/couch2pg/cht-2026/couch2pg-bundle.tar.gz
bytes:
  description: Its size; in check mode, what it would be.
  returned: success
  type: int
  sample: 12582912
sha256:
  description: Its SHA-256. The same couch2pg has the same.
  returned: success
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
files:
  description: How many files of the application and of Node.js are in it.
  returned: success
  type: int
  sample: 2310
contents:
  description: What it is, without the texts of its files.
  returned: success
  type: dict
  sample: {kind: systemd, unit: couch2pg.service, app_dir: /opt/couch2pg, node: /usr/bin/node, node_version: 12.22.12, user: couch2pg}
left_out:
  description: What of the application's folder stays on this host, such as settings and logs.
  returned: success
  type: list
  elements: str
  sample: [/opt/couch2pg/couch2pg.env]
problems:
  description: What will be missing on the other host, each with what to do.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import DEPLOYMENT_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import bundle as deployment_bundle
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import discovery
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import pack as deployment_pack
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import make_private_folder


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, MIGRATION_OPTIONS)
    path = migration_state(module) / deployment_bundle.NAME

    def work() -> dict[str, Any]:
        deployment = discovery.find(module.params["deployment"])
        found = discovery.read(deployment)
        packed = deployment_pack.look(deployment.as_found(found), found)
        before = deployment_bundle.sha256(path)
        if module.check_mode:
            written = deployment_bundle.write(None, packed.description, packed.skip, packed.node)
        else:
            make_private_folder(path.parent)
            written = deployment_bundle.save(path, packed.description, packed.skip, packed.node)
        contents = {name: value for name, value in vars(packed.description).items() if name != "texts"}
        return {
            "changed": before != written.sha256,
            "bundle": str(path),
            "bytes": written.size,
            "sha256": written.sha256,
            "files": written.files,
            "contents": {**contents, "files": sorted(packed.description.texts)},
            "left_out": packed.left_out,
            "problems": packed.problems,
            "diff": {"before": f"{before}\n" if before else "", "after": f"{written.sha256}\n"},
        }

    run(module, work)


if __name__ == "__main__":
    main()
