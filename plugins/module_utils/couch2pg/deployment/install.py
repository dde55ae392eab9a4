# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install couch2pg from a bundle. Existing files are never overwritten, and nothing is started."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Mapping

from ...common.errors import MigrationError
from ...host import kept_file, system_account
from ...host.compose import Compose
from ...host.files import fsync_path, remove_tree
from ..settings import Settings
from . import discovery, kinds, systemd
from .bundle import Bundle, Description, copy, same
from .kinds import Deployment, Found
from .pack import COMPOSE_FILES
from .problems import node_version

_TEXT_MODE = 0o644


@dataclass(frozen=True)
class Installation:
    """What this host lacks of the bundle's couch2pg."""

    bundle: Bundle
    description: Description
    deployment: Deployment
    files: tuple[kept_file.Change, ...]
    accounts: tuple[list[str], ...]
    application: bool
    node: bool
    work_dir: bool

    @property
    def needed(self) -> bool:
        """Whether anything is missing."""
        return bool(self.files or self.accounts or self.application or self.node or self.work_dir)

    def made(self) -> list[str]:
        """The files and folders that are missing."""
        listed = [str(change.path) for change in self.files]
        listed += [self.description.app_dir] if self.application else []
        listed += [self.description.work_dir] if self.work_dir else []
        return sorted([*listed, self.description.node] if self.node else listed)


def plan(path: Path, options: Mapping[str, Any]) -> Installation:
    """What this host lacks. ``options`` is the operator's description of the deployment on this host.

    Raises MigrationError ``install_differs`` when existing files differ from the bundle's.
    """
    bundle = Bundle(path)
    description = _named(bundle.description(), options)
    _refuse_another(description, options)
    folder = Path(description.project_dir) if description.kind == kinds.COMPOSE else systemd.UNITS
    files = [kept_file.plan(folder / _inside(name), text, _TEXT_MODE) for name, text in description.texts.items()]
    differs = [str(change.path) for change in files if change.before is not None and change.needed]
    # couch2pg_settings writes their content later.
    named = description.env_files if description.kind != kinds.ENV_FILE else ()
    files += [kept_file.Change(Path(name), None, "") for name in named if not Path(name).exists()]
    application = bool(description.app_dir) and not Path(description.app_dir).exists()
    if description.app_dir and not application:
        differs += _differing(bundle, Path(description.app_dir))
    if differs:
        more = f" and {len(differs) - 3} more" if len(differs) > 3 else ""
        raise MigrationError(
            f"This host has another couch2pg than the source, or a part of one: {', '.join(differs[:3])}{more} differ. Nothing is "
            "overwritten. Move these files away; or set couch2pg_install: false to use the couch2pg that is installed here.",
            "install_differs",
            paths=differs[:100],
        )
    work_dir = description.work_dir
    inside = bool(description.app_dir) and Path(description.app_dir) in (Path(work_dir), *Path(work_dir).parents)
    return Installation(
        bundle,
        description,
        _deployment(description, options),
        tuple(change for change in files if change.needed),
        tuple(system_account.missing(description.user, description.groups)),
        application,
        bool(description.node) and not Path(description.node).exists() and any(True for _content in bundle.node),
        bool(work_dir) and not inside and not Path(work_dir).exists(),
    )


def apply(installation: Installation, migration_id: str) -> None:
    """Install what is missing; the unit's file last, so that systemd knows no incomplete couch2pg."""
    description = installation.description
    system_account.make(installation.accounts)
    try:
        if installation.application:
            _unpack(installation.bundle, Path(description.app_dir))
        if installation.node:
            _put_node(installation.bundle, Path(description.node))
        if installation.work_dir:
            make_folder(Path(description.work_dir), description.user)
    except OSError as error:
        raise MigrationError(
            f"couch2pg can't be installed: {error.filename or description.app_dir}: {error.strerror or error}. Free disk space, or become "
            "a user who may write there (root), and run again.",
            "not_writable",
        ) from error
    for change in reversed(installation.files):
        change.apply(migration_id)
    if description.kind == kinds.SYSTEMD:
        systemd.reload()


def missing_programs(description: Description) -> list[str]:
    """Missing programs without which couch2pg can't start, each with what to do."""
    node, program = description.node, description.program
    listed = []
    if node and not _version(node):
        listed.append(
            f"couch2pg runs on {node} (Node.js {description.node_version or 'of an unknown version'}), which this host lacks or can't "
            "run. Install Node.js of the same major version there, and run again."
        )
    elif program and not os.access(program, os.X_OK):
        listed.append(f"couch2pg's unit runs {program}, which this host lacks. Copy it from the source, and run again.")
    return listed


def problems(description: Description) -> list[str]:
    """What differs on this host, each with what to do."""
    listed = []
    here = _version(description.node) if description.node else ()
    if here and description.node_version and str(here[0]) != description.node_version.partition(".")[0]:
        listed.append(
            f"{description.node} is Node.js {'.'.join(map(str, here))} here and {description.node_version} on the source. Install "
            "the same major version."
        )
    if description.user.isdigit() and system_account.ids(description.user) is None:
        listed.append(
            f"couch2pg's unit runs as the user number {description.user}, which this host lacks. Create that user."
        )
    if description.image:
        listed.append(
            f"This host needs the image {description.image}, which was not pulled. Check that Docker can get it: "
            f"docker pull {description.image}"
        )
        listed += _compose_says(description)
    return listed


def _compose_says(description: Description) -> list[str]:
    try:
        Compose(Path(description.project_dir), _unusual(description), description.env_files).config()
    except MigrationError as error:
        return [error.message]
    return []


def _named(description: Description, options: Mapping[str, Any]) -> Description:
    """The description, with the folder that the operator named on this host, where the deployment allows another one."""
    named = kinds.from_options(options)
    if named.kind not in (kinds.AUTO, kinds.NONE, description.kind):
        raise MigrationError(
            f"couch2pg's deployment has the kind {description.kind} on the source, but couch2pg_app says {named.kind} for this host, which "
            "couch2pg_install can't convert. Correct couch2pg_app, or install couch2pg here yourself.",
            "deployment",
        )
    if description.kind == kinds.COMPOSE and named.project_dir and named.project_dir != description.project_dir:
        files = tuple(
            str(Path(named.project_dir, Path(name).relative_to(description.project_dir)))
            for name in description.env_files
        )
        return replace(description, project_dir=named.project_dir, env_files=files)
    if description.kind == kinds.ENV_FILE and named.app_dir:
        return replace(description, app_dir=named.app_dir)
    return description


def _refuse_another(description: Description, options: Mapping[str, Any]) -> None:
    """Refuse another couch2pg on this host, because both would write to one database."""
    if kinds.from_options(options).kind not in (kinds.AUTO, kinds.NONE):
        return
    found = discovery.find({**options, "kind": kinds.AUTO})
    same_place = {
        kinds.SYSTEMD: systemd.service(found.unit) == description.unit,
        kinds.COMPOSE: found.project_dir == description.project_dir,
    }
    if found.kind == kinds.NONE or (found.kind == description.kind and same_place.get(found.kind, True)):
        return
    where = (
        f"the unit {found.unit}"
        if found.kind == kinds.SYSTEMD
        else found.project_dir or found.container or found.env_file
    )
    remove = "Remove it"
    if found.kind == kinds.SYSTEMD:
        unit = systemd.show(found.unit)
        path, name = unit.one("FragmentPath"), systemd.service(found.unit)
        # A unit file outside of /etc belongs to a package. It is masked, not removed.
        gone = f"rm {path}; systemctl daemon-reload" if path.startswith("/etc/") else f"systemctl mask {name}"
        remove = f"Remove it, as root: systemctl disable --now {name}; {gone}"
    raise MigrationError(
        f"This host already has another couch2pg: {where} ({found.kind}). To use it, set couch2pg_install: false. {remove}",
        "install_differs",
        paths=[where],
    )


def _deployment(description: Description, options: Mapping[str, Any]) -> Deployment:
    """The deployment on this host after the installation."""
    named = kinds.from_options({**options, "kind": kinds.AUTO})
    if description.kind == kinds.SYSTEMD:
        return replace(
            named, kind=description.kind, unit=description.unit[: -len(".service")], app_dir=description.app_dir
        )
    if description.kind == kinds.COMPOSE:
        return replace(
            named,
            kind=description.kind,
            project_dir=description.project_dir,
            service=description.service,
            compose_files=_unusual(description),
        )
    return replace(named, kind=description.kind, app_dir=description.app_dir)


def _unusual(description: Description) -> tuple[str, ...]:
    """The compose files, when Compose doesn't find them by their names."""
    return tuple(description.texts) if any(name not in COMPOSE_FILES for name in description.texts) else ()


def _inside(name: str) -> Path:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise MigrationError(
            f"The bundle of couch2pg contains a file {name} with a path outside its folder.", "damaged_file"
        )
    return path


def _differing(bundle: Bundle, folder: Path) -> list[str]:
    """Paths of the application that differ on this host. Additional files here don't count."""
    found = []
    for member in bundle.application():
        path = folder / member.name
        if member.info.issym():
            alike = path.is_symlink() and os.readlink(path) == member.info.linkname
        elif member.content is not None:
            alike = path.is_file() and path.stat().st_size == member.info.size and same(member.content, path)
        else:
            alike = path.is_dir()
        if not alike:
            found.append(str(path))
    return found


def _unpack(bundle: Bundle, folder: Path) -> None:
    """Unpack the application beside its folder, and rename it when it is complete."""
    _parents(folder)
    beside = _beside(folder)
    remove_tree(beside)
    try:
        folders = []
        for member in bundle.application():
            path = beside / member.name if member.name else beside
            if member.info.issym():
                path.symlink_to(member.info.linkname)
            elif member.content is not None:
                copy(member.content, path)
                path.chmod(member.info.mode)
            else:
                path.mkdir(mode=0o700)
                folders.append((path, member.info.mode))
            _give(path, member.info.uname)
            if not member.info.issym():
                os.utime(path, (member.info.mtime, member.info.mtime))
        # A folder may be read-only: it gets its mode after its content.
        for path, mode in reversed(folders):
            path.chmod(mode)
        # Files are synced already, folders are not.
        for path, _mode in folders:
            fsync_path(path)
        beside.rename(folder)
    finally:
        remove_tree(beside)
    fsync_path(folder.parent)


def _put_node(bundle: Bundle, path: Path) -> None:
    for content in bundle.node:
        put_file(content, path, 0o755)


def put_file(content: IO[bytes], path: Path, mode: int) -> None:
    """Write a new file beside ``path``, and rename it when it is complete."""
    _parents(path)
    beside = _beside(path)
    beside.unlink(missing_ok=True)
    try:
        copy(content, beside)
        beside.chmod(mode)
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
    fsync_path(path.parent)


def make_folder(path: Path, user: str) -> None:
    """Make a new folder that belongs to this user. It gets its name last, because the next run accepts any folder of that name."""
    _parents(path)
    beside = _beside(path)
    remove_tree(beside)
    beside.mkdir(mode=0o755)
    _give(beside, user)
    beside.rename(path)


def _beside(path: Path) -> Path:
    """The temporary path at which a file or folder is made. The callers remove what a killed run has left there."""
    return path.with_name(f".{path.name}.couch2pg-unpacked")


def _parents(path: Path) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)


def _give(path: Path, user: str) -> None:
    """Give the path to that user; to root when this host lacks the user."""
    if os.geteuid() == 0:
        owner = system_account.ids(user) if user else None
        os.lchown(path, *(owner or (0, 0)))


def _version(node: str) -> tuple[int, ...]:
    return node_version(Found(Settings({}), False, node=node))
