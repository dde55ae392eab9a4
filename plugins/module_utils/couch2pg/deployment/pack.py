# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs into a bundle of couch2pg: the parts of its deployment on the source, without its settings.

The source is only read.
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ...common.errors import MigrationError
from ...host import kept_file
from . import kinds, systemd, unit_text
from .bundle import Description
from .kinds import Deployment, Found
from .problems import node_version

COMPOSE_FILES = tuple(
    f"{name}{extra}.{ending}"
    for name in ("compose", "docker-compose")
    for extra in ("", ".override")
    for ending in ("yaml", "yml")
)
# Folders of a distribution's own Node.js, which must be installed as a package on the target.
_PACKAGED = ("/usr/bin", "/bin", "/usr/sbin", "/snap/bin")
# Not packed: settings, files with credentials of other tools, and logs, which may name patients.
_STAYS = re.compile(r"\.git|\.svn|\.npmrc|\.netrc|\.env|\.env\..*|.*\.env|.*\.env\.before-.*|.*\.log")
# Files are searched for secrets of at least this length: a shorter one may occur in a program by chance.
_TELLING = 8
_LARGEST_TEXT = 1 << 20


@dataclass
class Packed:
    """The content of a bundle, and the files of the application's folder that are left out."""

    description: Description
    node: Path | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def skip(self, path: Path) -> bool:
        """Whether to leave out a path of the application. A file with a password, and a link out of the folder, become problems."""
        if str(path) in map(os.path.realpath, self.description.env_files) or _STAYS.fullmatch(path.name):
            self.left_out.append(str(path))
            return True
        if path.is_symlink():
            self._tell_if_outside(path)
        elif path.is_file() and "node_modules" not in path.parts and _holds(path, self.secrets):
            self.left_out.append(str(path))
            self.problems.append(
                f"{path} holds a password of couch2pg's settings, and is left out. Copy it to the target yourself if couch2pg needs "
                "it."
            )
            return True
        return False

    def _tell_if_outside(self, link: Path) -> None:
        root, leads = Path(self.description.app_dir).resolve(), Path(os.path.realpath(link))
        if leads != root and root not in leads.parents:
            self.problems.append(
                f"{link} is a link to {leads}, which is not in the bundle. Check that the target has it, too."
            )


def look(deployment: Deployment, found: Found) -> Packed:
    """The content of a bundle of this deployment. Raises MigrationError ``bundle`` for a deployment that can't be packed."""
    # A password that equals a public name, such as the unit's, would make every file look secret.
    plain = {"couch2pg", deployment.unit, deployment.service, *Path(deployment.app_dir).parts}
    secrets = tuple(each for each in found.settings.secrets() if len(each) >= _TELLING and each not in plain)
    if deployment.kind == kinds.SYSTEMD:
        return _unit(deployment, found, secrets)
    if deployment.kind == kinds.COMPOSE:
        return _project(deployment, found, secrets)
    if deployment.kind == kinds.ENV_FILE:
        folder = _application(deployment)
        description = Description(deployment.kind, folder, env_files=(deployment.env_file,))
        return _with_node(Packed(description, secrets=secrets), found)
    raise kinds.missing(deployment)


def _unit(deployment: Deployment, found: Found, secrets: tuple[str, ...]) -> Packed:
    unit = systemd.show(deployment.unit)
    fragment = Path(unit.one("FragmentPath"))
    name = systemd.service(unit.name)
    texts = {fragment.name if "@" in name else name: _text(fragment, secrets)}
    for path in map(Path, unit.one("DropInPaths").split()):
        # couch2pg_settings writes its own drop-in on the target. Drop-ins in /run are temporary.
        ours = path.name == systemd.DROP_IN
        if path.parent.name == f"{fragment.stem}{fragment.suffix}.d" and path.parts[1] != "run" and not ours:
            text = _text(path, secrets)
            if unit_text.says_something(text):
                texts[f"{path.parent.name}/{path.name}"] = text
    user = "" if unit.one("DynamicUser") == "yes" else unit.one("User")
    groups = [unit.one("Group"), *unit.one("SupplementaryGroups").split()] if user else []
    command = unit.command()
    description = Description(
        deployment.kind,
        _application(deployment),
        unit=name,
        texts=texts,
        env_files=tuple(path for path, optional in unit.files() if not optional and not glob.has_magic(path)),
        program=command[0] if command else "",
        work_dir=unit.one("WorkingDirectory") if unit.one("WorkingDirectory").startswith("/") else "",
        user=user,
        groups=tuple(filter(None, groups)),
    )
    return _with_node(Packed(description, secrets=secrets), found)


def _project(deployment: Deployment, found: Found, secrets: tuple[str, ...]) -> Packed:
    if not deployment.project_dir:
        raise _refusal(
            f"The container {deployment.container} belongs to no folder with a compose file that is known here. If there is one, set "
            "couch2pg_app of the source: {kind: compose, project_dir: FOLDER}. If docker run made the container, install couch2pg on the "
            "target yourself, and set couch2pg_install: false."
        )
    if not found.image:
        raise _refusal(
            f"couch2pg's image is built in {deployment.project_dir}, and has no name under which another host could pull it. Give the "
            "service an image, or install couch2pg on the target yourself."
        )
    folder = Path(deployment.project_dir)
    named = deployment.compose_files or [name for name in COMPOSE_FILES if (folder / name).exists()]
    texts = {}
    for name in named:
        path = folder / name
        if folder not in path.parents or ".." in path.parts:
            raise _refusal(
                f"The compose file {path} is outside couch2pg's folder {folder}. Copy it to the target yourself, and set "
                "couch2pg_install: false."
            )
        texts[str(path.relative_to(folder))] = _text(path, secrets)
    env_files = tuple(str(folder / name) for name in deployment.env_files)
    description = Description(
        deployment.kind,
        texts=texts,
        env_files=env_files,
        project_dir=str(folder),
        service=deployment.service,
        image=found.image,
    )
    return Packed(description, secrets=secrets)


def _application(deployment: Deployment) -> str:
    folder = Path(deployment.app_dir)
    known = deployment.app_dir and folder.is_dir() and folder != Path("/")
    if known and any((folder / name).exists() for name in ("node_modules", "package.json")):
        return str(folder)
    raise _refusal(
        f"couch2pg's folder is unknown{f': {folder} has neither node_modules nor package.json' if known else ''}. Set it to the folder "
        "with node_modules (couch2pg_app.app_dir)."
    )


def _with_node(packed: Packed, found: Found) -> Packed:
    """Add the path of Node.js, and the program itself unless a package brings it."""
    if not found.node or not Path(found.node).is_absolute():
        return packed
    node, description = Path(found.node), packed.description
    version = ".".join(map(str, node_version(found)))
    inside = Path(description.app_dir) in node.parents
    if str(node.parent) not in _PACKAGED and not inside and node.is_file():
        packed.node = node
    packed.description = Description(**{**vars(description), "node": str(node), "node_version": version})
    return packed


def _text(path: Path, secrets: tuple[str, ...]) -> str:
    text = kept_file.read(path)
    if text is None:
        raise _refusal(f"{path} doesn't exist any more. Check couch2pg's deployment, and run again.")
    if path.suffix not in (".yml", ".yaml"):
        text = unit_text.without_settings(text)
    if any(secret in text for secret in secrets):
        raise _refusal(
            f"{path} itself holds a password of couch2pg's settings, which must not be copied with it. Move it to the environment file "
            "(.env for Compose), or install couch2pg on the target yourself."
        )
    return text


def _holds(path: Path, secrets: tuple[str, ...]) -> bool:
    if not secrets or path.stat().st_size > _LARGEST_TEXT:
        return False
    content = path.read_bytes()
    return any(secret.encode(errors="surrogateescape") in content for secret in secrets)


def _refusal(message: str) -> MigrationError:
    return MigrationError(message, "bundle")
