#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start or stop couch2pg."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_service
short_description: Start or stop couch2pg, or return its process
version_added: 0.1.0
description:
  - Starts and stops couch2pg by systemd, Docker Compose, or the operator's own commands.
  - Started means that couch2pg runs with the present settings of its deployment. A process with other settings is restarted, and a
    container with other settings is recreated.
  - A disabled systemd unit is enabled, so that couch2pg also starts when the host boots.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.deployment
options:
  state:
    description: The state to bring couch2pg to. Without it, nothing is changed.
    type: str
    choices: [started, stopped]
  disabled:
    description:
      - With O(state=stopped), whether to keep couch2pg from starting when the host boots. The systemd unit is disabled, a container's
        restart policy becomes V(no).
      - O(state=started) reverses that.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Stop couch2pg while its database is restored
  cht.couch2pg.couch2pg_service:
    state: stopped

- name: Stop couch2pg for good
  cht.couch2pg.couch2pg_service:
    state: stopped
    disabled: true

- name: Start couch2pg by commands of our own
  cht.couch2pg.couch2pg_service:
    state: started
    deployment:
      kind: env_file
      env_file: /opt/couch2pg/couch2pg.env
      start_command: [/opt/couch2pg/start]
      stop_command: [/opt/couch2pg/stop]
      status_command: [pgrep, -u, couch2pg, node]
"""

RETURN = r"""
found:
  description: Whether this host has a couch2pg.
  returned: success
  type: bool
  sample: true
running:
  description: Whether couch2pg runs; in check mode, whether it would run.
  returned: success
  type: bool
  sample: true
starts_itself:
  description: Whether couch2pg starts when the host boots, as far as the deployment shows that.
  returned: success
  type: bool
  sample: true
process:
  description:
    - The running process, with C(pid), C(started_at), C(restarts) (automatic ones, by systemd or Docker) and C(container). A value
      that the deployment doesn't show is null.
    - Equal values describe the same process.
  returned: success
  type: dict
  sample: {kind: systemd, running: true, pid: 4711, started_at: "123456789", restarts: 0, container: null}
deployment:
  description: The deployment as found, for the same option of other modules.
  returned: success
  type: dict
  sample: {kind: systemd, unit: couch2pg, log: {kind: journald, unit: couch2pg}}
"""

from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import DEPLOYMENT_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import boot as deployment_boot
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import discovery
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import service as deployment_service
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.kinds import NONE
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.process_identity import identity

OPTIONS: dict[str, Option] = {
    "state": {"type": "str", "choices": list(deployment_service.STATES)},
    "disabled": {"type": "bool", "default": False},
}


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, OPTIONS)
    if module.params["disabled"] and module.params["state"] != deployment_service.STOPPED:
        module.fail_json(msg="disabled goes with state: stopped only.", code="options")
    state = module.params["state"]

    def work() -> Mapping[str, object]:
        deployment = discovery.find(module.params["deployment"])
        before = identity(deployment)
        to_bring = bool(state) and deployment_service.needed(deployment, state)
        to_prevent = module.params["disabled"] and deployment_boot.starts_itself(deployment)
        if to_bring and not module.check_mode:
            deployment_service.bring(deployment, state)
        if to_prevent and not module.check_mode:
            deployment_boot.prevent(deployment)
        process = identity(deployment)
        starts_itself = deployment_boot.starts_itself(deployment)
        predicted = state == deployment_service.STARTED if state else process["running"]
        return {
            "changed": to_bring or to_prevent,
            "found": deployment.kind != NONE,
            "running": predicted,
            "starts_itself": starts_itself,
            "process": process,
            "deployment": deployment.as_dict(),
            "diff": {
                "before": f"running: {before['running']}\n" + ("starts with the host\n" if to_prevent else ""),
                "after": f"running: {predicted}\n",
            },
        }

    run(module, work)


if __name__ == "__main__":
    main()
