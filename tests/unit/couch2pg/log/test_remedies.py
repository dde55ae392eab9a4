# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remedies of couch2pg's errors name what the log names, as SQL and the shell read it."""

from __future__ import annotations

import re

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.redaction import Redactor
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.errors import recognise
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.remedies import Names, remedy
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.settings import URL, Settings

SETTINGS = Settings(
    {"POSTGRESQL_URL": "postgres://couch2pg:password@db/cht", "COUCHDB_URL": "https://medic:password@couch/medic"}, URL
)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (b"error: permission denied for schema reports", 'GRANT USAGE, CREATE ON SCHEMA "reports" TO "c";'),
        (b"error: permission denied for table of_all", 'ALTER TABLE "of_all" OWNER TO "c";'),
        (
            b"couch2pg@cht.service: Start request repeated too quickly",
            "systemctl reset-failed couch2pg@cht.service && systemctl start couch2pg@cht.service",
        ),
        (b"cht\\x2dcouch2pg.service: Start request repeated too quickly", r"start 'cht\x2dcouch2pg.service'"),
    ],
)
def test_what_is_printed_can_be_pasted(log: bytes, expected: str) -> None:
    assert expected in remedy(recognise("", log), log, Names(role="c"), Redactor())


WAITED = b"No couchdb end point Found"


def test_only_the_container_of_couch2pg_is_made_again() -> None:
    """Without the name of a service, Compose makes all of them again, and with its name those that it depends on."""
    said = remedy(recognise("", WAITED), WAITED, Names(), Redactor())
    command = r"docker[ -]compose up --detach --no-deps SERVICE, in the folder of the compose file"
    assert re.search(command, said)


def test_the_service_is_named_where_it_is_known() -> None:
    log = {"kind": "compose", "project_dir": "/srv/the app", "service": "sync", "compose_files": ["b.yml"]}
    said = remedy(recognise("", WAITED), WAITED, Names.of(SETTINGS, log), Redactor())
    # With the version of Compose that this machine has.
    assert re.search(r"cd '/srv/the app' && docker[ -]compose --file=b\.yml up --detach --no-deps sync$", said)
    other = remedy(recognise("", WAITED), WAITED, Names.of(SETTINGS, {"kind": "docker", "container": "c"}), Redactor())
    assert "--no-deps SERVICE" in other
