"""The rules of the house, read from the sources: who may import whom, how long a file may be."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 350

ALLOWED: dict[str, set[str]] = {
    "models": set(),
    "training": {"models"},
    "importing": {"models", "training"},
    "service": {"models"},
    "deploy": set(),  # runs beside the service, in containers of other people
    "spikeserve": {"models", "service", "importing"},
    "benchmarks": {"models", "training", "importing", "service", "deploy", "spikeserve"},
    "tests": {"models", "training", "importing", "service", "deploy", "spikeserve", "benchmarks"},
}
"""Which packages a package may import besides itself."""

# installed as spikeserve.models, …
FLOORS = ("models", "training", "importing", "service", "deploy")

WITHOUT_TORCH = """
import importlib, pkgutil, sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch" or name.startswith("spikeserve.training"):
            raise ImportError(f"{name} is not for the service")

sys.meta_path.insert(0, Refused())
import spikeserve
import spikeserve.service
for module in pkgutil.walk_packages(spikeserve.service.__path__, "spikeserve.service."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


FILES = sorted(
    path
    for package in ALLOWED
    for path in (ROOT / package).rglob("*.py")
    if "node_modules" not in path.parts
)


def name(path: Path) -> str:
    """A file's module, as it is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] in FLOORS:
        parts = ("spikeserve", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imported(path: Path) -> tuple[str, ...]:
    """What a file imports, lazily too; ``from a import b`` is a.b."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import(names=names):
                found += [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                found += [f"{module}.{alias.name}" for alias in names]
            case ast.ImportFrom():
                pytest.fail(f"{path}:{node.lineno}: relative import")
    return tuple(found)


@functools.cache
def imports() -> dict[str, set[str]]:
    """Modules of ours, and those of ours that each imports."""
    modules = {name(path) for path in FILES}

    def ours(target: str) -> str | None:
        """``a.b`` may be a module, or a name in module ``a``."""
        parent = target.rpartition(".")[0]
        return next((module for module in (target, parent) if module in modules), None)

    return {
        name(path): {module for target in imported(path) if (module := ours(target))}
        for path in FILES
    }


def floor(module: str) -> str:
    """The package of :data:`ALLOWED` that a module belongs to."""
    first, _, rest = module.partition(".")
    second = rest.partition(".")[0]
    return second if first == "spikeserve" and second in FLOORS else first


def test_nothing_points_up() -> None:
    upward = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in targets
        if floor(target) not in {floor(module), *ALLOWED[floor(module)]}
    ]
    assert not upward


def test_the_facade_knows_of_the_service_only_its_client() -> None:
    facade = {module for module in imports() if floor(module) == "spikeserve"}
    facade.remove("spikeserve.__main__")  # the command, which sends everybody where they belong
    known = {target for module in facade for target in imports()[module]}
    assert {m for m in known if floor(m) == "service"} <= {"spikeserve.service.client"}


def test_imports_run_in_no_circles() -> None:
    TopologicalSorter(ALLOWED).prepare()  # CycleError names the circle
    TopologicalSorter(imports()).prepare()


def test_files_are_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in FILES
    }
    assert not {path: lines for path, lines in lengths.items() if lines >= LONGEST}


def test_packages_are_imported_as_spikeserve() -> None:
    """``import models`` finds whatever lies beside the user's script."""
    bare = [
        f"{path.relative_to(ROOT)} imports {target}"
        for path in FILES
        for target in imported(path)
        if target.split(".")[0] in FLOORS
    ]
    assert not bare


def test_only_the_torch_engine_knows_torch_among_what_is_served() -> None:
    torch = [
        name(path)
        for path in FILES
        if floor(name(path)) not in {"training", "benchmarks", "tests"}
        and any(target.split(".")[0] == "torch" for target in imported(path))
    ]
    outside = [name for name in torch if not name.startswith("spikeserve.importing.torch.")]
    assert outside == ["spikeserve.models.engines.torch"]


def test_the_service_and_the_facade_need_no_torch() -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
