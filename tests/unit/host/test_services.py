# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands for a service that need root."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host import services


def test_what_is_advised_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands in the message can be pasted into an inventory, and need root no more."""
    monkeypatch.setattr(services.os, "getuid", lambda: 4242)
    unit = r"postgresql@16-main\x2dold.service"
    with pytest.raises(MigrationError) as refused:
        services.check_root([["systemctl", "stop", unit], ["systemctl", "start", unit]])
    pasted = yaml.safe_load(
        refused.value.message[refused.value.message.index("couch2pg_physical_commands:") :].rstrip(".")
    )
    commands = pasted["couch2pg_physical_commands"]
    assert commands == {"stop": ["sudo", "systemctl", "stop", unit], "start": ["sudo", "systemctl", "start", unit]}
    services.check_root([commands["stop"], commands["start"]])


def test_a_suggestion_has_the_words_as_they_are() -> None:
    """A path may have a comma or a blank, and YAML reads "no" and "15" as values."""
    stop = ["runuser", "-u", "no", "--", "pg_ctl", "--pgdata", "/srv/a, b: #c/é", "--mode", "fast", "stop"]
    start = ["pg_ctlcluster", "15", "main", "--options", "-cconfig_file='/srv/a b/postgresql.conf'", "start", ""]
    assert yaml.safe_load(services.suggestion(stop, start)) == {"stop": stop, "start": start}
    assert (
        services.suggestion(["systemctl", "stop", "a@b.service"], [])
        == "{stop: [systemctl, stop, a@b.service], start: []}"
    )
