# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of a credential or of a patient is left of a line, whatever the password."""

from __future__ import annotations

import base64
import json
import random
import shlex
import string
from typing import Callable
from urllib.parse import quote

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.redaction import Redactor

redact = Redactor()

# Where the entrypoint, Docker, Node.js and curl show a password; each takes it and returns the line.
PLACES: dict[str, Callable[[str], str]] = {
    "entrypoint, PostgreSQL": lambda word: f"Set postgres URL to postgres://couch2pg:{word}@db.example:5432/cht",
    "entrypoint, CouchDB": lambda word: f"START Checking for cht couchdb at https://medic:{word}@couch.example/medic",
    "encoded": lambda word: f"Set postgres URL to postgres://couch2pg:{quote(word, safe='')}@db.example:5432/cht",
    "environment": lambda word: f"POSTGRES_PASSWORD={word}",
    "environment, exported": lambda word: f"declare -x COUCH2PG_DB_PASSWD={word}",
    "connection string": lambda word: f"connecting to host=db.example user=couch2pg password={word}",
    "JSON": lambda word: json.dumps({"user": "couch2pg", "password": word}),
    "JSON, cut": lambda word: json.dumps({"user": "couch2pg", "password": word})[:-1],
    "property": lambda word: f"  password: {json.dumps(word)},",
    "property, as it is": lambda word: f"  password: {word}",
    "in a sentence": lambda word: f"[2026-11-23T20:38:48.786Z ERROR]:  refused (password: {json.dumps(word)})",
    "in a sentence, without a colon": lambda word: f"password {word} was refused",
    "in a sentence, with a verb": lambda word: f"the password is {word}",
    "a name and a value": lambda word: f"POSTGRES_PASSWORD {word}",
    "a short name": lambda word: f"DB_PASS: {word}",
    "a table of settings": lambda word: f"| COUCHDB_PASSWD | {word} |",
    "docker inspect": lambda word: "  " + json.dumps(f"POSTGRES_PASSWORD={word}") + ",",
    "JSON in a string": lambda word: json.dumps({"body": json.dumps({"name": "medic", "password": word})}),
    "YAML": lambda word: f"      POSTGRES_PASSWORD: {word}",
    "a container's variable": lambda word: json.dumps([{"name": "POSTGRES_PASSWORD", "value": word}]),
    "a Map of Node.js": lambda word: f"Map(1) {{ 'password' => {json.dumps(word)} }}",
    "a Symbol of Node.js": lambda word: f"  Symbol(password): {json.dumps(word)},",
    "a URL that Node.js has parsed": lambda word: f"  auth: {json.dumps('medic:' + word)},",
    "headers of Node.js": lambda word: f"  rawHeaders: [ 'X-Api-Key', {json.dumps(word)} ],",
    "a form": lambda word: f"name=medic&password={quote(word, safe='')}",
    "a form, encoded": lambda word: f"body=name%3Dmedic%26password%3D{quote(word, safe='')}",
    "a URL in a URL": lambda word: (
        "next=" + quote(f"postgres://couch2pg:{quote(word, safe='')}@db.example/cht", safe="")
    ),
    "a URL without a scheme": lambda word: f"fetching //medic:{word}@couch.example/medic",
    "a cookie": lambda word: f"Cookie: AuthSession={quote(word, safe='')}; Version=1",
    "Basic": lambda word: f"Authorization: Basic {base64.b64encode(('medic:' + word).encode()).decode()}",
    "Basic, in a list": lambda word: f"[ 'Basic {base64.b64encode(('medic:' + word).encode()).decode()}' ]",
    "curl": lambda word: f"curl -s -u medic:{word} https://couch.example/medic",
    "curl, its long option": lambda word: f"curl --user {shlex.quote('medic:' + word)} https://couch.example/medic",
    "curl, options in one": lambda word: f"curl -fsSu {shlex.quote('medic:' + word)} https://couch.example/medic",
    "an option": lambda word: f"couch2pg --pg-password {shlex.quote(word)} --interval 5",
    "sshpass": lambda word: f"sshpass -p {shlex.quote(word)} ssh db.example",
    "SQL": lambda word: "ALTER ROLE couch2pg PASSWORD '" + word.replace("'", "''") + "'",
    "a password file": lambda word: f"db.example:5432:cht:couch2pg:{word}",
    "a netrc": lambda word: f"machine couch.example login medic password {word}",
    # From here on, a URL with a password that was not encoded was taken apart.
    "the rest of it as a server": lambda word: f"server: {word}@db",
    "the rest of it in quotes": lambda word: f'connection to server at "my {word}", port 5432 failed',
    "the rest of it in quotes, with an address": lambda word: (
        f'connection to server at "{word} @" (10.0.0.1), port 5432 failed: Connection refused'
    ),
    "the rest of it in quotes, cut": lambda word: f'could not connect to server at "my {word}',
    "the rest of it as a host": lambda word: f"  host: {json.dumps('my ' + word)},",
    "the rest of it as a host, plainly": lambda word: f"host: my {word}",
    "the rest of it, tried": lambda word: f"curl: (7) Failed to connect to my {word} port 5984: Connection refused",
    "the rest of it, waited for": lambda word: f"my {word}:5432 - no response",
}
ALPHABET = string.ascii_letters + string.digits + "@:/%$ '\"#\\&?=+,;{}[]()|<>~!ä"


def passwords(count: int) -> list[str]:
    """The hard ones by name, and others by chance (the same in each run)."""
    chance = random.Random(7)
    words = ["".join(chance.choice(ALPHABET) for _letter in range(chance.randint(12, 24))) for _word in range(count)]
    return ["p@ss:w/rd%$ with spaces", "@@@@@@@@@@", "//:@//:@//:@", "100%25$HOME `x`", "quo\"te's, and more", *words]


def assert_gone(word: str, shown: str, around: str = "") -> None:
    """No piece of six characters is left, except where the line ``around`` it has the same."""
    pieces = {word[place : place + 6] for place in range(len(word) - 5)}
    assert not [piece for piece in pieces if piece in shown and piece not in around], shown


@pytest.mark.parametrize("place", PLACES)
def test_a_password_goes_from_every_place(place: str) -> None:
    for word in passwords(300):
        line = PLACES[place](word)
        assert_gone(word, redact(line), PLACES[place](""))
        assert_gone(quote(word, safe=""), redact(line), PLACES[place](""))


@pytest.mark.parametrize("form", [str, quote, lambda word: quote(word, safe=""), lambda word: json.dumps(word)[1:-1]])
def test_a_known_secret_goes_from_anywhere(form: Callable[[str], str]) -> None:
    for word in passwords(300):
        line = f"getaddrinfo ENOTFOUND {form(word)} db.example"
        shown = Redactor(["unrelated", word])(line)
        assert_gone(form(word), shown)
        assert shown.startswith("getaddrinfo ENOTFOUND ")


def test_pieces_of_a_known_secret_go_too() -> None:
    """A password that isn't encoded is taken for a host's name, or for a part of one."""
    shown = Redactor(["hunter/grapes@cellar"])("port is hunter, path is grapes; getaddrinfo ENOTFOUND cellar")
    assert shown == "port is ***, path is ***; getaddrinfo ENOTFOUND ***"


def test_a_short_secret_is_not_told_by_what_is_missing() -> None:
    assert Redactor(["a", ""])("a table and a view") == "a table and a view"


@pytest.mark.parametrize(
    "line",
    [
        "[2026-11-23T20:38:45.277Z INFO]:  Adapter is running in NORMAL mode",
        "[2026-11-23T20:54:10.282Z INFO]:  Run completed. Next run at Mon Nov 23 2026 21:54:10 GMT+0300 (East Africa Time)",
        "[8:54:05 PM] running 201606091247.do.2318-standardise-schema.sql",
        "FetchError: request to http://127.0.0.1:1/medic/ failed, reason: connect ECONNREFUSED 127.0.0.1:1",
        "request to https://couch.example:443/medic failed, reason: connect ETIMEDOUT [::1]:443",
        'error: relation "useview_feedback" does not exist',
        "Error: MD5 checksum failed for migration [201606200952]",
        "  code: '23505',",
        "  constraint: 'couchdb_doc_uuid',",
        "  routine: 'auth_failed',",
        "  file: 'auth.c',",
        "docker run -u 1000:1000 -e POSTGRES_DB_NAME=cht couch2pg",
        "journalctl -u couch2pg.service -n 20",
        "db.example:5432 - no response",
        "Failed to connect to localhost port 5984: Connection refused",
        'connection to server at "db.example" (10.0.0.1), port 5432 failed: Connection refused',
        "host=db.example port=5432 dbname=cht user=couch2pg",
        "npm WARN couch2pg@0.7.1 has no description",
        "    at Parser.parse (/srv/app/node_modules/@medic/pg/lib/parser.js:12:7)",
        "Jul 21 08:00:00 db systemd[1]: couch2pg.service: Main process exited, code=exited, status=1/FAILURE",
    ],
)
def test_what_an_operator_needs_stays(line: str) -> None:
    assert redact(line) == line


@pytest.mark.parametrize(
    "message",
    [
        'password authentication failed for user "couch2pg" at line 3',
        "Name or password is incorrect.",
        "fe_sendauth: no password supplied",
        "expected password response, got message type 88",
        "invalid password packet size",
        "empty password returned by client",
        "encrypted password is too long",
        "MD5 password cleared because of role rename",
        "empty string is not a valid password, clearing password",
        "POSTGRES_PASSWORD must be set",
        "the variable POSTGRES_PASSWORD is empty.",
        "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string",
    ],
)
def test_a_message_about_a_password_stays(message: str) -> None:
    assert redact(message) == message


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            'insert {"_id": "x", "name": "Amina {b}", "fields": {"a": [1, 2]}, "l": ["y"]} failed',
            "insert {... 4 fields} failed",
        ),
        ('{"_id": "x", "patient_name": "Amina Oke', "{... 2+ fields}"),
        ("keys: ['amina', 'brian'] and {}", "keys: [... 2 items] and {... 0 fields}"),
        ("  name: 'Amina Okello',", "  name: ..."),
        ('  "phone": "+256 772 123456",', '  "phone": ...'),
        ('invalid input syntax for type date: "Amina 1990"', 'invalid input syntax for type date: "..."'),
        ("Key ((doc ->> '_id'::text))=(amina) already exists.", "Key ((doc ->> '_id'::text))=(...) already exists."),
        ("Failing row contains (amina, 12).", "Failing row contains (...)"),
        ('INSERT INTO couchdb (doc) VALUES (\'{"name"', "INSERT INTO couchdb (doc) VALUES (...)"),
        ("DELETE FROM couchdb WHERE doc->>'_id' in ('amina','b')", "DELETE FROM couchdb WHERE doc->>'_id' in (...)"),
        ("JSON data, line 1: Amina", "JSON data, line 1: ..."),
        ('Token "Amina" is invalid.', 'Token "..." is invalid.'),
        ("of org.couchdb.user:amina now", "of org.couchdb.user:... now"),
        ("telemetry-2026-11-amina-0a1b", "telemetry-..."),
        ("doc 3f1c7d1e-7b1e-4c55-9d0a-1f6f6f6f6f6f gone", "doc <id> gone"),
        ("write to amina@example.org", "write to <address>"),
        (
            "call +256 772 123 456, 0772123456, 0772 123 456 or 256772123456",
            "call <number>, <number>, <number> or <number>",
        ),
    ],
)
def test_nothing_of_a_patient_is_left(line: str, shown: str) -> None:
    assert redact(line) == shown


def test_of_a_line_of_unknown_kind_the_quoted_words_go_too() -> None:
    assert redact("said 'Amina' and \"Brian\"", strict=True) == 'said "..." and "..."'
    assert redact('Okello", "village": "Kibuye"', strict=True) == "(a part of a JSON document)"


def test_lines_are_cut_and_control_characters_go() -> None:
    assert redact(b"a\x1b[31m\x00\xff") == "a [31m \N{REPLACEMENT CHARACTER}"
    assert redact("x" * 5000) == "x" * 300 + " ..."


def test_a_password_hash_is_a_credential() -> None:
    assert redact("rolpassword md5" + "0" * 32) == "rolpassword ***"
    assert redact("stored SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy") == "stored ***"
    assert redact("Authorization: Basic bWVkaWM6cGFzcw==") == "Authorization:***"
