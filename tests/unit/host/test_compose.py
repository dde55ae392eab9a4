# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is to do after Docker or Compose refused a command."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host.compose import remedy


@pytest.mark.parametrize("said", ["no such service: sync", "ERROR: No such service: sync"])
def test_a_service_that_the_project_does_not_have(said: str) -> None:
    """Both versions of Compose."""
    advice = remedy(said, "docker-compose config --services")
    assert advice.startswith(
        "docker-compose config --services shows the project's services. Correct service in couch2pg_app"
    )


def test_a_container_that_is_not_there() -> None:
    advice = remedy("Error response from daemon: No such container: sync")
    assert "Correct the container's name in couch2pg_postgres or couch2pg_app" in advice
