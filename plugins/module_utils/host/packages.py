# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distributions' packages of programs that a host may lack, and the commands that install them."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, Mapping

# The oldest psycopg2 with encrypt_password and the attributes of cursor.description.
PSYCOPG2_SINCE = (2, 8)
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
# The name of each program's package on Debian, and on other families where it differs.
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
# The families as Ansible's facts name them.
_BY_FACT = {"Debian": "debian", "RedHat": "redhat", "Suse": "suse", "Alpine": "alpine"}
# The default Python of Red Hat's distributions, by their major version. Other versions can be installed beside it.
_RED_HATS_PYTHON = {"8": "3.6", "9": "3.9", "10": "3.12"}
# RHEL 8 has these as modules, whose package names contain no dot (python39).
_UNDOTTED = ("3.8", "3.9")


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


def wanted(
    programs: Iterable[str], family: str, *, release: str = "", python: str = "", client_major: int = 0
) -> list[str]:
    """The packages of ``programs`` (and of psycopg2) on a distribution of the ``family`` that Ansible's facts name.

    release: major version of the distribution. python: version of the Python that needs psycopg2, as ``3.9``.
    client_major: of PostgreSQL's client programs, which then come from PostgreSQL's own repository; 0 for the distribution's.
    The result is empty for an unknown family.
    """
    known = _BY_FACT.get(family, "")
    found = []
    for program in programs if known else ():
        name = _SAME.get(program, program)
        package = _PACKAGES[name].get(known, _PACKAGES[name]["debian"])
        if name == "pg_dump" and client_major:
            package += f"-{client_major}" if known == "debian" else str(client_major)
        own = _RED_HATS_PYTHON.get(release, python)
        if name == "psycopg2" and known == "redhat" and python and python != own:
            package = _psycopg2_beside(python)
        found.append(package)
    return list(dict.fromkeys(found))


def psycopg2_command(version: str, os_release: Mapping[str, str], user: str) -> str:
    """The command that installs psycopg2 for a packaged Python ``version`` beside the distribution's; empty where there is no package."""
    if _family(os_release) != "redhat":
        return ""
    return f"{'' if user == 'root' else 'sudo '}{_INSTALL['redhat']} {_psycopg2_beside(version)}"


def _psycopg2_beside(python: str) -> str:
    return f"python{python.replace('.', '') if python in _UNDOTTED else python}-psycopg2"


def _family(os_release: Mapping[str, str]) -> str:
    names = [os_release.get("id", ""), *os_release.get("id_like", "").split()]
    return next((_FAMILIES[known] for known in names if known in _FAMILIES), "")


def install_command(name: str, os_release: Mapping[str, str], user: str = "root") -> str:
    """The command that installs ``name``, a program or psycopg2, for ``user``; for an unknown distribution, the package names."""
    family = _family(os_release)
    packages = _PACKAGES[_SAME.get(name, name)]
    if not family:
        return f"the package {packages['debian']} (Debian, Ubuntu) or {packages.get('redhat', packages['debian'])} (Red Hat)"
    sudo = "" if user == "root" else "sudo "
    return f"{sudo}{_INSTALL[family]} {packages.get(family, packages['debian'])}"
