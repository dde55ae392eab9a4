# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host under two names in the inventory: couch2pg of both sides must not be the same deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.modules import run_module
from support.systemd import SystemdHost

# Nothing answers there, which has findings of its own.
UNIT = (
    "[Service]\nExecStart=/usr/bin/sleep 1000\n"
    "Environment=COUCHDB_URL=http://medic:secret@127.0.0.1:1/medic\n"
    "Environment=POSTGRESQL_URL=postgresql://couch2pg:secret@127.0.0.1:1/cht\n"
)


def source(host: SystemdHost, **options: Any) -> dict[str, Any]:
    result = run_module("couch2pg_preflight", {"side": "source", **options}, through=host.through)
    identity: dict[str, Any] = result["facts"]["identity"]
    return identity


def on_target(host: SystemdHost, identity: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
    """Status and message of the findings about both deployments."""
    given = {"side": "target", "source_identity": identity, **options}
    findings = run_module("couch2pg_preflight", given, through=host.through)["findings"]
    return [
        (entry["status"], entry["message"]) for entry in findings if entry["details"].get("code") == "one_deployment"
    ]


def test_both_names_lead_to_the_same_unit(tmp_path: Path) -> None:
    with SystemdHost(tmp_path / "host") as host, SystemdHost(tmp_path / "other") as other:
        for each in (host, other):
            each.unit("couch2pg.service", UNIT)
        # Both sides search for it.
        ((status, message),) = on_target(host, source(host))
        assert status == "failure"
        assert "the unit couch2pg.service on one host" in message
        assert "its own couch2pg_app" in message
        # Two hosts, although they have the same kernel.
        assert on_target(other, source(host)) == []
        # Two deployments.
        host.unit("couch2pg-new.service", UNIT)
        named = {"deployment": {"kind": "systemd", "unit": "couch2pg-new"}}
        assert on_target(host, source(host), **named) == []
        # It is not there yet.
        missing = {"deployment": {"kind": "systemd", "unit": "couch2pg-missing"}, "install": True}
        assert on_target(host, source(host), **missing) == []
        # After the promotion nothing stops it before a restore.
        ((status, message),) = on_target(host, source(host), promoted=True)
        assert status == "warning"
        assert "source_couch2pg would stop it for good" in message
