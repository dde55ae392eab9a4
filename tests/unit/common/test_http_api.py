# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests with credentials: whom they are sent to, and whom not."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.http_api import HttpApi
from ansible_collections.cht.couch2pg.plugins.module_utils.couchdb.client import CouchDB
from ansible_collections.cht.couch2pg.plugins.module_utils.couchdb.url import parse
from support import certificate
from support.settings_server import TOKEN, SettingsServer

BEARER = {"Authorization": f"Bearer {TOKEN}"}
PATH = "/connections/cht"


def test_a_certificate_of_an_authority_of_ones_own(tmp_path: Path) -> None:
    """Trusted when it is named, and else refused before anything is sent."""
    authority, key = tmp_path / "authority.pem", tmp_path / "key.pem"
    certificate.make(authority, key)
    with SettingsServer({"host": "old"}, authority, key) as program:
        with pytest.raises(MigrationError, match="certificate verify failed") as refused:
            HttpApi("metabase", program.address, BEARER, [TOKEN]).ask("GET", PATH)
        assert refused.value.code == "api_unreachable"
        assert "set http.ca_cert of this step in couch2pg_cutover_steps to its path." in refused.value.message
        with pytest.raises(MigrationError, match="set couch2pg_cutover_ca_cert to its path"):
            HttpApi("Superset", program.address, {}, [], setting="couch2pg_superset").ask("GET", PATH)
        assert program.allowed == []
        api = HttpApi("metabase", program.address, BEARER, [TOKEN], ca_cert=str(authority))
        api.ask("PUT", PATH, {"host": "new"})
        assert api.ask("GET", PATH) == {"host": "new"}
        other = HttpApi("metabase", program.address.replace("127.0.0.1", "localhost"), BEARER, [TOKEN], str(authority))
        with pytest.raises(MigrationError, match="to a name that the certificate has"):
            other.ask("GET", PATH)
    with pytest.raises(MigrationError, match=r"curl --head http://127\.0\.0\.1:1 shows here") as away:
        HttpApi("metabase", "http://127.0.0.1:1", BEARER, [TOKEN]).ask("GET", PATH)
    assert "Correct the URL in couch2pg_cutover_steps" in away.value.message
    for wrong in (key, tmp_path / "nothing.pem"):
        with pytest.raises(MigrationError, match=f"The certificates in {wrong} can't be read: .*PEM file"):
            HttpApi("metabase", "https://127.0.0.1", BEARER, [TOKEN], ca_cert=str(wrong))


def test_who_points_elsewhere_does_not_get_the_credentials_sent_there() -> None:
    """Another host, another port, or the same without TLS: it is said, and nothing is sent."""
    with SettingsServer({}) as stranger, SettingsServer({"host": "old"}) as program:
        program.moved_to = stranger.url
        couchdb = CouchDB(parse(f"{program.address.replace('//', '//medic:secret@')}/medic"))
        with pytest.raises(MigrationError, match=f"answers 302 to GET {PATH} and redirects to {stranger.address}"):
            HttpApi("metabase", program.address, BEARER, [TOKEN]).ask("GET", PATH)
        with pytest.raises(MigrationError, match=f"answers 302 and redirects to {stranger.address}") as refused:
            couchdb.update_seq("medic")
        assert "COUCHDB_URL" in refused.value.message
        assert stranger.allowed == []
        # The same host and port, but for TLS.
        program.moved_to = program.address.replace("http:", "https:") + PATH
        with pytest.raises(MigrationError, match=f"redirects to {program.address.replace('http:', 'https:')}"):
            HttpApi("metabase", program.address, BEARER, [TOKEN]).ask("GET", PATH)


def test_who_points_to_another_place_of_its_own_is_followed() -> None:
    with SettingsServer({"host": "old"}) as program:
        program.moved_to = PATH
        assert HttpApi("metabase", program.address, BEARER, [TOKEN]).ask("GET", "/connections/old") == {"host": "old"}
        assert program.allowed == [f"Bearer {TOKEN}"] * 2
        # What would change something is not sent twice; that it points to itself is no other address to give.
        program.moved_to = program.address + PATH + "/other"
        with pytest.raises(MigrationError, match=f"answers 302 to PUT {PATH}\\.$"):
            HttpApi("metabase", program.address, BEARER, [TOKEN]).ask("PUT", PATH, {})
