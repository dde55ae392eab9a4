# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that describes how couch2pg is deployed on the managed host."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.deployment)."""

    DOCUMENTATION = r"""
options:
  deployment:
    description: How couch2pg is deployed on the managed host.
    type: dict
    default: {}
    suboptions:
      kind:
        description:
          - What starts couch2pg, and so contains its settings.
          - V(auto) looks for a systemd unit named C(couch2pg) or C(cht-couch2pg), then for a container of an image with C(couch2pg)
            in its name. Without either it is V(none).
        type: str
        default: auto
        choices: [auto, systemd, compose, env_file, none]
      unit:
        description: The systemd unit, C(couch2pg) by default.
        type: str
      env_file:
        description: The file with the settings that a shell reads before it starts couch2pg. Required for V(env_file).
        type: path
      project_dir:
        description: Folder of the Compose project. Required for V(compose), unless a module only reads O(deployment.container).
        type: path
      service:
        description: The service in the Compose project, C(cht-couch2pg) or the one whose image has C(couch2pg) in its name by default.
        type: str
      compose_files:
        description: The compose files, when Compose doesn't find them by their names.
        type: list
        elements: str
      env_files:
        description: The files for Compose's option C(--env-file), when it isn't the project's C(.env).
        type: list
        elements: str
      container:
        description: couch2pg's container, when the service has several.
        type: str
      app_dir:
        description: Folder with couch2pg's C(node_modules), when the unit doesn't show it.
        type: path
      node:
        description: The Node.js program that runs couch2pg, when neither the unit nor the image shows it.
        type: path
      start_command:
        description: The operator's own command that starts couch2pg, for V(env_file); it must return within a minute.
        type: list
        elements: str
      stop_command:
        description: The operator's own command that stops couch2pg, for V(env_file).
        type: list
        elements: str
      status_command:
        description:
          - A command that ends with code 0 while couch2pg runs, for V(env_file).
          - Best is one that prints the number of its process, such as C(pgrep -u couch2pg -f index.js), which also shows a restart.
        type: list
        elements: str
      log:
        description:
          - Where couch2pg's log is, when it is neither the unit's journal nor the output of its container.
          - Required for V(env_file) on the host where couch2pg will run.
        type: dict
        suboptions:
          kind:
            description: Where the log is, in systemd's journal, the output of a container or of a Compose service, or a file.
            type: str
            required: true
            choices: [journald, docker, compose, file]
          unit:
            description: The systemd unit, for V(journald).
            type: str
          journal_dir:
            description: Folder of the journal, for V(journald), when it isn't the host's own.
            type: path
          container:
            description: Name or id of the container, for V(docker).
            type: str
          project_dir:
            description: Folder of the Compose project, for V(compose).
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
            description: The file, for V(file).
            type: path
"""
