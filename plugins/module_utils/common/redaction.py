# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redact log lines: remove credentials and personal data.

When in doubt, more is removed than needed: a line is only a hint, and the complete log is still on its host.
"""

from __future__ import annotations

import json
import re
from typing import Sequence
from urllib.parse import quote, quote_plus

MASK = "***"
# A shorter secret would also be masked inside ordinary words, where the missing letters would reveal it.
SHORTEST_SECRET = 4
READ_LIMIT = 4096
SHOWN_LIMIT = 300

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{1,30}:(?:\\?/){2}"
# The scheme of a URL within another URL: percent-encoded once or more.
_ENCODED_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{1,30}%(?:25)*3[Aa](?:%(?:25)*2[Ff]){2}"
_DELIMITER = r"(?=\s*(?:[,;}\])]|$))"
# A password that is not percent-encoded may contain @ : / and spaces, so mask up to the last @ of the line.
_CREDENTIALS = (
    (re.compile(rf"({_SCHEME}|(?<![\w:/])//(?=[^\s/:@]+:)).*@"), rf"\1{MASK}@"),
    (re.compile(rf"({_ENCODED_SCHEME}).*(%(?:25)*40)"), rf"\1{MASK}\2"),
    # When a password contains @ or /, a program takes the rest of the password for a host name and prints it.
    (re.compile(r"\b(ENOTFOUND|EAI_AGAIN|resolve host:|host name) +.*"), rf"\1 {MASK}"),
    # A URL that is truncated before its @. Text after the colon that is not a port is a password.
    (re.compile(rf"({_SCHEME})[^\s/:@\[]+:(?!\d{{1,5}}(?![^\s/?#'\",;)\]}}])).*"), rf"\1{MASK}"),
    (re.compile(rf"({_ENCODED_SCHEME})[\w.~-]+%(?:25)*3[Aa](?!\d{{1,5}}(?![^%/?#'\",;)\]}}\s])).*"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(Basic|Bearer)(\s|%20|\+)+[\w+/=.~%-]{8,}"), rf"\1 {MASK}"),
    (re.compile(r"\bmd5[0-9a-f]{32}\b|\bSCRAM-SHA-256\$\S+"), MASK),
    # Passwords in arguments of curl (but not ``-u UID:GID`` of docker run), in arguments of sshpass, and in libpq's password file.
    (
        re.compile(r"((?<!\S)(?:-[A-Za-z]*[uU]|--(?:proxy-)?user)[ =]*)[\"']?(?!\d+:\d+(?!\S))[^\s:\"'-][^\s:\"']*:.*"),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(sshpass\s+-p\s*).*"), rf"\1{MASK}"),
    (re.compile(r"(?<![\w.:*\\-])([\w.*-]+:(?:\d{2,5}|\*):[^\s:]+:[^\s:]+:).+"), rf"\1{MASK}"),
)
_PASSWORD = r"passw(?:or)?d|passphrase|pwd|mot de passe"
_SECRET = (
    rf"(?:{_PASSWORD}|secret|token|api_?key|access_?key|private_?key|derived_?key|authorization|authsession|cookie"
    r"|(?<![A-Za-z])(?:pass|auth|credentials?)(?![A-Za-z]))"
)
# What may follow a name before the separator: closing quotes (escaped in JSON that is itself a string) and brackets.
_CLOSED = r"(?:\\*[\"'`\])]|%(?:25)*22|&quot;)*"
# In JSON and in objects that Node.js prints, the value ends at its closing quote; elsewhere it is the rest of the line.
_NAMED = re.compile(
    rf"(?i)({_SECRET}[\w.-]{{0,40}}{_CLOSED}\s{{0,9}})"
    rf"(?:(:\s*)(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`){_DELIMITER}|([=:]|%(?:25)*3[AaDd]).*)"
)
# In a list of names and values, or in {name, value}, a comma separates the name and the value.
_LISTED = re.compile(rf"(?i)({_SECRET}[\w.-]{{0,40}}\\*[\"'`]\s*,\s*)\S.*")
# In an argument of a command, in SQL and in a sentence, a space separates the name and the value.
_FOLLOWED = re.compile(
    rf"((?<!\S)--?[A-Za-z-]*(?i:{_SECRET})[\w-]{{0,40}}|\b(?:PG|[A-Z0-9]+_)[A-Z0-9_]*(?:PASS(?:W(?:OR)?D)?|PWD|SECRET|TOKEN|KEY)[A-Z0-9_]*"
    rf"|(?i:\b(?:{_PASSWORD})|\bidentified by)){_CLOSED}(\s+\S.*)"
)
# Words that follow "password" in messages of PostgreSQL, its clients and CouchDB. Any other word may be the password itself.
_MESSAGE = re.compile(
    r"(?i)(?:\s+(?:a|and|are|as|assigned|attribute|authentication|be|because|by|can|cannot|changed|cleared|clearing|client|database"
    r"|deprecated|do|does|encryption|encrypted|empty|expired|failed|failure|file|for|form|from|had|has|have|in|incorrect|instead|invalid"
    r"|is|it|long|longer|match|may|md5|missing|must|name|needed|no|not|of|on|option|or|packet|plaintext|prompt|provided|refused|rejected"
    r"|rename|required|response|returned|role|scram|server|set|should|size|string|supplied|support|than|that|the|this|to|too|type|used"
    r"|user|valid|variable|was|were|will|with|without|wrong|you|your)\b)*"
    # After "for user" or "for role", a quoted name follows; the text after the name doesn't matter.
    r"(?:(?<=\buser)\s+\"|(?<=\brole)\s+\"|(?<=\w)(?:[.,;)!?][\"'`]?,?(?:\s|$)|[\"'`]?,?$))"
)

_OPENING = re.compile(r"\{|\[(?=\s*[\"'{\[])")
_PERSONAL = (
    (re.compile(r"(?i)(JSON data, line \d+:).*"), r"\1 ..."),
    (re.compile(r"(?i)\b(Failing row contains|VALUES|in) \(.*"), r"\1 (...)"),
    (re.compile(r"\)=\(.*\)"), ")=(...)"),
    (re.compile(r"(?i)\b(token )\"(?:[^\"\\]|\\.)*\""), r'\1"..."'),
    # PostgreSQL quotes names of objects too, but a value always follows a colon.
    (re.compile(r"(:\s*)\"(?:[^\"\\]|\\.)*(?:\"|$)"), r'\1"..."'),
    (re.compile(r"(\b(?:org\.couchdb\.user:|telemetry-|feedback-))[^\s\"',)]+"), r"\1..."),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"(?<![\w.+*-])[\w.+-]+@(?!\d+\.\d+\.\d+(?![\w.]))[\w-]+(?:\.[\w-]+)+"), "<address>"),
    (re.compile(r"(?<!GMT)(?<!UTC)\+\d[\d ().-]{6,}\d"), "<number>"),
    (re.compile(r"(?<![\w:.-])\(?0\d{2,3}\)?[ .-]\d{3}[ .-]?\d{3,4}(?!\w)"), "<number>"),
    # But not the number of a couch2pg migration, which begins with a date.
    (re.compile(r"(?<![\w.])(?!20\d\d(?:0[1-9]|1[0-2])[0-3]\d\d{4,6}(?!\d))\d{9,15}(?!\w)"), "<number>"),
)
_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*(?:\"|$)|(?<=[{\[(,:=\s])(['`])(?:(?!\1)[^\\]|\\.)*(?:\1|$)")
_PROPERTY = re.compile(r"^(\s+[\"']?[\w$.-]+[\"']?:\s+)(.*)$")
# Node.js prints an error object over many lines, one for each property. These properties contain no content of documents.
_HARMLESS_NAMES = (
    "code|severity|errno|status|syscall|type|port|length|position|schema|table|constraint|file|line|routine"
)
_HARMLESS = re.compile(rf"^\s+(?:{_HARMLESS_NAMES}): (?:'[\w. -]*'|\d{{1,6}}|undefined|null),?$")
_JSON_FRAGMENT = re.compile(r"\"\s*:\s*[\"\d\[{tfn-]|\"\s*,\s*\"")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*(?:\"|$)|(?<!\w)'(?:[^'\\]|\\.)*(?:'|$)")


class Redactor:
    """Redacts lines. ``secrets`` are masked wherever they appear."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST_SECRET}
        # The longest first: masking a part first would leave the rest visible.
        ordered = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, line: str | bytes, strict: bool = False) -> str:
        """The redacted line. With ``strict``, for a line of unknown kind, quoted words are removed as well."""
        text = line.decode("utf-8", errors="replace") if isinstance(line, bytes) else line
        if self._known:
            text = self._known.sub(MASK, text)
        text = "".join(letter if letter.isprintable() else " " for letter in text[:READ_LIMIT]).rstrip()
        text = remove_personal(remove_credentials(text), strict)
        return text if len(text) <= SHOWN_LIMIT else text[:SHOWN_LIMIT] + " ..."

    def credentials(self, line: str) -> str:
        """Remove only credentials: for a settings file, whose other values should be visible."""
        return remove_credentials(self._known.sub(MASK, line) if self._known else line)


# A host name contains no space, quote or @. A host with one of these in a message is a part of a password that wasn't encoded.
_HOST = r"(?i)\b(?<!\.)((?:server(?:_?name)?|host(?:_?name)?|address)"
# What libpq prints after the host name. libpq quotes the name without escaping it.
_PLACE = r"\"(?:,? port \d| \([^()\"]*\),? port \d| failed|$)"
_HOSTS = (
    (re.compile(rf"{_HOST} at )\"(?![^\s@\"']*{_PLACE})(?:.*(?={_PLACE})|.*)"), rf'\1"{MASK}'),
    # A quoted name: up to its closing quote as in JSON, otherwise up to the last quote of the line.
    (
        re.compile(
            rf"{_HOST}(?: is | |[\"']?\s?[=:]\s{{0,9}}))([\"'])(?![^\s@\"']*\2(?:[\s,;:.)}}\]]|$))"
            rf"(?:(?:(?!\2)[^\\]|\\.)*(?=\2{_DELIMITER})|.*(?=\2)|.*)"
        ),
        rf"\1\2{MASK}",
    ),
    # An unquoted name with a space. Not masked: a name before another parameter of a connection string, and an HTTP header.
    (
        re.compile(
            rf"{_HOST}\s?[=:]\s{{0,9}})(?!\"|'|\S+ (?:hostaddr|port|dbname|user|password|sslmode)=|\w+/\d)\S+ .*"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(rf"{_HOST}[\"']?\s?[=:]\s{{0,9}}[\"']?)(?!.*\*@).*@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b(connect to (?:host )?)(?!\S+ port )\S.* (port \d)"), rf"\1{MASK} \2"),
    (
        re.compile(r"^(?!(?:[\w.-]+ +\| )?[^\s@]+:\d+ - ).*(:\d+ - (?:no response|no attempt|accepting|rejecting))"),
        rf"{MASK}\1",
    ),
)
# Without a scheme, "user:password@host" can start at any colon of the line: masked last, so that the other patterns see the whole line.
_USER_AND_PASSWORD = re.compile(r"(?<![\w/*])[\w.%+-]{1,64}:(?!//)[^\s@].*@(?=[\w.\[-])")


def remove_credentials(text: str) -> str:
    """Mask everything that looks like a password, in a URL or after a name such as ``password=``."""
    for pattern, replacement in _CREDENTIALS:
        text = pattern.sub(replacement, text)
    text = _NAMED.sub(lambda found: f"{found[1]}{found[2] or found[4]}{MASK}", text)
    text = _LISTED.sub(rf"\1{MASK}", text)
    text = _FOLLOWED.sub(_without_what_follows, text)
    for pattern, replacement in _HOSTS:
        text = pattern.sub(replacement, text)
    return _USER_AND_PASSWORD.sub(f"{MASK}@", text)


def _without_what_follows(found: re.Match[str]) -> str:
    # Text after ``=`` or ``:`` is masked already.
    if found[2].strip(" =:") == MASK or _MESSAGE.match(found[2]):
        return found[0]
    return f"{found[0][: found.start(2) - found.start()]} {MASK}"


def remove_personal(text: str, strict: bool = False) -> str:
    """Mask documents, query values, identifiers, email addresses and telephone numbers."""
    text = _shapes(text)
    if strict and _JSON_FRAGMENT.search(text):
        return "(a part of a JSON document)"
    if not _HARMLESS.match(text):
        text = _PROPERTY.sub(r"\1...", text)
    for pattern, replacement in _PERSONAL:
        text = pattern.sub(replacement, text)
    return _QUOTED.sub('"..."', text) if strict else text


def _forms(secret: str) -> list[str]:
    """All spellings of a secret: its encodings, and the fragments that a program prints after parsing a URL wrongly."""
    return [
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote(secret, safe="!~*'()"),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        secret.replace("\\", "\\\\").replace("'", "\\'"),
        *re.split(r"[@:/?#\s]+", secret),
    ]


def _shapes(text: str) -> str:
    """Replace every JSON object and list by its number of fields or items."""
    shown = []
    start = 0
    for opening in _OPENING.finditer(text):
        if opening.start() < start:
            continue
        end, parts, complete = _extent(text, opening.start())
        # A bracket at the end of the line opens an object that Node.js prints on the following lines.
        if not complete and not parts:
            break
        word = ("field" if opening[0] == "{" else "item") + ("" if parts == 1 else "s")
        closing = "}" if opening[0] == "{" else "]"
        shown.append(f"{text[start : opening.start()]}{opening[0]}... {parts}{'' if complete else '+'} {word}{closing}")
        start = end
    return "".join(shown) + text[start:]


def _extent(text: str, start: int) -> tuple[int, int, bool]:
    """The end of the object or list at ``start``, its number of parts, and whether its closing bracket is in the text."""
    depth = commas = 0
    empty = True
    for place, letter in enumerate(_STRING.sub(lambda found: "s" * len(found[0]), text[start:]), start):
        if letter in "}]":
            depth -= 1
            if depth == 0:
                return place + 1, 0 if empty else commas + 1, True
        elif depth and not letter.isspace():
            empty = False
        depth += letter in "{["
        commas += letter == "," and depth == 1
    return len(text), 0 if empty else commas + 1, False
