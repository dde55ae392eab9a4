# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the job ``restore`` is given by the method archive, and the options of its module; the method stream adds to them."""

from __future__ import annotations

from typing import Mapping, TypedDict

from ..jobs.options import JobOptions
from ..record.results import Choices


class Options(JobOptions, Choices):
    """The options of the module that say what to restore, and how. Those that ``Parameters`` has, too, are described there."""

    archive: str
    bin_dir: str
    database: str
    function_search_path: dict[str, str]
    incoming: str
    jobs: int
    maintenance_work_mem: str
    replace_existing: bool


class Known(TypedDict):
    """What ``examine`` finds: the target's server, and the SHA-256 of the archive's manifest, None without an archive (check mode)."""

    identity: str
    manifest_sha256: str | None


class Fingerprint(Choices):
    """What identifies the work: where it restores, what it restores, and how the database is created.

    manifest_sha256: of the archive, empty without one.
    """

    server_identity: str
    database: str
    incoming: str
    manifest_sha256: str


class Parameters(Fingerprint):
    """The parameters of the job. state_dir, archive: folders; connection: of the target; jobs: workers.

    function_search_path: by function; replace_existing: whether a database that isn't empty may have the real name.
    maintenance_work_mem: as the setting.
    """

    migration_id: str
    state_dir: str
    archive: str
    connection: Mapping[str, object]
    bin_dir: str
    jobs: int
    function_search_path: dict[str, str]
    replace_existing: bool
    maintenance_work_mem: str


def choices(given: Choices) -> Choices:
    """The choices among the parameters."""
    return {
        "role_map": given["role_map"],
        "missing_roles": given["missing_roles"],
        "tablespaces": given["tablespaces"],
        "extension_versions": given["extension_versions"],
    }
