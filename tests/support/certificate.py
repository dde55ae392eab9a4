# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of this machine's address: one that is its own authority, and one of a lower authority."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make(certificate: Path, key: Path) -> None:
    """Write both files; valid for two days."""
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    _openssl("req", *made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate)


def make_signed(authorities: Path, certificate: Path, key: Path) -> None:
    """Write a certificate and its key, and the two authorities above it, the lower one first; valid for two days."""
    folder = authorities.parent
    issued = ["-x509"]
    made = {}
    authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    own = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"]
    for name, extensions in (("root", authority), ("between", authority), ("leaf", own)):
        made[name] = (folder / f"{name}.pem", folder / f"{name}.key")
        file, own_key = made[name]
        asked = ["-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", own_key]
        _openssl("req", *issued, *asked, "-days", "2", *extensions, "-out", file)
        issued = ["-x509", "-CA", file, "-CAkey", own_key]
    certificate.write_bytes(made["leaf"][0].read_bytes())
    key.write_bytes(made["leaf"][1].read_bytes())
    authorities.write_bytes(made["between"][0].read_bytes() + made["root"][0].read_bytes())


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
