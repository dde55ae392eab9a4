#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of a cutover that is the operator's own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cutover_step
short_description: Point something else at the target, and back
version_added: 0.1.0
description:
  - Does one step of a cutover for a program that this collection doesn't know, by a file, a command or an HTTP request, and undoes it.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
options:
  name:
    description: What the step is called.
    type: str
    required: true
  side:
    description: Where it shall lead.
    type: str
    default: target
    choices: [target, source]
  known:
    description: Where it leads as far as is remembered, for a step that has no C(check).
    type: str
    default: source
    choices: [target, source]
  migration_id:
    description: Name of the migration; it goes into the name of the copy that is kept of a file.
    type: str
    required: true
  file:
    description:
      - A file that says where the database is.
      - What it was is kept beside it, as C(<path>.before-<migration_id>), until it is put back.
    type: dict
    suboptions:
      path:
        description: The file. It must be there; its mode and owner stay.
        type: path
        required: true
      content:
        description: What it holds when it leads to the target.
        type: str
        required: true
      then:
        description: A command that is run after each change, such as one that makes the program read the file.
        type: list
        elements: str
  command:
    description: Commands, each as a list of words; no shell is involved. They must not harm when they are run twice.
    type: dict
    suboptions:
      to:
        description: Leads to the target.
        type: list
        elements: str
        required: true
      back:
        description: Leads back to the source.
        type: list
        elements: str
        required: true
      check:
        description: Ends with 0 when it leads to the target, with something else when not. It changes nothing.
        type: list
        elements: str
  http:
    description: HTTP requests. They must not harm when they are made twice.
    type: dict
    suboptions:
      to:
        description: Leads to the target.
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
            description: Headers, which may bear credentials.
            type: dict
          body:
            description: Body, as JSON text unless the headers say otherwise.
            type: str
      back:
        description: Leads back to the source.
        type: dict
        required: true
        suboptions: *request
      check:
        description: A GET whose answer tells where it leads.
        type: dict
        suboptions:
          url:
            description: Address.
            type: str
            required: true
          headers:
            description: Headers, which may bear credentials.
            type: dict
          contains:
            description: A text that is in the answer when it leads to the target.
            type: str
            required: true
      ca_cert:
        description: File on the step's host with the certificates, in PEM format, that prove the server's; the system's when left out.
        type: path
  secrets:
    description: What must not be shown when a file changes, or when a command or a server says it.
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
  description: Its name when it was, or would be, changed.
  returned: success
  type: list
  elements: str
  sample: [grafana]
packed:
  description: What was changed, to be remembered.
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
