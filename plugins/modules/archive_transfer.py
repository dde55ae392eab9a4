#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive that arrives on the target."""

from __future__ import annotations

DOCUMENTATION = r"""
module: archive_transfer
short_description: Transfer an archive to the target and verify every file
version_added: 0.1.0
description:
  - With O(way=direct), fetches the archive from the source with rsync over SSH, and resumes incomplete files.
  - With O(way=relay), copies the archive through the controller, over Ansible's own connections to both hosts with their bastions,
    ports, passwords and users. The hosts need not reach each other, and need no program but a shell. The bytes pass through the
    controller's memory, some megabytes at a time, and never its disk. Incomplete files are resumed, lost connections are tried again.
  - Then compares size and SHA-256 of every file with the manifest. A file that differs is fetched again completely.
  - The folder is named O(archive) with C(.partial) until the archive is verified and durable.
    An archive that was altered later is repaired the same way.
  - With O(early=true), fetches what a running dump has written, until the dump ends. The transfer afterwards resumes from that.
  - O(way=direct) needs C(rsync) and OpenSSH's client on this host, and the key of M(cht.couch2pg.transfer_key), which the source
    authorizes. The job removes both when it ends.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
  - cht.couch2pg.job
options:
  archive:
    description: Folder of the archive on this host.
    type: path
    required: true
  way:
    description: How the archive is transferred.
    type: str
    default: direct
    choices: [direct, relay]
  reason:
    description: Why this way was chosen; for the record.
    type: str
    default: ""
  source:
    description: RV(cht.couch2pg.transfer_info#module:source) of the source.
    type: dict
    required: true
  address:
    description: Address of the source as this host sees it.
    type: str
    default: ""
  port:
    description: Port of the source's sshd.
    type: int
    default: 22
  user:
    description: The user that serves the archive on the source.
    type: str
    default: ""
  host_keys:
    description: The source's host keys, from RV(cht.couch2pg.transfer_key#module:host_keys). A host with other keys is refused.
    type: list
    elements: str
    default: []
  obstacles:
    description: Reasons why the source's sshd may refuse the key; used in the error message.
    type: list
    elements: str
    default: []
  silence:
    description: Seconds without data after which the connection is opened again.
    type: int
    default: 60
  full:
    description: Whether to hash every file again, even if none has changed since the last check.
    type: bool
    default: false
  jobs:
    description: Number of files to hash in parallel.
    type: int
    default: 2
  bandwidth_limit:
    description:
      - Maximum bytes per second, such as V(20 MB); V(0) for no limit.
      - With O(way=direct), M(cht.couch2pg.job) changes it (as its C(rate_limit)) while the job runs.
    type: bytes
    default: "0"
  source_host:
    description: Inventory name of the source. Required with O(way=relay).
    type: str
    default: ""
  source_become:
    description: Whether to become another user on the source, with O(way=relay).
    type: bool
    default: false
  source_become_user:
    description: The user to become on the source.
    type: str
    default: ""
  early:
    description:
      - Fetch the files of tables while the dump writes them, into O(archive) with C(.early), with O(way=direct) and a key for the folder
        of the incomplete archive on the source. Nothing is verified, and it is no failure when nothing can be fetched.
      - Set C(job_wait) to 0, because the dump must run meanwhile.
    type: bool
    default: false
  missing_only:
    description: Only return which bytes are missing here. The action plugin sets it, with O(way=relay).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Fetch the archive
  cht.couch2pg.archive_transfer:
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    source: "{{ there.source }}"
    address: old.example.org
    user: "{{ authorized.user }}"
    host_keys: "{{ authorized.host_keys }}"
    bandwidth_limit: 20 MB

- name: Carry it through the controller
  cht.couch2pg.archive_transfer:
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    way: relay
    source: "{{ there.source }}"
    source_host: old.example.org
    source_become: true
    source_become_user: postgres
"""

RETURN = r"""
archive:
  description: Folder of the archive.
  returned: when the transfer is done
  type: str
  sample: /srv/staging/cht-2026
bytes:
  description: Bytes of all its files.
  returned: when the transfer is done
  type: int
  sample: 430000000
files:
  description: Number of its files.
  returned: when the transfer is done
  type: int
  sample: 31
manifest_sha256:
  description: SHA-256 of its manifest.
  returned: when the transfer is done
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
way:
  description: How the archive was transferred.
  returned: when the transfer is done
  type: str
  sample: direct
reason:
  description: Why this way was chosen.
  returned: when the transfer is done
  type: str
  sample: the target reaches the source's sshd
seconds:
  description: Time of the job that completed it, in seconds.
  returned: when the transfer is done
  type: float
  sample: 61.5
received_bytes:
  description: Bytes that rsync received, including its protocol.
  returned: when the transfer is done
  type: int
  sample: 430001234
resumed_bytes:
  description: Bytes of an earlier attempt that were kept.
  returned: when the transfer is done
  type: int
  sample: 0
refetched:
  description: Files that were fetched again because their content differed.
  returned: when the transfer is done
  type: list
  elements: str
  sample: []
job:
  description: The job behind this result; see M(cht.couch2pg.pg_dump).
  returned: success
  type: dict
  sample: {status: done, started: true, folder: /var/lib/postgresql/couch2pg-migration/cht-2026/jobs/transfer}
"""

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import run_job
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import fail, make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import JOB_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.limits import Limits
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import early, relay
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import job as transfer_job

OPTIONS: dict[str, Option] = {
    "archive": {"type": "path", "required": True},
    "way": {"type": "str", "default": "direct", "choices": list(transfer_job.WAYS)},
    "reason": {"type": "str", "default": ""},
    "source": {"type": "dict", "required": True},
    "address": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 22},
    "user": {"type": "str", "default": ""},
    "host_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "obstacles": {"type": "list", "elements": "str", "default": []},
    "silence": {"type": "int", "default": 60},
    "full": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 2},
    "bandwidth_limit": {"type": "bytes", "default": "0"},
    "source_host": {"type": "str", "default": ""},
    "source_become": {"type": "bool", "default": False},
    "source_become_user": {"type": "str", "default": ""},
    "early": {"type": "bool", "default": False},
    "missing_only": {"type": "bool", "default": False},
}


def main() -> None:
    """Entry point."""
    module = make_module(JOB_OPTIONS, OPTIONS, required_if=[["way", "relay", ["source_host"]]])
    options = module.params
    if options["missing_only"]:
        run(module, lambda: dict(relay.missing(options), changed=False))
    if module.check_mode and "manifest_sha256" not in options["source"]:
        module.exit_json(changed=True, msg="The archive has to be dumped first.")
    limits = Limits(rate_limit=options["bandwidth_limit"])
    if options["early"]:
        run_job(module, early.job_spec(options, limits), lambda _result: False)
    try:
        spec = transfer_job.job_spec(options, limits)
    except MigrationError as error:
        fail(module, error)
    run_job(
        module,
        spec,
        lambda result: transfer_job.still_valid(options, result),
        lambda: {"before": "", "after": f"archive: {options['archive']}\n"},
    )


if __name__ == "__main__":
    main()
