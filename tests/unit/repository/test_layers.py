"""The core's packages import downwards only; docs/architecture.md draws the levels."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator

import pytest

CORE = Path(__file__).parents[3] / "plugins" / "module_utils"
# Lowest first. A package may import from packages of lower levels, never from another one of its own level.
LEVELS: list[set[str]] = [
    {"common"},
    {"host"},
    {"postgres", "couchdb"},
    {"jobs"},
    {"archive", "evidence", "record", "couch2pg", "gate"},
    {"pipeline", "couch2pg/deployment", "couch2pg/log", "schema"},
    {"dump", "transfer", "restore", "refresh", "verify", "promote", "handover", "cutover"},
    {"stream", "physical"},
    {"preflight", "rollback", "cleanup", "rehearsal", "status"},
    {"adapter"},
]
LEVEL = {package: number for number, level in enumerate(LEVELS) for package in level}
MODULES = sorted(path for path in CORE.rglob("*.py") if path.name != "__init__.py")


def package_of(path: Path) -> str:
    """The package of a module, as ``LEVELS`` names it."""
    return path.parent.relative_to(CORE).as_posix()


def imported_packages(path: Path, source: str) -> Iterator[str]:
    """The packages of the core from which ``source``, the text of the module ``path``, imports."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        for name in node.names:
            found = folder / name.name if (folder / name.name).is_dir() else folder
            yield (found if found.is_dir() else found.parent).relative_to(CORE).as_posix()


def upward_imports(path: Path, source: str) -> list[str]:
    """The packages that ``source`` imports though they are not below its own."""
    own = package_of(path)
    return [found for found in imported_packages(path, source) if found != own and LEVEL[found] >= LEVEL[own]]


def test_every_package_has_a_level() -> None:
    assert {package_of(path) for path in MODULES} == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(CORE).as_posix())
def test_imports_point_downwards(path: Path) -> None:
    assert not upward_imports(path, path.read_text(encoding="utf-8"))


def test_an_upward_import_is_found() -> None:
    assert upward_imports(CORE / "common" / "errors.py", "from ..host import files") == ["host"]
    assert upward_imports(CORE / "dump" / "job.py", "from .. import restore") == ["restore"]
    assert upward_imports(CORE / "couch2pg" / "log" / "lines.py", "from ..deployment.kinds import Found") == [
        "couch2pg/deployment"
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(CORE).as_posix())
def test_only_the_adapter_knows_ansible(path: Path) -> None:
    names = {
        module
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    if package_of(path) != "adapter":
        assert not {name for name in names if name.partition(".")[0] in ("ansible", "ansible_collections")}


def shipped(path: Path) -> set[Path]:
    """The modules of the core that Ansible ships with ``path``: itself, and all that it imports, also within functions."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        for node in ast.walk(ast.parse(current.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = current.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                names = [folder.with_suffix(".py"), *(folder / f"{name.name}.py" for name in node.names)]
                waiting += [name for name in names if name.is_file()]
    return found


def test_a_module_without_a_connection_ships_no_code_for_postgresql() -> None:
    assert "postgres" not in {package_of(path) for path in shipped(CORE / "adapter" / "module.py")}
    assert "postgres" in {package_of(path) for path in shipped(CORE / "adapter" / "connection.py")}
