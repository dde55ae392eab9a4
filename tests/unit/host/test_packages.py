# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of packages on the distributions that no test can run on."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.filter.packages import FilterModule
from ansible_collections.cht.couch2pg.plugins.module_utils.host.packages import (
    install_command,
    parse_os_release,
    psycopg2_command,
    wanted,
)

ALL = ["psycopg2", "rsync", "ssh", "pg_dump", "pg_restore"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"family": "Debian"}, ["python3-psycopg2", "rsync", "openssh-client", "postgresql-client"]),
        ({"family": "Debian", "client_major": 17}, ["python3-psycopg2", "rsync", "openssh-client", "postgresql-client-17"]),
        ({"family": "RedHat", "release": "9", "python": "3.9"}, ["python3-psycopg2", "rsync", "openssh-clients", "postgresql"]),
        ({"family": "RedHat", "release": "9", "client_major": 17}, ["python3-psycopg2", "rsync", "openssh-clients", "postgresql17"]),
        # Ansible needs another Python than the one of the distribution.
        ({"family": "RedHat", "release": "8", "python": "3.12"}, ["python3.12-psycopg2", "rsync", "openssh-clients", "postgresql"]),
        ({"family": "RedHat", "release": "8", "python": "3.9"}, ["python39-psycopg2", "rsync", "openssh-clients", "postgresql"]),
        ({"family": "RedHat", "release": "10", "python": "3.12"}, ["python3-psycopg2", "rsync", "openssh-clients", "postgresql"]),
        ({"family": "Suse"}, ["python3-psycopg2", "rsync", "openssh-clients", "postgresql"]),
        ({"family": "Alpine"}, ["py3-psycopg2", "rsync", "openssh-client", "postgresql-client"]),
        ({"family": "Archlinux"}, []),
    ],
)  # fmt: skip
def test_what_is_wanted(facts: dict[str, Any], expected: list[str]) -> None:
    assert wanted(ALL, **facts) == expected


def test_by_the_facts_of_a_host() -> None:
    facts = {
        "os_family": "RedHat",
        "distribution_major_version": "8",
        "python": {"version": {"major": 3, "minor": 11, "micro": 9}},
    }
    packages = FilterModule().filters()["packages"]
    assert packages(facts) == ["python3.11-psycopg2", "rsync", "openssh-clients"]
    assert packages(facts, client=True, client_major=16)[-1] == "postgresql16"


@pytest.mark.parametrize(
    ("os_release", "program", "user", "command"),
    [
        ('ID="rhel"\nID_LIKE="fedora"', "psycopg2", "root", "dnf install -y python3-psycopg2"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"', "pg_restore", "me", "sudo dnf install -y postgresql"),
        ('ID="ol"', "ssh-keygen", "root", "dnf install -y openssh-clients"),
        ("ID=ubuntu\nID_LIKE=debian", "setfacl", "me", "sudo apt-get install -y acl"),
        ("ID=opensuse-leap\nID_LIKE='suse opensuse'", "rsync", "root", "zypper install -y rsync"),
        ("ID=alpine", "psycopg2", "root", "apk add py3-psycopg2"),
        ("ID=void", "pg_dump", "root", "the package postgresql-client (Debian, Ubuntu) or postgresql (Red Hat)"),
    ],
)
def test_the_command_that_installs_it(os_release: str, program: str, user: str, command: str) -> None:
    assert install_command(program, parse_os_release(os_release), user) == command


def test_psycopg2_beside_the_python_of_red_hat() -> None:
    red_hat, debian = parse_os_release("ID=almalinux"), parse_os_release("ID=debian")
    assert psycopg2_command("3.12", red_hat, "me") == "sudo dnf install -y python3.12-psycopg2"
    assert psycopg2_command("3.9", red_hat, "root") == "dnf install -y python39-psycopg2"
    assert psycopg2_command("3.12", debian, "root") == ""
