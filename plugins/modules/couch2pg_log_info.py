#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and classify couch2pg's log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_log_info
short_description: Read and classify couch2pg's log
version_added: 0.1.0
description:
  - Reads couch2pg's log from journald, Docker, Docker Compose or a file, from its start or from an earlier position.
  - Classifies every line. Counts runs, changes, starts of the process and errors, and returns a remedy for each error.
  - Returned lines contain no credentials and no data of patients.
  - A log without errors doesn't show that couch2pg is healthy. After a failed refresh and a restart, couch2pg skips the refresh and
    logs C(Run completed).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.log
options:
  secrets:
    description: Passwords that the log may contain. The module masks them in every encoding.
    type: list
    elements: str
    default: []
  position_only:
    description: Whether to return only the position at the end of the log. Taken before couch2pg is started, it is the O(since) after that.
    type: bool
    default: false
  last_lines:
    description: How many of the last lines to return, without lines of stack traces.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Note where the log ends
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
  description: The position after the last line that was read. Pass it as O(since) to continue from there.
  returned: success
  type: dict
  sample: {kind: file, path: /var/log/couch2pg.log, inode: 1234, offset: 56789, before: 0f1e2d3c4b5a6978}
notices:
  description: What the result may lack, such as the older part of a log that was rotated.
  returned: success
  type: list
  elements: str
  sample: []
summary:
  description: The summary of the log; null with O(position_only).
  returned: success
  type: dict
  contains:
    lines:
      description: How many lines were read.
      type: int
      returned: success
    kinds:
      description: How many lines there are of each kind.
      type: dict
      returned: success
    unknown:
      description: How many lines are of no known kind.
      type: int
      returned: success
    unknown_samples:
      description: Some of these lines.
      type: list
      elements: str
      returned: success
    starts:
      description: Starts of the process in the log. More than one since couch2pg was started means that it was restarted.
      type: int
      returned: success
    exits:
      description: Ends of the process in the log.
      type: int
      returned: success
    restart_counter:
      description: systemd's count of restarts, from its last message.
      type: int
      returned: success
    runs_started:
      description: Runs that started.
      type: int
      returned: success
    runs_completed:
      description: Runs that couch2pg logged as completed.
      type: int
      returned: success
    runs_errored:
      description: Runs that couch2pg logged as errored.
      type: int
      returned: success
    runs:
      description: The last 20 runs, each with its start and end, outcome, changes, and whether it started a refresh.
      type: list
      elements: dict
      returned: success
    changes:
      description: Changes of all runs together.
      type: int
      returned: success
    refreshes:
      description: Refreshes of the materialized views that started.
      type: int
      returned: success
    refresh_in_doubt:
      description: Whether a refresh failed and no other started since.
      type: bool
      returned: success
    errors:
      description:
        - Errors by kind, each with its first line, count, meaning, remedy, the objects it names, and its first and last time.
        - In a remedy, words in capitals stand for what the log doesn't name. C(COUCH2PG) and C(DATABASE) are couch2pg's role and
          database, C(HOST) and C(PORT) the address of PostgreSQL, C(COUCHDB) and C(USER) the server and the user in C(COUCHDB_URL).
          M(cht.couch2pg.couch2pg_health) knows them.
      type: list
      elements: dict
      returned: success
    last_completed:
      description: When the last completed run ended; empty without one.
      type: str
      returned: success
    next_run:
      description: The time of the next run that couch2pg logged.
      type: str
      returned: success
    last_lines:
      description: The last lines, redacted.
      type: list
      elements: str
      returned: success
  sample: {lines: 40, starts: 1, exits: 0, runs_completed: 1, changes: 12, errors: []}
"""

from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import LOG_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.redaction import Redactor
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.reader import summarise
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.source import open_source

OPTIONS: dict[str, Option] = {
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "position_only": {"type": "bool", "default": False},
    "last_lines": {"type": "int", "default": 10},
}


def main() -> None:
    """Entry point."""
    module = make_module(LOG_OPTIONS, OPTIONS)
    options = module.params

    def work() -> Mapping[str, object]:
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
