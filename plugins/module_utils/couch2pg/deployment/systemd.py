# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg as a systemd unit: the environment that systemd gives it, and the files that change this environment.

New values go into the unit's last environment file. A unit without one gets a file (0600) and a drop-in that names this file,
because every user may read a unit.
"""

from __future__ import annotations

import glob
import re
import shlex
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
    "Id",
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
    """A unit as systemd has loaded it. ``properties`` has the lines of each property."""

    name: str
    properties: Mapping[str, tuple[str, ...]]

    def one(self, name: str) -> str:
        """The property's last line; empty without one."""
        return (self.properties.get(name) or ("",))[-1]

    @property
    def exists(self) -> bool:
        """Whether there is such a unit, even one that systemd can't load."""
        return self.one("LoadState") not in ("", "not-found")

    @property
    def masked(self) -> bool:
        """Whether systemd refuses to start it because it is masked."""
        return self.one("LoadState") == "masked"

    @property
    def loaded(self) -> bool:
        """Whether systemd can start it."""
        return self.one("LoadState") == "loaded"

    @property
    def running(self) -> bool:
        """Whether its process runs, or systemd is about to start it."""
        return self.one("ActiveState") not in ("", "inactive", "failed")

    @property
    def pid(self) -> int:
        """The number of its main process; 0 without one."""
        return int(self.one("MainPID") or 0)

    def files(self) -> list[tuple[str, bool]]:
        """The patterns of its environment files in order, each with whether the file may be missing."""
        lines = self.properties.get("EnvironmentFiles", ())
        matches = [match for match in map(_FILE.match, lines) if match]
        return [(match.group(1), match.group(2) == "yes") for match in matches]

    def own(self) -> dict[str, str]:
        """The variables in its Environment= lines."""
        words = env_systemd.shown_list(self.one("Environment"))
        return {name: value for name, _equals, value in (word.partition("=") for word in words)}

    def command(self) -> list[str]:
        """The command that it runs, starting with the path of the program."""
        match = _COMMAND.match(self.one("ExecStart"))
        return [match.group(1), *match.group(2).split(" ")[1:]] if match else []


def show(name: str) -> Unit:
    """Read a unit. Raises MigrationError ``unit_unreadable``."""
    answer = systemctl("show", "--no-pager", f"--property={','.join(_PROPERTIES)}", service(name))
    if answer.code != 0:
        raise MigrationError(
            f"systemctl can't show the unit {name}: {answer.stderr or f'exit code {answer.code}'}. {_refused()}",
            "unit_unreadable",
            unit=name,
        )
    found: dict[str, tuple[str, ...]] = {}
    for line in answer.output.splitlines():
        key, equals, value = line.partition("=")
        # Before version 246 systemd printed the singular.
        key = "EnvironmentFiles" if key == "EnvironmentFile" else key
        if equals and value:
            found[key] = (*found.get(key, ()), value)
    return Unit(name, found)


def is_init() -> bool:
    """Whether systemd is the init system of this host: sd_booted(3) tests the same folder."""
    return Path("/run/systemd/system").is_dir()


def _refused() -> str:
    if not is_init():
        return "systemd is not the init system of this host: set another kind in couch2pg_app."
    return "Set couch2pg_app_become: true for this host; or couch2pg_app: {kind: none}, if no couch2pg runs here. Then run again."


def service(name: str) -> str:
    """The unit's full name."""
    return name if name.endswith(".service") else f"{name}.service"


def status_command(name: str) -> str:
    """The command that shows a person the state of a unit and the end of its log."""
    return f"systemctl status --no-pager --full --lines=50 {service(name)}"


def systemctl(*words: str, seconds: float = 120) -> Answer:
    """Run systemctl. Raises MigrationError ``program_hangs``."""
    program = locate("systemctl", "If systemd is not the init system of this host, set another kind in couch2pg_app.")
    try:
        return ask([program, *words], seconds=seconds)
    except subprocess.TimeoutExpired as error:
        raise MigrationError(
            f"systemctl {words[0]} didn't end within {seconds:.0f} s. systemctl list-jobs --before shows what systemd waits for. Remove "
            "the cause, then run again.",
            "program_hangs",
        ) from error


def enablement(unit: str) -> str:
    """Whether the unit starts at boot, in systemd's words: enabled, disabled, static, masked ..."""
    # systemctl ends with an error for most of these words.
    return systemctl("is-enabled", service(unit)).output.strip()


def read(deployment: Deployment) -> Found:
    """Read the deployment.

    Raises MigrationError ``deployment_missing`` when the unit doesn't exist, ``not_readable`` for one of its files.
    """
    unit = loaded_unit(deployment.unit)
    parts = _parts(unit)
    variables = _effective(unit, parts)
    command = unit.command()
    named = [Path(word).name for word in command[:2]]
    node = command[0] if command and _NODE.match(named[0]) else ""
    problems = [kept_file.open_to_all(Path(path)) for path, _text in parts]
    passed = env_systemd.shown_list(unit.one("PassEnvironment"))
    if passed:
        problems.append(
            f"The unit {unit.name} takes {', '.join(passed)} from systemd's own environment (PassEnvironment=), which a migration "
            "can't read. Set them in the unit."
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
    """The changes of files that give the unit exactly these settings."""
    unit = loaded_unit(deployment.unit)
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
        content = "# Written by cht.couch2pg: couch2pg's settings from the source of its migration.\n[Service]\n"
        content += "".join(f"{line}\n" for line in lines)
        changes.append(kept_file.Change(drop_in, before, content, DROP_IN_MODE))
    return Plan(settings, tuple(changes))


def verify(deployment: Deployment, settings: Settings) -> None:
    """Reload systemd, and check that the unit has these settings. Raises MigrationError ``settings_not_taken``."""
    reload()
    unit = loaded_unit(deployment.unit)
    have = _effective(unit, _parts(unit))
    wrong = sorted(name for name, value in settings.variables.items() if have.get(name) != value)
    wrong += unwanted(have, settings.variables)
    if wrong:
        raise MigrationError(
            f"The unit {unit.name} doesn't use the written value of {', '.join(wrong)}: another file or drop-in sets or unsets it "
            f"later. Find that with systemctl --no-pager cat {shlex.quote(service(unit.name))}, remove it, and run again.",
            "settings_not_taken",
            variables=wrong,
        )


def reload() -> None:
    """Reload systemd. Raises MigrationError ``systemctl_failed``."""
    answer = systemctl("daemon-reload")
    if answer.code != 0:
        raise MigrationError(
            f"systemctl daemon-reload failed: {answer.stderr or f'exit code {answer.code}'}. Become root, and run again.",
            "systemctl_failed",
        )


def loaded_unit(name: str) -> Unit:
    """The unit. Raises MigrationError ``deployment_missing``, ``unit_masked`` or ``unit_not_loaded`` for one that can't be started."""
    unit = show(name)
    if not unit.exists:
        raise MigrationError(
            f"There is no systemd unit {name} on this host. Correct unit in couch2pg_app, or install couch2pg first.",
            "deployment_missing",
            unit=name,
        )
    if unit.masked:
        raise MigrationError(
            f"The systemd unit {name} is masked, so that systemd can't start it. As root: systemctl unmask {service(name)}",
            "unit_masked",
            unit=name,
        )
    if not unit.loaded:
        raise MigrationError(
            f"systemd can't load the unit {name} ({unit.one('LoadState')}). {status_command(name)} shows what is wrong. Correct that, "
            "run systemctl daemon-reload, then run again.",
            "unit_not_loaded",
            unit=name,
        )
    return unit


def _parts(unit: Unit) -> list[tuple[str, str]]:
    """Path and text of each environment file, in systemd's order."""
    found = []
    for pattern, optional in unit.files():
        paths = sorted(map(str, Path("/").glob(pattern.lstrip("/")))) if glob.has_magic(pattern) else [pattern]
        for path in paths:
            text = kept_file.read(Path(path))
            if text is not None:
                found.append((path, text))
            elif not optional:
                raise MigrationError(
                    f"The unit {unit.name} names {path}, which doesn't exist, so that systemd can't start it. Create the file, or correct "
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
    """Variables of which the process has other values; none when its environment can't be read."""
    try:
        block = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="surrogateescape") if pid else ""
    except OSError:
        return ()
    has = dict(entry.split("=", 1) for entry in block.split("\0") if "=" in entry)
    return tuple(name for name, value in variables.items() if has.get(name) != value) if has else ()


def _app_dir(folder: str, command: list[str]) -> str:
    """The nearest folder with node_modules, starting at the working directory and at the paths of the command."""
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
                f"systemd refuses the name or value of {name}, because of a character in it. Remove that variable from the settings on the "
                "source.",
                "settings_unwritable",
                variable=name,
            )
