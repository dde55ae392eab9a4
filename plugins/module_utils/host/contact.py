# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first contact with a host, before any Python runs there: scripts for its shell, and what their answers mean.

``look_script`` runs as the user who logs in, ``use_script`` as each user that Ansible becomes.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Sequence

from ..common.findings import Findings
from .packages import PSYCOPG2_SINCE, install_command, psycopg2_command

BEGIN, END = "couch2pg-contact-begin", "couch2pg-contact-end"
# sudo prints "Sorry, user x is not allowed to execute '<script>' as y on z." The script has many lines, and Ansible drops the first one
# with the beginning of the message, so the end of the message is matched as well.
_NOT_ALLOWED = re.compile(
    r"not in the sudoers|not allowed to|may not run sudo|' as \S+ on \S+\s*$", re.IGNORECASE | re.MULTILINE
)
NO_PYTHON_REMEDY = "or set ansible_python_interpreter to one that is there"
PROGRAMS = ("pg_dump", "pg_restore", "rsync")
# A program that refuses a script may print it. So the script spells BEGIN and END in another way than its output (``_quoted``).
_LOOK = """echo {begin}
echo "user=$(id -un)"
for file in /etc/os-release /usr/lib/os-release; do
  if [ -r $file ]; then sed -n 's/^\\(ID\\|ID_LIKE\\)=/os.&/p' $file; break; fi
done
for name in {users}; do if id -u "$name" >/dev/null 2>&1; then echo "account=$name"; fi; done
if command -v sudo >/dev/null 2>&1; then echo sudo=yes; fi
for python in {pythons}; do
  path=$(command -v "$python" 2>/dev/null) || continue
  echo "python=$path $("$path" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"
  break
done
if [ -x /usr/bin/python3 ]; then echo "system=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"; fi
echo {end}"""
_USE = """echo {begin}
echo "user=$(id -un)"
if found=$({python} -c 'import psycopg2; print(psycopg2.__version__)' 2>/dev/null); then echo "psycopg2=$found"
elif {python} -c 'import psycopg' >/dev/null 2>&1; then echo psycopg=yes; fi
{path}for program in {programs}; do
  found=$(command -v "$program" 2>/dev/null) || continue
  if said=$("$program" --version 2>/dev/null); then echo "$program=$found"; echo "$program.version=$(echo "$said" | head -n 1)"; fi
done
echo {end}"""


@dataclass(frozen=True)
class Login:
    """How Ansible logs in to the host: the values of its variables, for messages."""

    transport: str
    host: str
    port: str = ""
    user: str = ""
    key: str = ""

    @property
    def tried(self) -> str:
        """The variables with the values that were tried."""
        values = {
            "ansible_host": self.host,
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": self.key,
        }
        return ", ".join(f"{name}: {value}" for name, value in values.items() if value)

    @property
    def by_hand(self) -> str:
        """The command that logs in without Ansible."""
        port = f" -p {self.port}" if self.port else ""
        key = f" -i {shlex.quote(self.key)}" if self.key else ""
        return f"ssh{port}{key} {self.user + '@' if self.user else ''}{self.host}"


@dataclass(frozen=True)
class Become:
    """A user that Ansible becomes, the name of the variable with that user, and the name of the variable that switches become on."""

    user: str
    user_variable: str
    become_variable: str


@dataclass
class Host:
    """What ``look_script`` found on a host.

    os_release: as ``packages.parse_os_release`` returns it. version: of the interpreter ``python``; system: of /usr/bin/python3.
    """

    user: str = ""
    os_release: dict[str, str] = field(default_factory=dict)
    accounts: list[str] = field(default_factory=list)
    sudo: bool = False
    python: str = ""
    version: str = ""
    system: str = ""


def look_script(users: Iterable[str], pythons: Iterable[str]) -> str:
    """The script that finds the distribution, accounts, sudo and Python of a host. It needs no rights."""
    return _LOOK.format(begin=_quoted(BEGIN), end=_quoted(END), users=_words(users), pythons=_words(pythons))


def use_script(python: str, bin_dir: str = "") -> str:
    """The script that finds which psycopg2 and programs its user can use. ``bin_dir``: folder of PostgreSQL's programs; empty for PATH."""
    path = f"PATH={shlex.quote(bin_dir)}:$PATH\n" if bin_dir else ""
    return _USE.format(
        begin=_quoted(BEGIN), end=_quoted(END), python=shlex.quote(python), path=path, programs=_words(PROGRAMS)
    )


def answers(output: str) -> dict[str, list[str]] | None:
    """The lines ``name=value`` of a script, or None when the script did not run to its end. Other output of the login is ignored."""
    _before, begun, rest = output.replace("\r", "").partition(BEGIN + "\n")
    lines, ended, _after = rest.partition(END)
    if not begun or not ended:
        return None
    found: dict[str, list[str]] = {}
    for line in lines.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found.setdefault(name, []).append(value)
    return found


def read_look(found: Mapping[str, list[str]]) -> Host:
    """The answers of ``look_script``."""
    python, _space, version = _first(found, "python").partition(" ")
    return Host(
        user=_first(found, "user"),
        os_release={name[3:].lower(): found[name][0].strip("\"'").lower() for name in found if name.startswith("os.")},
        accounts=found.get("account", []),
        sudo="sudo" in found,
        python=python,
        version=version,
        system=_first(found, "system"),
    )


def unreachable(findings: Findings, login: Login, said: str) -> None:
    """Add a failure: why the login failed, and the values that were tried."""
    reason = _last_line(said)
    remedies = (remedy for sign, remedy in _REMEDIES if re.search(sign, said, re.IGNORECASE))
    remedy = next(remedies, "Try it by hand: {by_hand}")
    if "sshpass" in said:
        findings.failure(
            "login",
            "A password for ssh needs sshpass on this machine. Install its package sshpass, or use a key "
            "(ansible_ssh_private_key_file).",
        )
        return
    findings.failure(
        "login",
        f"It can't be reached by {login.transport} ({login.tried}): {reason}. {remedy.format(by_hand=login.by_hand)}",
    )


def no_shell(findings: Findings, login: Login, said: str) -> None:
    """Add a failure: the login user has no shell."""
    reason = _last_line(said)
    findings.failure(
        "login",
        f"The login as {login.user or 'this user'} has no shell that runs commands ({reason}). Set ansible_user to another user, "
        "or give that one a shell (chsh).",
    )


def check_python(
    findings: Findings, host: Host, tried: Sequence[str], floor: tuple[int, int], core: str, is_source: bool
) -> bool:
    """Whether this Python can run Ansible's modules. ``tried``: names of interpreters; ``core``: version of ansible-core."""
    if not host.python:
        findings.failure(
            "Python",
            f"There is no Python ({', '.join(tried)}): {install_command('python3', host.os_release, host.user)}, {NO_PYTHON_REMEDY}.",
        )
        return False
    try:
        version = tuple(int(number) for number in host.version.split("."))
    except ValueError:
        findings.failure(
            "Python", f"{host.python} is not a Python that runs. Correct ansible_python_interpreter, or repair it."
        )
        return False
    if version >= floor:
        findings.ok("Python", f"{host.python}, version {host.version}")
        return True
    oldest = ".".join(map(str, floor))
    remedy = "Install a newer one beside it and set ansible_python_interpreter to that."
    if is_source:
        remedy += (
            " Or let another host read this database over the network: in the group couch2pg_source of the inventory, put in its place"
            " old-database: {ansible_host: HOST-WITH-NEWER-PYTHON, couch2pg_login_host: ADDRESS-OF-THIS-SERVER, couch2pg_login_user:"
            " postgres, couch2pg_login_password: PASSWORD}."
        )
    findings.failure(
        "Python",
        f"{host.python} is Python {host.version}, and ansible-core {core} needs {oldest} or newer on hosts. {remedy}",
    )
    return False


def check_account(findings: Findings, host: Host, become: Become) -> bool:
    """Whether the user to become exists; adds a failure if not."""
    if become.user not in host.accounts:
        findings.failure(
            "become",
            f"There is no user {become.user!r} to become ({become.user_variable}). Set {become.user_variable} to one that exists, "
            f"or {become.become_variable} to false, to work as {host.user}.",
        )
        return False
    return True


def refused_become(findings: Findings, host: Host, become: Become, method: str, said: str) -> None:
    """Add a failure: why Ansible could not become the user."""
    start = f"{host.user} can't become {become.user} ({become.user_variable}) with {method}"
    if method == "sudo" and not host.sudo:
        text = f"{start}, which is not installed: {install_command('sudo', host.os_release)} (as root)."
    elif re.search(r"incorrect .*password|sorry, try again|authentication failure", said, re.IGNORECASE):
        text = (
            f"{start}: the password was refused. Run again with --ask-become-pass, or correct ansible_become_password."
        )
    elif re.search(r"missing .*password|a password is required|a terminal is required", said, re.IGNORECASE):
        text = (
            f"{start} without a password. Run again with --ask-become-pass, or set ansible_become_password to a variable in "
            "Ansible Vault."
        )
    elif _NOT_ALLOWED.search(said):
        text = (
            f"{start}, because sudoers doesn't allow it. Have an administrator of the host run: "
            f"echo '{host.user} ALL=({become.user}) ALL' | sudo EDITOR='tee -a' visudo -f /etc/sudoers.d/couch2pg"
        )
    else:
        reason = _last_line(said)
        text = f"{start}: {reason}. Try it on the host: {method} -u {become.user} id"
    findings.failure("become", text)


def cannot_share(findings: Findings, host: Host, become: Become) -> None:
    """Add a failure: Ansible can't pass its files from one unprivileged user to another."""
    findings.failure(
        "become",
        f"{host.user} becomes {become.user}, and Ansible can't hand its files from one ordinary user to another here. Set "
        f"ansible_pipelining: true for this host, or install setfacl: {install_command('setfacl', host.os_release, host.user)}",
    )


def check_psycopg2(findings: Findings, host: Host, user: str, found: Mapping[str, list[str]]) -> None:
    """Whether ``user`` can import a psycopg2 that is new enough, according to the answers of ``use_script``."""
    version, needed = _number(_first(found, "psycopg2")), ".".join(map(str, PSYCOPG2_SINCE))
    if version and tuple(map(int, version.split("."))) >= PSYCOPG2_SINCE:
        findings.ok("psycopg2", f"version {version}, there for {user}")
        return
    if version:
        # A distribution with an older psycopg2 has no package of a newer one.
        findings.failure(
            "psycopg2",
            f"{host.python} has psycopg2 {version} for {user}, and {needed} or newer is needed: {host.python} -m pip install --upgrade "
            f"'psycopg2-binary>={needed}'",
        )
        return
    packaged = host.python.startswith("/usr/bin/")
    if packaged and host.version == host.system:
        command = install_command("psycopg2", host.os_release, host.user)
    else:
        beside = psycopg2_command(host.version, host.os_release, host.user) if packaged else ""
        command = beside or f"{host.python} -m pip install psycopg2-binary"
    other = ", and psycopg 3 does not take its place" if "psycopg" in found else ""
    findings.failure("psycopg2", f"{host.python} has no psycopg2 for {user}{other}: {command}")


def check_programs(
    findings: Findings, host: Host, user: str, found: Mapping[str, list[str]], programs: Iterable[str]
) -> None:
    """Report which of ``programs`` the user can run. A missing one is only a warning here: preflight knows which ones are required."""
    for program in programs:
        if program in found:
            version = _number(_first(found, f"{program}.version"))
            findings.ok(program, f"{found[program][0]}{', version ' if version else ''}{version}")
            continue
        command = install_command(program, host.os_release, host.user)
        where = "" if program == "rsync" else ", or set couch2pg_bin_dir to its folder"
        findings.warning(program, f"{program} is missing for {user}: {command}{where}.")


# Lines of ssh and of login programs that don't state the reason.
_BESIDE = re.compile(r"(Shared c|C)onnection to .* closed|Could not chdir to home directory")
_REMEDIES = (
    (
        r"host key verification failed|identification has changed",
        "Log in by hand once, and compare the key of the host: {by_hand}",
    ),
    (
        r"permission denied|authentication fail",
        "Check ansible_user and its key, or give its password with -k. By hand: {by_hand}",
    ),
    (r"resolve|name or service not known|nodename nor servname", "Correct ansible_host, or the name in the inventory."),
    (r"connection refused", "Check ansible_host and ansible_port, and that sshd runs there."),
    (
        r"timed out|timeout|no route to host|unreachable",
        "Check ansible_host, ansible_port and the network. By hand: {by_hand}",
    ),
)


def _quoted(word: str) -> str:
    return f"{word[:4]}''{word[4:]}"


def _last_line(said: str) -> str:
    """The last line of a program's messages that states a reason."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _BESIDE.match(line)]
    return lines[-1].rstrip(". ") if lines else "no answer"


def _first(found: Mapping[str, Any], name: str) -> str:
    return str((found.get(name) or [""])[0])


def _number(said: str) -> str:
    """The first version number in a program's output; empty without one."""
    found = re.search(r"\d+(\.\d+)*", said)
    return found.group() if found else ""


def _words(names: Iterable[str]) -> str:
    return " ".join(shlex.quote(name) for name in names if name) or "''"
