# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that reads couch2pg's log."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.log)."""

    DOCUMENTATION = r"""
options:
  log:
    description: Where couch2pg's log is on the managed host.
    type: dict
    required: true
    suboptions:
      kind:
        description: Where the log is, in systemd's journal, the output of a container or of a Compose service, or a file.
        type: str
        required: true
        choices: [journald, docker, compose, file]
      unit:
        description: The systemd unit. Required for V(journald).
        type: str
      journal_dir:
        description: Folder of the journal, for V(journald), when it isn't the host's own.
        type: path
      container:
        description: Name or id of the container. Required for V(docker).
        type: str
      project_dir:
        description: Folder of the Compose project. Required for V(compose).
        type: path
      service:
        description: The service in the Compose project, for V(compose).
        type: str
        default: cht-couch2pg
      compose_files:
        description: Its compose files, for V(compose), when Compose doesn't find them by their names.
        type: list
        elements: str
      env_files:
        description: The files for Compose's option C(--env-file), for V(compose), when it isn't the project's C(.env).
        type: list
        elements: str
      path:
        description: The file. Required for V(file).
        type: path
  since:
    description: A position of the same log, from M(cht.couch2pg.couch2pg_log_info). Only later lines are read.
    type: dict
"""
