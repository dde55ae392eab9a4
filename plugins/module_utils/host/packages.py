# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to install what is missing on a host, as its distribution does it."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
_FAMILIES = {
    "debian": "debian",
    "ubuntu": "debian",
    "rhel": "redhat",
    "fedora": "redhat",
    "centos": "redhat",
    "rocky": "redhat",
    "almalinux": "redhat",
    "ol": "redhat",
    "amzn": "redhat",
    "suse": "suse",
    "sles": "suse",
    "alpine": "alpine",
}
_INSTALL = {
    "debian": "apt-get install -y",
    "redhat": "dnf install -y",
    "suse": "zypper install -y",
    "alpine": "apk add",
}
# Where a distribution has another name for it than the first one.
_PACKAGES: dict[str, dict[str, str]] = {
    "psycopg2": {"debian": "python3-psycopg2", "alpine": "py3-psycopg2"},
    "pg_dump": {"debian": "postgresql-client", "redhat": "postgresql", "suse": "postgresql"},
    "rsync": {"debian": "rsync"},
    "sudo": {"debian": "sudo"},
    "setfacl": {"debian": "acl"},
    "python3": {"debian": "python3"},
    "ssh": {"debian": "openssh-client", "redhat": "openssh-clients", "suse": "openssh-clients"},
}
_SAME = {"pg_restore": "pg_dump", "ssh-keygen": "ssh"}


def read_os_release() -> dict[str, str]:
    """What this host's os-release says, in lower case; empty without one."""
    for path in OS_RELEASE:
        try:
            return parse_os_release(Path(path).read_text(encoding="utf-8"))
        except OSError:
            continue
    return {}


def parse_os_release(text: str) -> dict[str, str]:
    """``ID=debian`` and the like as ``{"id": "debian"}``."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name.strip().lower(): value.strip().strip("\"'").lower() for name, value in pairs}


def install_command(name: str, os_release: Mapping[str, str], user: str = "root") -> str:
    """The command that installs ``name``, a program or psycopg2, for ``user``; where the distribution is unknown, words for it."""
    names = [os_release.get("id", ""), *os_release.get("id_like", "").split()]
    family = next((_FAMILIES[known] for known in names if known in _FAMILIES), "")
    packages = _PACKAGES[_SAME.get(name, name)]
    if not family:
        return f"the package {packages['debian']} (Debian, Ubuntu) or {packages.get('redhat', packages['debian'])} (Red Hat)"
    sudo = "" if user == "root" else "sudo "
    return f"{sudo}{_INSTALL[family]} {packages.get(family, packages['debian'])}"
