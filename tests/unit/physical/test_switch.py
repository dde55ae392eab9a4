# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An exchange of data directories whose outcome is on the disk, and whose run was killed just after that."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import switch
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.record.promoted import PROMOTED
from ansible_collections.cht.couch2pg.plugins.module_utils.record.rolled_back import REVERSED


@pytest.mark.parametrize(("what", "outcome"), [(switch.PROMOTION, PROMOTED), (switch.ROLLBACK, REVERSED)])
def test_a_recorded_exchange_is_never_undone(tmp_path: Path, what: str, outcome: str) -> None:
    """No server answers at this moment, and none can be started."""
    data, put_in, aside = (tmp_path / name for name in ("data", "put_in", "aside"))
    for folder, content in ((data, "new"), (aside, "old")):
        folder.mkdir()
        (folder / "content").write_text(content)
    stored = {"identity": "1", "oid": 2, "name": "cht", "mark": "m"}
    paths = {"data": str(data), "put_in": str(put_in), "aside": str(aside)}
    intent = {"what": what, **paths, "log_directory": "", "stored": stored, "stop": ["false"], "start": ["false"]}
    write_json(tmp_path / switch.EXCHANGE, intent)
    write_json(tmp_path / outcome, stored)
    settings = ConnectionSettings("cht", port=1, unix_socket=str(tmp_path))
    assert switch.resume(settings, tmp_path) == stored
    assert ((data / "content").read_text(), (aside / "content").read_text()) == ("new", "old")
    assert switch.unfinished(tmp_path) is None
    assert switch.resume(settings, tmp_path) is None
