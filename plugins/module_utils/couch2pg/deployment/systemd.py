# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg as a systemd unit: the environment that systemd gives it, and files for it to be another one.

New values go where the unit's are: into its last environment file. A unit without one gets a file of its own (0600) and a
drop-in that names it, since everybody may see what stands in a unit.
"""

from __future__ import annotations

import glob
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

from ...common.errors import MigrationError
from ...host import kept_file
from ...host.programs import Answer, ask, locate
from ..settings import Settings, style_of, unwanted
from . import env_systemd, env_text
from .kinds import Deployment, Found, Plan

UNITS = Path("/etc/systemd/system")
FILES = Path("/etc/couch2pg")
DROP_IN = "50-couch2pg-migration.conf"
DROP_IN_MODE = 0o644
_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "Environment",
    "EnvironmentFiles",
    "UnsetEnvironment",
    "PassEnvironment",
    "WorkingDirectory",
    "ExecStart",
    "MainPID",
    "NRestarts",
    "ExecMainStartTimestampMonotonic",
    "FragmentPath",
    "DropInPaths",
    "User",
    "Group",
    "SupplementaryGroups",
    "DynamicUser",
)
_FILE = re.compile(r"^(.*) \(ignore_errors=(yes|no)\)$")
_COMMAND = re.compile(r"^\{ path=(.*?) ; argv\[\]=(.*?) ; ignore_errors=")
_NODE = re.compile(r"^node(js)?$")


@dataclass(frozen=True)
class Unit:
    """A unit as systemd has loaded it: its properties, each with all its lines."""

    name: str
    properties: Mapping[str, tuple[str, ...]]

    def one(self, name: str) -> str:
        """The property's last line; empty where it has none."""
        return (self.properties.get(name) or ("",))[-1]

    @property
    def loaded(self) -> bool:
        """Whether there is such a unit."""
        return self.one("LoadState") == "loaded"

    @property
    def running(self) -> bool:
        """Whether its process is there, or will be by systemd's own doing."""
        return self.one("ActiveState") not in ("", "inactive", "failed")

    @property
    def pid(self) -> int:
        """Its main process; 0 when it has none."""
        return int(self.one("MainPID") or 0)

    def files(self) -> list[tuple[str, bool]]:
        """Its environment files in order, as patterns, each with whether it may be missing."""
        lines = self.properties.get("EnvironmentFiles", ())
        matches = [match for match in map(_FILE.match, lines) if match]
        return [(match.group(1), match.group(2) == "yes") for match in matches]

    def own(self) -> dict[str, str]:
        """What its Environment= lines set."""
        words = env_systemd.shown_list(self.one("Environment"))
        return {name: value for name, _equals, value in (word.partition("=") for word in words)}

    def command(self) -> list[str]:
        """The command that it runs, its program's path first."""
        match = _COMMAND.match(self.one("ExecStart"))
        return [match.group(1), *match.group(2).split(" ")[1:]] if match else []


def show(name: str) -> Unit:
    """Ask systemd. Raises MigrationError ``unit_unreadable``."""
    answer = systemctl("show", "--no-pager", f"--property={','.join(_PROPERTIES)}", service(name))
    if answer.code != 0:
        raise MigrationError(
            f"systemd doesn't tell about the unit {name}: {answer.stderr or f'exit code {answer.code}'}. Is systemd in charge of "
            "this host? If not, set another kind in couch2pg_app.",
            "unit_unreadable",
            unit=name,
        )
    found: dict[str, tuple[str, ...]] = {}
    for line in answer.output.splitlines():
        key, equals, value = line.partition("=")
        # Before version 246 its lines had the singular.
        key = "EnvironmentFiles" if key == "EnvironmentFile" else key
        if equals and value:
            found[key] = (*found.get(key, ()), value)
    return Unit(name, found)


def service(name: str) -> str:
    """The unit's whole name."""
    return name if name.endswith(".service") else f"{name}.service"


def systemctl(*words: str, seconds: float = 120) -> Answer:
    """Ask systemctl, or tell it. Raises MigrationError ``program_hangs``."""
    program = locate("systemctl", "Is systemd in charge of this host? If not, set another kind in couch2pg_app.")
    try:
        return ask([program, *words], seconds=seconds)
    except subprocess.TimeoutExpired as error:
        raise MigrationError(
            f"systemctl {words[0]} didn't end within {seconds:.0f} s. See what systemd waits for: systemctl list-jobs.",
            "program_hangs",
        ) from error


def enablement(unit: str) -> str:
    """Whether it starts when the host boots, in systemd's word: enabled, disabled, static, masked ..."""
    # It ends with an error for most of them.
    return systemctl("is-enabled", service(unit)).output.strip()


def read(deployment: Deployment) -> Found:
    """Raises MigrationError ``deployment_missing`` where there is no such unit, ``not_readable`` for a file of it."""
    unit = _loaded(deployment.unit)
    parts = _parts(unit)
    variables = _effective(unit, parts)
    command = unit.command()
    named = [Path(word).name for word in command[:2]]
    node = command[0] if command and _NODE.match(named[0]) else ""
    problems = [kept_file.open_to_all(Path(path)) for path, _text in parts]
    passed = env_systemd.shown_list(unit.one("PassEnvironment"))
    if passed:
        problems.append(
            f"The unit {unit.name} takes {', '.join(passed)} from systemd's own environment (PassEnvironment=), which is not a "
            "part of its settings. Set them in the unit."
        )
    return Found(
        Settings(variables, style_of(variables)),
        unit.running,
        node=node,
        app_dir=_app_dir(unit.one("WorkingDirectory").lstrip("!-"), command),
        stale=_stale(unit.pid, variables),
        problems=tuple(filter(None, problems)),
    )


def plan(deployment: Deployment, settings: Settings) -> Plan:
    """The files for the unit to have exactly these settings."""
    unit = _loaded(deployment.unit)
    parts = _parts(unit)
    own_file = FILES / f"{service(unit.name)[: -len('.service')]}.env"
    last = unit.files()[-1][0] if unit.files() else ""
    path = Path(last) if last and not glob.has_magic(last) else own_file
    text = kept_file.read(path)
    elsewhere = unit.own()
    for other, content in parts:
        if Path(other) != path:
            elsewhere.update(env_text.values(env_systemd.parse(content)))
    here = env_text.values(env_systemd.parse(text or ""))
    wanted = {name: value for name, value in settings.variables.items() if name in here or elsewhere.get(name) != value}
    _refuse_unwritable(wanted)
    gone = unwanted({**elsewhere, **here}, settings.variables)
    after = env_text.changed(text or "", env_systemd.parse, wanted, gone)
    changes = [] if text is None and not after else [kept_file.Change(path, text, after)]
    drop_in = UNITS / f"{service(unit.name)}.d" / DROP_IN
    lines = [f"EnvironmentFile={path}"] if path == own_file and changes else []
    lines += [f"UnsetEnvironment={name}" for name in gone if name in elsewhere]
    before = kept_file.read(drop_in)
    if lines or before is not None:
        content = "# Written by cht.couch2pg: couch2pg's settings as they were before its move.\n[Service]\n"
        content += "".join(f"{line}\n" for line in lines)
        changes.append(kept_file.Change(drop_in, before, content, DROP_IN_MODE))
    return Plan(settings, tuple(changes))


def verify(deployment: Deployment, settings: Settings) -> None:
    """Let systemd read its files again, and ask it. Raises MigrationError ``settings_not_taken``."""
    reload()
    unit = _loaded(deployment.unit)
    have = _effective(unit, _parts(unit))
    wrong = sorted(name for name, value in settings.variables.items() if have.get(name) != value)
    wrong += unwanted(have, settings.variables)
    if wrong:
        raise MigrationError(
            f"The unit {unit.name} doesn't take {', '.join(wrong)} from what was written: another file or drop-in sets or unsets "
            f"it later. Look at systemctl cat {unit.name}, remove it there, and run again.",
            "settings_not_taken",
            variables=wrong,
        )


def reload() -> None:
    """Let systemd read its files again. Raises MigrationError ``systemctl_failed``."""
    answer = systemctl("daemon-reload")
    if answer.code != 0:
        raise MigrationError(
            f"systemctl daemon-reload failed: {answer.stderr or f'exit code {answer.code}'}. Become root, and run again.",
            "systemctl_failed",
        )


def _loaded(name: str) -> Unit:
    unit = show(name)
    if not unit.loaded:
        raise MigrationError(
            f"There is no systemd unit {name} on this host ({unit.one('LoadState') or 'unknown'}). Correct unit in couch2pg_app, or "
            "install couch2pg first.",
            "deployment_missing",
            unit=name,
        )
    return unit


def _parts(unit: Unit) -> list[tuple[str, str]]:
    """The files that its environment files' patterns lead to, in systemd's order, with their text."""
    found = []
    for pattern, optional in unit.files():
        paths = sorted(map(str, Path("/").glob(pattern.lstrip("/")))) if glob.has_magic(pattern) else [pattern]
        for path in paths:
            text = kept_file.read(Path(path))
            if text is not None:
                found.append((path, text))
            elif not optional:
                raise MigrationError(
                    f"The unit {unit.name} names {path}, which is not there: systemd won't start it. Create the file, or correct "
                    "EnvironmentFile= in the unit.",
                    "settings_missing",
                    path=path,
                )
    return found


def _effective(unit: Unit, parts: list[tuple[str, str]]) -> dict[str, str]:
    variables = unit.own()
    for _path, text in parts:
        variables.update(env_text.values(env_systemd.parse(text)))
    for word in env_systemd.shown_list(unit.one("UnsetEnvironment")):
        name, equals, value = word.partition("=")
        if not equals or variables.get(name) == value:
            variables.pop(name, None)
    return variables


def _stale(pid: int, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Which variables its process was started with other values of; none where that can't be seen."""
    try:
        block = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="surrogateescape") if pid else ""
    except OSError:
        return ()
    has = dict(entry.split("=", 1) for entry in block.split("\0") if "=" in entry)
    return tuple(name for name, value in variables.items() if has.get(name) != value) if has else ()


def _app_dir(folder: str, command: list[str]) -> str:
    """The closest folder with node_modules, of where it runs and of what it runs."""
    starts = [Path(folder)] if folder.startswith("/") else []
    starts += [Path(folder or "/", word) for word in command if not word.startswith("-")]
    for start in starts:
        for place in (start, *start.parents):
            if place != Path("/") and (place / "node_modules").is_dir():
                return str(place)
    return folder if folder.startswith("/") and folder != "/" else ""


def _refuse_unwritable(wanted: Mapping[str, str]) -> None:
    for name, value in wanted.items():
        if env_text.values(env_systemd.parse(env_text.quoted(name, value))) != {name: value}:
            raise MigrationError(
                f"systemd can't give {name} to couch2pg: its value or name has a character that systemd refuses. Remove it from the "
                "settings on the source.",
                "settings_unwritable",
                variable=name,
            )
