#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack couch2pg on one host, and install it from that bundle on another."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_bundle
short_description: Pack couch2pg without its settings, or install it from such a bundle
version_added: 0.1.0
description:
  - With O(state=packed), packs couch2pg's deployment on this host into C(<state_dir>/<migration_id>/couch2pg-bundle.tar.gz) (0600).
    The deployment is only read.
  - With O(state=installed), installs what such a bundle contains in the same places on this host. Existing files that differ are
    refused before anything is changed, and nothing is overwritten or started.
  - A bundle of a systemd unit contains its file and drop-ins, the application's folder with C(node_modules), and the Node.js program,
    unless that belongs to a package of the distribution. A bundle of a Compose project contains its compose files and the name of the
    image. A bundle of V(env_file) contains the application's folder.
  - A bundle contains no settings, since M(cht.couch2pg.couch2pg_settings) writes them on the other host. C(Environment=) lines,
    environment files, C(.env), logs and C(.git) are left out. A unit or compose file with a password of the settings is refused.
  - For a systemd unit, the installation also creates its user and groups when they are missing, and empty environment files (0600) when
    the unit needs them to start. systemd is reloaded; the unit is neither enabled nor started. For Compose, no image is pulled.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.deployment
  - cht.couch2pg.migration
options:
  state:
    description: Whether to pack couch2pg from this host, or to install it on this host.
    type: str
    default: packed
    choices: [packed, installed]
  bundle:
    description:
      - With O(state=installed), the bundle on this host.
      - The default is C(<state_dir>/<migration_id>/couch2pg-bundle.tar.gz).
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Pack couch2pg on its host
  cht.couch2pg.couch2pg_bundle:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    deployment:
      kind: systemd
      unit: couch2pg
      app_dir: /opt/couch2pg

- name: Install it on another host, where the bundle has arrived
  cht.couch2pg.couch2pg_bundle:
    state: installed
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
bundle:
  description: The bundle.
  returned: with O(state=packed)
  type: str
  sample: /root/couch2pg-migration/cht-2026/couch2pg-bundle.tar.gz
bytes:
  description: Its size; in check mode, the size it would have.
  returned: with O(state=packed)
  type: int
  sample: 12582912
sha256:
  description: Its SHA-256. Equal deployments have equal bundles.
  returned: with O(state=packed)
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
count:
  description: Number of files of the application and of Node.js in the bundle.
  returned: with O(state=packed)
  type: int
  sample: 2310
contents:
  description: The description in the bundle, without the texts of files.
  returned: with O(state=packed)
  type: dict
  sample: {kind: systemd, unit: couch2pg.service, app_dir: /opt/couch2pg, node: /usr/bin/node, node_version: 12.22.12, user: couch2pg}
left_out:
  description: Files of the application's folder that are not in the bundle, such as settings and logs.
  returned: with O(state=packed)
  type: list
  elements: str
  sample: [/opt/couch2pg/couch2pg.env]
files:
  description: The files and folders that the module created, or would create in check mode.
  returned: with O(state=installed)
  type: list
  elements: str
  sample: [/etc/systemd/system/couch2pg.service, /opt/couch2pg]
accounts:
  description: The users and groups that the module created, or would create in check mode.
  returned: with O(state=installed)
  type: list
  elements: str
  sample: [couch2pg]
deployment:
  description: The deployment on this host, for the same option of other modules.
  returned: with O(state=installed)
  type: dict
  sample: {kind: systemd, unit: couch2pg, app_dir: /opt/couch2pg, log: {kind: journald, unit: couch2pg}}
image:
  description: The image that Docker needs; empty without Compose.
  returned: with O(state=installed)
  type: str
  sample: ""
ready:
  description: Whether this host has the programs that couch2pg needs to start.
  returned: with O(state=installed)
  type: bool
  sample: true
problems:
  description: What the other host will lack, or what this host lacks, each with what to do.
  returned: success
  type: list
  elements: str
  sample: []
"""

from pathlib import Path
from typing import Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import DEPLOYMENT_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import bundle as deployment_bundle
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import discovery, install, pack
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import expand, make_private_folder

PACKED = "packed"
INSTALLED = "installed"
OPTIONS: dict[str, Option] = {
    "state": {"type": "str", "default": PACKED, "choices": [PACKED, INSTALLED]},
    "bundle": {"type": "path", "default": ""},
}


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, MIGRATION_OPTIONS, OPTIONS)
    own = migration_state(module) / deployment_bundle.NAME
    if module.params["state"] == PACKED:
        run(module, lambda: _pack(module, own))
    given = module.params["bundle"]
    run(module, lambda: _install(module, expand(given) if given else own))


def _pack(module: AnsibleModule, path: Path) -> Mapping[str, object]:
    deployment = discovery.find(module.params["deployment"])
    found = discovery.read(deployment)
    packed = pack.look(deployment.as_found(found), found)
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
        "count": written.files,
        "contents": {**contents, "files": sorted(packed.description.texts)},
        "left_out": packed.left_out,
        "problems": packed.problems,
        "diff": {"before": f"{before}\n" if before else "", "after": f"{written.sha256}\n"},
    }


def _install(module: AnsibleModule, path: Path) -> Mapping[str, object]:
    planned = install.plan(path, module.params["deployment"])
    predicted = {
        "changed": planned.needed,
        "files": planned.made(),
        "accounts": [command[-1] for command in planned.accounts],
        "deployment": planned.deployment.as_dict(),
        "image": planned.description.image,
        "diff": {"before": "", "after": "".join(f"{name}\n" for name in planned.made())},
    }
    if module.check_mode and planned.needed:
        return {**predicted, "ready": True, "problems": []}
    if planned.needed:
        install.apply(planned, module.params["migration_id"])
    lacking = install.missing_programs(planned.description)
    return {**predicted, "ready": not lacking, "problems": [*lacking, *install.problems(planned.description)]}


if __name__ == "__main__":
    main()
