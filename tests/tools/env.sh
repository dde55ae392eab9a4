# shellcheck shell=bash
# Sourced by the scripts beside it: where things are, and which Python is used.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=$ROOT/.cache

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# install_packages PACKAGE...: from Debian or Ubuntu, where we may.
install_packages() {
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        die "something is missing that only the system has: sudo apt install $*"
    fi
    mkdir -p "$CACHE"
    # Only one at a time may use apt.
    exec 8>"$CACHE/apt.lock"
    flock 8
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"; } \
        >"$CACHE/apt.log" 2>&1; then
        die "apt-get could not install $*: see $CACHE/apt.log"
    fi
    exec 8>&-
}

# The version of a Python that runs and can make virtual environments. Asking it
# is the only way to know: version managers leave names behind that do not run.
python_version() {
    "$1" -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

# Sets PYTHON and PYTHON_VERSION.
find_python() {
    local wanted candidate
    if [[ -n ${PYTHON:-} ]]; then
        PYTHON_VERSION=$(python_version "$PYTHON") ||
            die "PYTHON=$PYTHON does not run, or lacks venv: sudo apt install python3-venv"
        [[ $PYTHON_VERSION =~ ^3\.1[1-4]$ ]] || die "PYTHON=$PYTHON is Python $PYTHON_VERSION; 3.11 to 3.14 can be used."
        return
    fi
    for wanted in 3.13 3.12 3.11 3.14; do
        for candidate in "python$wanted" python3 "$HOME"/.pyenv/versions/"$wanted".*/bin/python; do
            if [[ $(python_version "$candidate") == "$wanted" ]]; then
                PYTHON=$candidate
                PYTHON_VERSION=$wanted
                return
            fi
        done
    done
    return 1
}

if ! find_python; then
    install_packages python3 python3-venv
    find_python || die "no Python 3.11 to 3.14 was found: install one, or set PYTHON to one."
fi
# TOOLS=release names the tools of the documentation site and of a release: a virtual environment of their own.
VENV=$CACHE/venv${TOOLS:+-$TOOLS}-py$PYTHON_VERSION
if [[ $PYTHON_VERSION == 3.11 ]]; then
    TOOL_SET=py311
else
    TOOL_SET=py312
fi

# The programs of the virtual environment come first, and every folder that
# Ansible would make in the user's home is made in the cache instead.
export PATH=$VENV/bin:$PATH
export ANSIBLE_HOME=$CACHE/ansible
export ANSIBLE_COLLECTIONS_PATH=$CACHE/link
# Tests start hundreds of Pythons, and each would compile the collection: not where a shell forbids what is compiled to be kept.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX=$CACHE/pycache
export ROOT CACHE VENV TOOL_SET PYTHON PYTHON_VERSION
