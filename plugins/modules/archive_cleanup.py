#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archive and job folders of a migration go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: archive_cleanup
short_description: Remove the archive and the job folders of a migration from a host, or older dumps
version_added: 0.1.0
description:
  - Removes the files that the archive's manifest lists, then the manifest, then empty folders. Then removes the files of this
    migration's jobs, which have known names, and its files with couch2pg's settings,
    which contain credentials.
  - Files that don't exist are not an error.
  - Other files are kept and listed, and so are files of the archive whose size differs from the manifest. The record is kept.
  - With O(keep), removes older dumps instead, for example after a nightly dump. No database is contacted.
  - With O(phase), discards the result of that phase instead, so that the next run starts it from the beginning.
  - Fails if a job of this migration is running on this host, or if the archive isn't the one that this migration created.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  archive:
    description: Folder of the archive; empty if there is none on this host.
    type: path
    default: ""
  manifest_sha256:
    description: SHA-256 of its manifest, from the record. Without it, any archive of this migration is removed.
    type: str
  half_done:
    description: Also remove the incomplete archive beside it, of an interrupted dump or transfer of this migration.
    type: bool
    default: false
  jobs:
    description: Also remove the files of the migration's jobs.
    type: bool
    default: true
  replaced_server:
    description:
      - Remove only the data directory that the target's server had before a promotion with the method physical. After that, a rollback
        is not possible.
    type: bool
    default: false
  keep:
    description:
      - Number of dumps to keep, this migration's own included. Instead of this migration's own archive, older dumps of the same database
        and server are removed from O(staging_dir), with their state in O(state_dir).
      - Only dumps outside of a migration are removed. An archive of a migration stays, and so does a dump with an unknown file.
      - What a failed or killed dump left is removed when it is older than the archives that stay. Its incomplete archive is removed at
        once.
    type: int
  phase:
    description:
      - Only discard what this phase did on this host, that is its jobs, and the archive in O(archive) if this phase created it.
        Another archive in the same place is renamed and kept.
      - V(dump) removes the archive on the source. V(transfer) removes an archive on the target that is not the one that was dumped.
    type: str
    choices: [dump, transfer]
  staging_dir:
    description: Folder on the managed host for archives; needed with O(keep).
    type: path
  database:
    description: Name of the dumped database; needed with O(keep).
    type: str
"""

EXAMPLES = r"""
- name: Remove the archive from this host
  cht.couch2pg.archive_cleanup:
    archive: /srv/staging/cht-2026
    manifest_sha256: "{{ proof.permission.manifest_sha256 }}"
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration

- name: Keep the last three dumps of cht
  cht.couch2pg.archive_cleanup:
    keep: 3
    database: cht
    staging_dir: /srv/dumps
    migration_id: cht-2026-11-28
    state_dir: ~/couch2pg-migration

- name: Dump again from the beginning
  cht.couch2pg.archive_cleanup:
    phase: dump
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration

- name: Remove the archive of an abandoned rehearsal
  cht.couch2pg.archive_cleanup:
    archive: /srv/staging/cht_rehearsal_20261126T010500
    half_done: true
    jobs: false
    migration_id: cht_rehearsal_20261126T010500
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
files:
  description: Files that were removed.
  returned: without O(phase)
  type: int
  sample: 29
bytes:
  description: Bytes of the removed files.
  returned: success
  type: int
  sample: 8720000
dumps:
  description: Names of the dumps that were removed.
  returned: with O(keep)
  type: list
  elements: str
  sample: [cht-2026-11-25]
left:
  description: Unknown files, which were kept.
  returned: without O(phase)
  type: list
  elements: str
  sample: []
kept_as:
  description: The new name of an archive that this phase did not create; null if there was none.
  returned: with O(phase)
  type: str
  sample: /srv/staging/cht-2026.kept_20261128T150102
"""

from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import removal, replaced_server, restart, retention
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import expand

OPTIONS: dict[str, Option] = {
    "archive": {"type": "path", "default": ""},
    "manifest_sha256": {"type": "str"},
    "half_done": {"type": "bool", "default": False},
    "jobs": {"type": "bool", "default": True},
    "replaced_server": {"type": "bool", "default": False},
    "keep": {"type": "int"},
    "phase": {"type": "str", "choices": ["dump", "transfer"]},
    "staging_dir": {"type": "path"},
    "database": {"type": "str"},
}


def main() -> None:
    """Entry point."""
    module = make_module(
        MIGRATION_OPTIONS,
        OPTIONS,
        required_together=[("keep", "staging_dir", "database")],
        mutually_exclusive=[("keep", "manifest_sha256"), ("keep", "phase")],
    )
    options = module.params
    if options["keep"] is not None and (options["keep"] < 1 or options["archive"]):
        module.fail_json(msg="keep must be 1 or more, and does not go with archive.", code="options")
    if options["phase"] and not options["archive"]:
        module.fail_json(msg="phase needs archive, the folder of the phase's archive.", code="options")
    archive = expand(options["archive"]) if options["archive"] else None
    state, write = migration_state(module), not module.check_mode

    def work() -> Mapping[str, object]:
        if options["phase"] and archive:
            return restart.discard_archive(options["phase"], state, archive, write)
        if options["replaced_server"]:
            found = replaced_server.find(state)
            if found is None:
                return {"files": 0, "bytes": 0, "left": [], "changed": False}
            diff = {"before": f"{found}\n", "after": ""}
            return dict(replaced_server.remove(found, write), changed=True, diff=diff)
        if options["keep"]:
            planned = retention.plan(
                *(options[name] for name in ("staging_dir", "state_dir", "migration_id", "database", "keep"))
            )
        else:
            planned = removal.plan(
                archive,
                options["migration_id"],
                options["manifest_sha256"],
                options["state_dir"],
                half_done=options["half_done"],
                jobs=options["jobs"],
            )
        diff = {
            "before": "".join(f"{path}\n" for path in [*planned.files, *planned.left]),
            "after": "".join(f"{path}\n" for path in planned.left),
        }
        changed = bool(planned.files or planned.folders)
        done = removal.remove(planned) if write else removal.preview(planned)
        dumps = {"dumps": planned.dumps} if options["keep"] else {}
        return dict(done, changed=changed, diff=diff, **dumps)

    run(module, work)


if __name__ == "__main__":
    main()
