"""Commands and snippets in README and docs work as they stand.

Blocks marked ``sh`` and ``python`` run in the repository, beside a service with the default
bundle. One that cannot run here says why, in a comment above it:
``<!-- not run in tests: downloads CIFAR-10 -->``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from spikeserve.models.energy.hardware import load_profile
from spikeserve.service import cli
from spikeserve.service.settings import DEFAULT_BUNDLE
from tests.processes import running_service

ROOT = Path(__file__).parents[2]
AS_A_WHOLE = ROOT / "docs" / "PYTHON.md"  # one session, run by tests/test_facade.py
DOCUMENTS = (ROOT / "README.md", *sorted({*(ROOT / "docs").glob("*.md")} - {AS_A_WHOLE}))
FENCED = re.compile(
    r"^(?:<!-- not run in tests: (?P<reason>[^\n]+) -->\n\n?)?"
    r"```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
RUN = ("sh", "python")
OURS = "spikeserve "
SHOWN_AT = "localhost:8000"
PATIENCE_S = 120
ROUNDED = 5e-3
MEASURED = ("timing_ms", "request_id")

pytestmark = pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("curl")), reason="needs bash and curl"
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: Path
    line: int
    language: str
    text: str
    reason: str | None

    @cached_property
    def place(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """All blocks of these languages, in order."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text()
        for match in FENCED.finditer(text):
            if match["language"] in languages:
                line = text[: match.start("text")].count("\n") + 1
                found.append(Block(path, line, match["language"], match["text"], match["reason"]))
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    log = tmp_path_factory.mktemp("service") / "log"
    with running_service(DEFAULT_BUNDLE, log) as client:
        yield client


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """curl fails where the answer is an error, and asks no proxy."""
    home = tmp_path_factory.mktemp("home")
    (home / ".curlrc").write_text("fail\nsilent\nshow-error\n")
    return dict(os.environ, CURL_HOME=str(home), NO_PROXY="*")


@pytest.mark.parametrize("block", blocks(*RUN), ids=lambda block: block.place)
def test_block_runs_or_says_why_not(
    block: Block,
    service: httpx.Client,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if block.reason:
        assert len(block.reason.split()) > 1, "say why in words"
        return
    monkeypatch.chdir(ROOT)
    text = block.text.replace(SHOWN_AT, service.base_url.netloc.decode())
    if block.language == "python":
        exec(compile(text, block.place, "exec"), {"__name__": "__main__"})
    elif all(line.startswith(OURS) for line in text.splitlines()):
        for line in text.splitlines():  # in this process, which has imported everything
            assert spikeserve_status(line) == 0
    else:
        command = ["bash", "-euo", "pipefail", "-c", text]
        subprocess.run(command, env=environment, timeout=PATIENCE_S, check=True)
    assert capfd.readouterr().out, f"{block.place} printed nothing"


def spikeserve_status(line: str) -> int:
    """What a line that starts with ``spikeserve`` exits with."""
    try:
        return cli.main(shlex.split(line, comments=True)[1:])
    except SystemExit as ended:  # argparse, after --help
        return int(ended.code or 0)


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.place)
def test_answer_shown_is_the_answer(block: Block, service: httpx.Client) -> None:
    """Every field shown is in the answer to the cat, with the same value but for rounding."""
    image = (ROOT / "docs" / "cat.jpg").read_bytes()
    response = service.post("/classify", content=image, headers={"Content-Type": "image/jpeg"})
    shown, answer = json.loads(block.text), response.json()
    assert_shown(shown, answer)
    if block.document.name == "SERVING.md":
        assert keys(shown) == keys(answer), "SERVING.md shows the whole answer"


def assert_shown(shown: Any, answer: Any, name: str = "answer") -> None:
    if isinstance(shown, dict):
        for key in shown.keys() - set(MEASURED):
            assert key in answer, f"{name} has no {key}"
            assert_shown(shown[key], answer[key], f"{name}.{key}")
    elif isinstance(shown, list):
        for one, other in zip(shown, answer, strict=True):
            assert_shown(one, other, name)
    elif isinstance(shown, float | int):
        assert shown == pytest.approx(answer, rel=ROUNDED), name
    else:
        assert shown == answer, name


def keys(document: Any) -> Any:
    """The structure of a document, without its values."""
    if isinstance(document, dict):
        return {key: keys(value) for key, value in document.items()}
    return [keys(value) for value in document] if isinstance(document, list) else None


def test_untold_blocks_name_their_language() -> None:
    """A fence that starts without a language would hide commands from these tests."""
    for path in DOCUMENTS:
        for number, line in enumerate(fences(path.read_text()), start=1):
            told = line.startswith(("```sh", "```python", "```json", "```toml", "```text"))
            assert told, f"{path.name}, block {number}: {line}"


def fences(text: str) -> list[str]:
    """The opening line of every fenced block."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("```")]
    return lines[::2]


def test_chip_of_ones_own_is_a_profile(tmp_path: Path) -> None:
    """The two parts of ENERGY.md's example, together."""
    chip, constants = (block.text for block in blocks("toml") if block.document.name == "ENERGY.md")
    path = tmp_path / "my-chip.toml"
    path.write_text(constants + chip)  # keys of the top level stand before tables
    profile = load_profile(str(path))
    assert (profile.name, profile.pixel_bits) == ("my-chip", 8)
