#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What couch2pg's log tells."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_log_info
short_description: Tell what couch2pg's log says
version_added: 0.1.0
description:
  - Reads couch2pg's log from journald, Docker, Docker Compose or a file, from the beginning or an earlier position on.
  - Every line is classified. Runs, changes, starts of the process and errors are counted, and every error comes with what to do.
  - What is shown of a line bears no credentials and nothing of a patient.
  - A log without errors proves nothing. After a failed refresh and a restart, couch2pg skips the refresh and logs C(Run completed).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.log
options:
  secrets:
    description: Passwords that could stand in the log. They are masked wherever they do, however they are encoded.
    type: list
    elements: str
    default: []
  position_only:
    description: Only take the position at the end of the log, before couch2pg is started; nothing is read.
    type: bool
    default: false
  last_lines:
    description: How many of the last lines are returned; those of stack traces don't count.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Remember where the log ends
  cht.couch2pg.couch2pg_log_info:
    log:
      kind: journald
      unit: couch2pg
    position_only: true
  register: before

- name: Start couch2pg
  ansible.builtin.service:
    name: couch2pg
    state: started

- name: Wait for a complete run
  cht.couch2pg.couch2pg_log_info:
    log:
      kind: journald
      unit: couch2pg
    since: "{{ before.position }}"
  register: log
  until: log.summary.runs_completed > 0 or log.summary.exits > 0
  retries: 60
  delay: 30
"""

RETURN = r"""
position:
  description: Behind the last line that was read; give it as O(since) to go on from there.
  returned: success
  type: dict
  sample: {kind: file, path: /var/log/couch2pg.log, inode: 1234, offset: 56789, before: 0f1e2d3c4b5a6978}
notices:
  description: What may be missing, such as the older part of a log that was rotated.
  returned: success
  type: list
  elements: str
  sample: []
summary:
  description: What the log tells; null with O(position_only).
  returned: success
  type: dict
  contains:
    lines:
      description: How many lines were read.
      type: int
      returned: success
    kinds:
      description: How many there are of each kind.
      type: dict
      returned: success
    unknown:
      description: How many lines are of no known kind.
      type: int
      returned: success
    unknown_samples:
      description: A few of them.
      type: list
      elements: str
      returned: success
    starts:
      description: Starts of the process that the lines show; more than one since it was started is a restart loop.
      type: int
      returned: success
    exits:
      description: Ends of the process that the lines show.
      type: int
      returned: success
    restart_counter:
      description: systemd's own count of restarts, from its last message.
      type: int
      returned: success
    runs_started:
      description: Runs that began.
      type: int
      returned: success
    runs_completed:
      description: Runs that couch2pg called completed.
      type: int
      returned: success
    runs_errored:
      description: Runs that couch2pg called errored.
      type: int
      returned: success
    runs:
      description: The last 20 runs, each with its start and end, outcome, changes, and whether it began a refresh.
      type: list
      elements: dict
      returned: success
    changes:
      description: Changes of all runs together.
      type: int
      returned: success
    refreshes:
      description: Refreshes of the materialized views that were begun.
      type: int
      returned: success
    refresh_in_doubt:
      description: Whether a refresh failed and none was begun since.
      type: bool
      returned: success
    errors:
      description: Errors by kind, each with its first line, count, meaning, remedy, what it is about, and its first and last time.
      type: list
      elements: dict
      returned: success
    last_completed:
      description: When the last completed run ended; empty without one.
      type: str
      returned: success
    next_run:
      description: When couch2pg said that it would run again.
      type: str
      returned: success
    last_lines:
      description: The last lines, redacted.
      type: list
      elements: str
      returned: success
  sample: {lines: 40, starts: 1, exits: 0, runs_completed: 1, changes: 12, errors: []}
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import LOG_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.redaction import Redactor
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.reader import summarise
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.source import open_source

OPTIONS: dict[str, Any] = {
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "position_only": {"type": "bool", "default": False},
    "last_lines": {"type": "int", "default": 10},
}


def main() -> None:
    """Entry point."""
    module = make_module(LOG_OPTIONS, OPTIONS)
    options = module.params

    def work() -> dict[str, Any]:
        source = open_source(options["log"])
        if options["position_only"]:
            return {"changed": False, "position": source.position(), "notices": source.notices, "summary": None}
        lines = source.lines(options["since"])
        summary = summarise(lines, Redactor(options["secrets"]), max(0, options["last_lines"]))
        return {
            "changed": False,
            "position": source.after,
            "notices": source.notices,
            "summary": summary.as_dict(),
        }

    run(module, work)


if __name__ == "__main__":
    main()
