# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core's definition of a module's options agrees with the module's argument spec."""

from __future__ import annotations

from typing import Any, get_args, get_origin, get_type_hints

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import check as archive_check
from ansible_collections.cht.couch2pg.plugins.module_utils.dump import parameters as of_dump
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import parameters as of_physical
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.disk_plan import DiskOptions
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.options import Options as PreflightOptions
from ansible_collections.cht.couch2pg.plugins.module_utils.refresh import parameters as of_refresh
from ansible_collections.cht.couch2pg.plugins.module_utils.restore import parameters as of_restore
from ansible_collections.cht.couch2pg.plugins.module_utils.stream import parameters as of_stream
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import parameters as of_transfer
from ansible_collections.cht.couch2pg.plugins.module_utils.verify import parameters as of_verify
from ansible_collections.cht.couch2pg.plugins.modules import (
    archive_manifest,
    archive_transfer,
    couch2pg_info,
    couch2pg_preflight,
    disk_space_info,
    matview_refresh,
    pg_dump,
    pg_physical,
    pg_restore,
    pg_stream,
    preflight,
    role_login,
    transfer_info,
    transfer_key,
    verify,
)

TYPES = {"str": str, "path": str, "bool": bool, "int": int, "bytes": int, "float": float, "dict": dict, "list": list}
# Options that the module itself completes when they are missing, or without which it doesn't call this part of the core.
COMPLETED = {DiskOptions: {"migration_id"}, of_transfer.Options: {"archive", "source"}}
# The core gets these beside the options.
ADDED = {"check_mode"}


class StoppedError(Exception):
    """Ends a module after it has passed its options to Ansible."""


def argument_spec(module: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    spec: dict[str, Any] = {}

    def make_module(*option_sets: dict[str, Any], **_arguments: Any) -> None:
        for option_set in option_sets:
            spec.update(option_set)
        raise StoppedError

    monkeypatch.setattr(module, "make_module", make_module)
    with pytest.raises(StoppedError):
        module.main()
    return spec


@pytest.mark.parametrize(
    ("module", "definition"),
    [
        (archive_manifest, archive_check.Options),
        (archive_transfer, of_transfer.TransferOptions),
        (couch2pg_info, couch2pg_info.Options),
        (couch2pg_preflight, couch2pg_preflight.Options),
        (disk_space_info, DiskOptions),
        (matview_refresh, of_refresh.Options),
        (pg_dump, of_dump.Options),
        (pg_physical, of_physical.Options),
        (pg_restore, of_restore.Options),
        (pg_stream, of_stream.Options),
        (preflight, PreflightOptions),
        (role_login, role_login.Options),
        (transfer_info, of_transfer.Options),
        (transfer_info, transfer_info.Options),
        (transfer_key, transfer_key.Options),
        (verify, of_verify.Options),
    ],
    ids=lambda given: given.__name__.rpartition(".")[2],
)
def test_each_option_that_the_core_reads_is_one_of_the_module_with_that_type(
    module: Any, definition: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = argument_spec(module, monkeypatch)
    wrong = []
    for name, hint in get_type_hints(definition).items():
        if name in ADDED:
            continue
        option = spec[name]
        may_be_none = type(None) in get_args(hint)
        (known,) = [each for each in get_args(hint) if each is not type(None)] if may_be_none else [hint]
        # A TypedDict is a dict at run time.
        kind = get_origin(known) or (dict if issubclass(known, dict) else known)
        has_value = option.get("required") or "default" in option or name in COMPLETED.get(definition, ())
        if kind is not TYPES[option["type"]] or may_be_none == bool(has_value):
            wrong.append(f"{name}: {hint} for {option}")
    assert not wrong
