#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of a cutover that the operator defines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cutover_step
short_description: Point another program at the target, or back at the source
version_added: 0.1.0
description:
  - Does, or reverses, one step of a cutover for a program that this collection doesn't know, by a file, a command or an HTTP request.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
options:
  name:
    description: Name of the step.
    type: str
    required: true
  side:
    description: The side that the program shall use.
    type: str
    default: target
    choices: [target, source]
  known:
    description: The side that the program uses according to the stored way back, for a step without C(check).
    type: str
    default: source
    choices: [target, source]
  migration_id:
    description: Name of the migration, which is a part of the name of a file's copy.
    type: str
    required: true
  file:
    description:
      - A file that names the database.
      - A copy of the old file stays beside it, as C(<path>.before-<migration_id>), until it is put back.
    type: dict
    suboptions:
      path:
        description: The file. It must exist; its mode and owner stay.
        type: path
        required: true
      content:
        description: Its content for the target.
        type: str
        required: true
      then:
        description: A command to run after each change, such as one that reloads the program.
        type: list
        elements: str
  command:
    description: Commands, each as a list of words, which run without a shell. Running one twice must be harmless.
    type: dict
    suboptions:
      to:
        description: Points the program at the target.
        type: list
        elements: str
        required: true
      back:
        description: Points the program back at the source.
        type: list
        elements: str
        required: true
      check:
        description: Ends with 0 when the program uses the target, with another code when not. It must change nothing.
        type: list
        elements: str
  http:
    description: HTTP requests. Sending one twice must be harmless.
    type: dict
    suboptions:
      to:
        description: Points the program at the target.
        type: dict
        required: true
        suboptions: &request
          url:
            description: Address.
            type: str
            required: true
          method:
            description: Method.
            type: str
            default: POST
          headers:
            description: Headers, which may contain credentials.
            type: dict
          body:
            description: Body, as JSON text unless the headers say otherwise.
            type: str
      back:
        description: Points the program back at the source.
        type: dict
        required: true
        suboptions: *request
      check:
        description: A GET request whose answer shows which side the program uses.
        type: dict
        suboptions:
          url:
            description: Address.
            type: str
            required: true
          headers:
            description: Headers, which may contain credentials.
            type: dict
          contains:
            description: A text that the answer contains when the program uses the target.
            type: str
            required: true
      ca_cert:
        description: File on the step's host with the trusted certificates in PEM format; the default is the system's.
        type: path
  secrets:
    description: Texts to mask in diffs, and in the output of commands and servers.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Point Grafana at the new server
  cht.couch2pg.cutover_step:
    name: grafana
    migration_id: cht-2026
    file:
      path: /etc/grafana/provisioning/datasources/cht.yml
      content: "{{ lookup('ansible.builtin.template', 'grafana.yml.j2') }}"
      then: [systemctl, restart, grafana-server]
"""

RETURN = r"""
moved:
  description: The name of the step when the module changed it, or would change it in check mode.
  returned: success
  type: list
  elements: str
  sample: [grafana]
packed:
  description: What was changed, for the way back in M(cht.couch2pg.record).
  returned: success
  type: str
  sample: W10=
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import changes as cutover_changes
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import steps as cutover_steps

_WORDS: dict[str, Any] = {"type": "list", "elements": "str"}
_NEEDED_WORDS: dict[str, Any] = dict(_WORDS, required=True)
_REQUEST: dict[str, Any] = {
    "type": "dict",
    "required": True,
    "options": {
        "url": {"type": "str", "required": True},
        "method": {"type": "str", "default": "POST"},
        "headers": {"type": "dict", "no_log": True},
        "body": {"type": "str", "no_log": True},
    },
}
OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "side": {"type": "str", "default": "target", "choices": ["target", "source"]},
    "known": {"type": "str", "default": "source", "choices": ["target", "source"]},
    "migration_id": {"type": "str", "required": True},
    "file": {
        "type": "dict",
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True, "no_log": True},
            "then": _WORDS,
        },
    },
    "command": {"type": "dict", "options": {"to": _NEEDED_WORDS, "back": _NEEDED_WORDS, "check": _WORDS}},
    "http": {
        "type": "dict",
        "options": {
            "to": _REQUEST,
            "back": _REQUEST,
            "check": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "headers": {"type": "dict", "no_log": True},
                    "contains": {"type": "str", "required": True},
                },
            },
            "ca_cert": {"type": "path"},
        },
    },
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
}
KINDS = ["file", "command", "http"]


def main() -> None:
    """Entry point."""
    module = make_module(OPTIONS, mutually_exclusive=[KINDS], required_one_of=[KINDS])
    options = module.params
    side = options["side"]

    def work() -> dict[str, Any]:
        step = cutover_steps.make(options, options["migration_id"], options["known"], options["secrets"])
        needed = step.needs(side)
        result = {
            "changed": needed,
            "moved": [step.name] if needed else [],
            "packed": cutover_changes.pack([step.change()] if needed else []),
            "diff": step.diff(side) if needed else {},
        }
        if needed and not module.check_mode:
            step.move(side)
        return result

    run(module, work)


if __name__ == "__main__":
    main()
