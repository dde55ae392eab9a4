# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of throw-away hosts, one for each suite of a distribution, and of couch2pg as a container.

Each is made once, and again when what it is made of changes.

``COUCH2PG_BASE_IMAGE`` names the image that they stand on, ``{suite}`` in it stands for the suite: ``debian:{suite}``.
Without it a base is made of Debian's packages, so that no container registry is needed. ``COUCH2PG_POSTGRESQL`` names
the package of PostgreSQL (``postgresql``, which is the suite's own version, unless the base image knows others).

    python -m support.images SUITE...
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterable, Iterator, Mapping

from . import node
from .docker_engine import INSTALLER, Engine, engine
from .places import CACHE, ROOT, SupportError

REPOSITORY = "cht-couch2pg"
LABEL = "cht.couch2pg.made-of"
RECIPE = ROOT / "tests" / "images"
APPLICATION = ROOT / "tests" / "couch2pg"
MIRROR = "http://deb.debian.org/debian"
# The suite whose packages of both versions of Compose can be had on one host.
COMPOSE_SUITE = "bookworm"
# The packages of PostgreSQL in a suite, where they are wanted beside those of another one.
POSTGRESQL = {"bullseye": "postgresql-13", "bookworm": "postgresql-15"}
# Their Node.js can't run the new driver of PostgreSQL; their PostgreSQL stores passwords as the old one wants them.
OLD_SUITES = ("bullseye",)
BUILD_SECONDS = 1800


def image(docker: Engine, suite: str, *, compose: bool = False, before: str = "") -> str:
    """The name of a suite's image, which is made first if need be; before: a suite whose PostgreSQL is there, too.

    Raises ``SupportError`` when it can't be made.
    """
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "images.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = _host(docker, suite)
        if before:
            return _with_postgresql_of(docker, before, suite, made)
        return _with_compose(docker, suite, made) if compose else made


def application(docker: Engine) -> str:
    """The name of couch2pg's own image, which is made first if need be. Raises ``SupportError`` when it can't be."""
    host = image(docker, COMPOSE_SUITE)
    with (CACHE / "images.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        name = f"{REPOSITORY}:{COMPOSE_SUITE}"
        files = {"Dockerfile": RECIPE / "couch2pg", "entrypoint": APPLICATION / "entrypoint"}
        arguments = {"HOST": host, "BASE": _ground(docker, COMPOSE_SUITE)}
        _add(docker, name, host, files, arguments)
    return name


def postgres(docker: Engine, suite: str) -> str:
    """The name of an image with the suite's PostgreSQL, as couch2pg's stock deployment has one; it is made first if need be."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "images.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        name = f"{REPOSITORY}-postgres:{suite}"
        files = {"Dockerfile": RECIPE / "postgres", "postgres-entrypoint": RECIPE / "postgres-entrypoint"}
        ground = _ground(docker, suite)
        _add(docker, name, ground, files, {"BASE": ground})
    return name


def _host(docker: Engine, suite: str) -> str:
    name = f"{REPOSITORY}-host:{suite}"
    base = _named_base(suite)
    postgresql = os.environ.get("COUCH2PG_POSTGRESQL", "postgresql")
    old = suite in OLD_SUITES
    lock = (APPLICATION / "stock" if old else APPLICATION) / "package-lock.json"
    program = [*sorted(APPLICATION.glob("*.js")), *sorted((APPLICATION / "migrations").rglob("*.sql"))]
    recipe = [RECIPE / "Dockerfile", RECIPE / "provision"]
    stamp = _stamp([suite, base, postgresql], [*recipe, lock, *program])
    if _is(docker, name, stamp):
        return name
    with _saying(f"image {name}"):
        packages = (node.stock() if old else node.new()).packages
        with tempfile.TemporaryDirectory(dir=CACHE) as context:
            for path in recipe:
                shutil.copy(path, context)
            # Links, not copies: what is sent to the daemon is an archive of it.
            shutil.copytree(packages, Path(context) / "couch2pg" / "node_modules", copy_function=os.link, symlinks=True)
            for path in program:
                place = Path(context) / "couch2pg" / "app" / path.relative_to(APPLICATION)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)
            _build(docker, Path(context), name, stamp, {"BASE": _ground(docker, suite), "POSTGRESQL": postgresql})
    return name


def _named_base(suite: str) -> str:
    return os.environ.get("COUCH2PG_BASE_IMAGE", "").replace("{suite}", suite)


def _ground(docker: Engine, suite: str) -> str:
    return _named_base(suite) or base(docker, suite)


def base(docker: Engine, suite: str) -> str:
    """The name of an image with the packages that every system of the suite has; it is made first if need be."""
    name = f"{REPOSITORY}-base:{suite}"
    if _is(docker, name, stamp := _stamp([suite], [])):
        return name
    if shutil.which("mmdebstrap") is None:
        subprocess.run(INSTALLER, check=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, (Path(folder) / "log").open("w+", encoding="utf-8") as log:
        tree = Path(folder) / "base.tar"
        made = subprocess.run(
            ["mmdebstrap", "--variant=apt", "--include=ca-certificates", suite, tree, _mirror()],
            env={**os.environ, **proxy(), "TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
        if made.returncode:
            log.seek(0)
            said = log.read()[-2000:]
            raise SupportError(f"No base of {suite} could be made of packages (set COUCH2PG_BASE_IMAGE?): {said}")
        with tree.open("rb") as stream:
            docker.run("import", "--change", f"LABEL {LABEL}={stamp}", "-", name, stdin=stream)
    return name


def _with_compose(docker: Engine, suite: str, host: str) -> str:
    if suite != COMPOSE_SUITE:
        raise SupportError(f"Docker Compose can be had for {COMPOSE_SUITE} only, not for {suite}.")
    name = f"{REPOSITORY}-compose:{suite}"
    _add(docker, name, host, {"Dockerfile": RECIPE / "compose"}, {"BASE": host, "MIRROR": _mirror()})
    return name


def _with_postgresql_of(docker: Engine, before: str, suite: str, host: str) -> str:
    """As on a host whose distribution was upgraded."""
    name = f"{REPOSITORY}-host:{suite}-after-{before}"
    arguments = {"BASE": host, "MIRROR": _mirror(), "BEFORE": before, "POSTGRESQL": POSTGRESQL[before]}
    _add(docker, name, host, {"Dockerfile": RECIPE / "upgraded"}, arguments)
    return name


def _add(docker: Engine, name: str, host: str, files: Mapping[str, Path], arguments: dict[str, str]) -> None:
    """Make an image that stands on another one, of these files."""
    stamp = _stamp([docker.run("image", "inspect", "--format", "{{.Id}}", host)], files.values())
    if not _is(docker, name, stamp):
        with _saying(f"image {name}"), tempfile.TemporaryDirectory(dir=CACHE) as context:
            for place, path in files.items():
                shutil.copy(path, Path(context) / place)
            _build(docker, Path(context), name, stamp, arguments)


def _build(docker: Engine, context: Path, name: str, stamp: str, arguments: dict[str, str]) -> None:
    given = {**arguments, **proxy()}
    docker.run(
        "build",
        *("--tag", name, "--label", f"{LABEL}={stamp}"),
        # Our own daemon has no network but the machine's.
        *(("--network", "host") if docker.ours else ()),
        *(word for key, value in given.items() for word in ("--build-arg", f"{key}={value}")),
        str(context),
        seconds=BUILD_SECONDS,
    )


def _is(docker: Engine, name: str, stamp: str) -> bool:
    try:
        return docker.run("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', name) == stamp
    except SupportError:
        return False


def _stamp(words: Iterable[str], files: Iterable[Path]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for path in files:
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _mirror() -> str:
    """Where this machine gets Debian's packages from."""
    asked = [
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        "Origin: Debian",
        "Label: Debian",
    ]
    answer = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return next(iter(answer.stdout.split()), MIRROR)


def proxy() -> dict[str, str]:
    """The proxy that this machine's apt uses, under the names that Docker never writes into an image."""
    found = {}
    for scheme in ("http", "https"):
        asked = ["apt-config", "shell", "proxy", f"Acquire::{scheme}::Proxy"]
        with contextlib.suppress(OSError):
            answer = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=False).stdout
            if "='" in answer and (value := answer.split("='", 1)[1].rstrip("'\n")) != "DIRECT":
                found[f"{scheme}_proxy"] = value
    return found


@contextlib.contextmanager
def _saying(what: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"Making {what} ...", file=sys.stderr, flush=True)
    yield
    print(f"Made {what} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        with engine() as found:
            for wanted in sys.argv[1:]:
                image(found, wanted)
    except SupportError as error:
        sys.exit(f"images: {error}")
