"""The project's own files agree: bounds, pins, Makefile, continuous integration, changelog."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))


def pins(file: str) -> dict[str, Version]:
    lines = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in lines}


def declared(*extras: str) -> list[Requirement]:
    optional = (PROJECT["optional-dependencies"][extra] for extra in extras)
    return [Requirement(text) for part in (PROJECT["dependencies"], *optional) for text in part]


def test_every_pin_is_within_its_bounds() -> None:
    pinned = pins("constraints.txt")
    for requirement in declared("train", "bench", "dev"):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_lowest_bounds_are_those_that_are_tested() -> None:
    lowest = pins("constraints-lowest.txt")
    for requirement in declared("train", "dev"):
        bounds = [Version(s.version) for s in requirement.specifier if s.operator == ">="]
        assert bounds == [lowest[canonicalize_name(requirement.name)]], requirement


def test_what_serves_is_pinned_as_everything_else_and_hashed() -> None:
    served, pinned = pins("requirements-service.txt"), pins("constraints.txt")
    assert {canonicalize_name(requirement.name) for requirement in declared()} <= served.keys()
    assert served.items() <= pinned.items()
    text = (ROOT / "requirements-service.txt").read_text("utf-8")
    blocks = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert "torch" not in served


def test_every_target_explains_itself() -> None:
    (phony,) = re.findall(r"^\.PHONY:((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.replace("\\", "").split()) == TARGETS
    environment = {"PATH": os.environ["PATH"]}
    command = ["make", "--no-print-directory", "help"]
    listed = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[1] for line in listed.splitlines()} == TARGETS


def test_continuous_integration_runs_what_exists() -> None:
    jobs = WORKFLOW["jobs"]
    oldest = min(jobs["pinned"]["strategy"]["matrix"]["python"], key=Version)
    assert PROJECT["requires-python"] == f">={oldest}"
    for entry in jobs["bounds"]["strategy"]["matrix"]["include"]:
        assert entry["constraints"] == "/dev/null" or (ROOT / entry["constraints"]).is_file()
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    commands += (ROOT / ".ci/run").read_text("utf-8").splitlines()
    made = [command.split()[1:] for command in commands if command.startswith("make ")]
    assert {target for targets in made for target in targets} <= TARGETS
    assert ".ci/run" in commands
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    assert released[0] == PROJECT["version"]
    assert [Version(v) for v in released] == sorted(map(Version, released), reverse=True)


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "SECURITY.md"])
def test_files_and_targets_that_contributors_read_of_exist(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    for path in re.findall(r"`([\w.]+(?:/[\w.]+)*(?:/|\.py|\.toml|\.txt))`", text):
        known = path if "/" in path else f"**/{path}"
        assert any(ROOT.glob(known)), path
    assert set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE)) <= TARGETS
