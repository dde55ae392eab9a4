# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program of a container image as if it were installed on this host.

The path of the program is ``docker://IMAGE/PROGRAM``. Each run is a helper container in the host's network, which is removed when the
program ends. Files that the arguments and the environment name are mounted under the same paths. The environment contains the
job's marker (``JOB``), by which the job finds, limits and ends the program like its other processes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable, Mapping, Sequence

SCHEME = "docker://"
LABEL = "cht.couch2pg.job"
JOB = "COUCH2PG_JOB"
# Besides PG*, the container gets only these environment variables.
_KEPT = ("LC_ALL", "TMPDIR", JOB)
# Options whose value is a path.
_PATH_OPTIONS = ("--file=", "--use-list=")


def is_one(program: str) -> bool:
    """Whether ``program``, a path or a folder of programs, is in an image."""
    return program.startswith(SCHEME)


def command(docker: str, words: Sequence[str], variables: Mapping[str, str], rootless: bool = False) -> list[str]:
    """The command that runs ``words``, whose first one is a program in an image, with these environment variables.

    docker: path of Docker's command line. ``words`` contains no secrets: these are in files that environment variables name.
    rootless: whether the engine runs as this user, without root's rights. Root in a container is then this user.
    """
    user = "0:0" if rootless else f"{os.geteuid()}:{os.getegid()}"
    image, _slash, program = words[0][len(SCHEME) :].rpartition("/")
    names = [name for name in sorted(variables) if name.startswith("PG") or name in _KEPT]
    # JOB is the path of the job's folder. It is only a marker: the program doesn't need the folder.
    mounts = _mounts([*words[1:], *(variables[name] for name in names if name != JOB)])
    return [
        docker,
        "run",
        "--rm",
        "--network=host",
        "--userns=host",
        f"--user={user}",
        f"--label={LABEL}={variables.get(JOB, '')}",
        # By default, the engine's log keeps everything that pg_dump prints.
        "--log-driver=none",
        # Under SELinux, a container could not read the mounted files.
        "--security-opt=label=disable",
        *(f"--volume={place}:{place}" for place in mounts),
        *(f"--env={name}" for name in names),
        "--entrypoint=/bin/sh",
        image,
        # umask, so that files which the program writes are private.
        *("-c", 'umask 077; exec "$@"', "sh", program),
        *words[1:],
    ]


def _mounts(words: Iterable[str]) -> list[str]:
    """The files and folders to mount: those in ``words``, or the parent of a path that doesn't exist yet; none is within another one."""
    found = set()
    for word in words:
        path = next((word[len(option) :] for option in _PATH_OPTIONS if word.startswith(option)), word)
        if path.startswith("/") and path != "/dev/null":
            place = Path(path)
            found.add(place if place.exists() else place.parent)
    return sorted(str(place) for place in found if place != Path("/") and not found & set(place.parents))
