# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same deployment of couch2pg is recognized, however it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import identity, systemd
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.identity import identify, is_same
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.kinds import (
    COMPOSE,
    ENV_FILE,
    SYSTEMD,
    Deployment,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.host import file_systems


def of_file(path: Path) -> Deployment:
    return Deployment(ENV_FILE, env_file=str(path))


def test_files(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    own = identify(of_file(tmp_path / "couch2pg.env"))
    assert is_same(own, identify(of_file(tmp_path / "link" / "couch2pg.env")))
    assert not is_same(own, identify(of_file(tmp_path / "other.env")))


def test_units(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"couch2pg": "couch2pg.service", "alias.service": "couch2pg.service"}

    def show(name: str) -> systemd.Unit:
        return systemd.Unit(name, {"Id": (known[name],)} if name in known else {})

    monkeypatch.setattr(systemd, "show", show)
    own = identify(Deployment(SYSTEMD))
    assert is_same(own, identify(Deployment(SYSTEMD, unit="alias.service")))
    assert not is_same(own, identify(Deployment(SYSTEMD, unit="cht-couch2pg")))


def test_containers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    labels = {"project.working_dir": str(tmp_path), "service": "couch2pg"}

    def inspect(name: str) -> dict[str, Any]:
        own = {f"com.docker.compose.{key}": value for key, value in labels.items()} if name == "cht-couch2pg-1" else {}
        return {"Name": f"/{name}", "Config": {"Labels": own}}

    monkeypatch.setattr(identity, "inspect", inspect)
    own = identify(Deployment(COMPOSE, project_dir=str(tmp_path), service="couch2pg"))
    assert is_same(own, identify(Deployment(COMPOSE, container="cht-couch2pg-1")))
    assert not is_same(own, identify(Deployment(COMPOSE, container="other")))
    assert not is_same(own, identify(Deployment(COMPOSE, project_dir=str(tmp_path), service="other")))
    assert is_same(identify(Deployment(COMPOSE, container="other")), identify(Deployment(COMPOSE, container="other")))


def test_an_unknown_host_is_no_known_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(file_systems, "machine", lambda: "")
    assert not is_same(identify(of_file(tmp_path)), identify(of_file(tmp_path)))
