"""What an installation gets: every file once, under no name but ``spikeserve``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from zipfile import ZipFile

import pytest

from tests.wheels import ROOT, build_context, built

PACKAGES = ("models", "service", "training", "importing", "deploy")


def tree() -> Iterator[str]:
    yield from (f"spikeserve/{name}" for name in ("__init__.py", "__main__.py", "py.typed"))
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"spikeserve/{path.relative_to(ROOT).as_posix()}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str]:
    folder = tmp_path_factory.mktemp("build")
    file, output = built("wheel", build_context(folder / "context"), folder / "dist")
    with ZipFile(file) as archive:
        return archive.namelist(), output


def test_the_wheel_holds_every_file_of_the_four_folders_once(
    wheel: tuple[list[str], str],
) -> None:
    names, _ = wheel
    assert len(names) == len(set(names))
    assert {name for name in names if ".dist-info/" not in name} == set(tree())


def test_folders_of_data_are_no_packages(wheel: tuple[list[str], str]) -> None:
    _, output = wheel
    assert "absent from the `packages` configuration" not in output
    assert "importable" not in output


def test_the_links_are_links() -> None:
    """A checkout without them, as Windows makes it by default, has text files in their place."""
    for package in PACKAGES:
        link = ROOT / "spikeserve" / package
        assert link.is_symlink(), f"{link}: git config core.symlinks true, and check out again"
        assert link.readlink().as_posix() == f"../{package}"


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    for path in [*sources, ROOT / "spikeserve" / "__init__.py", ROOT / "Dockerfile"]:
        assert project["version"] not in path.read_text(), path
