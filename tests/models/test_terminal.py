"""What a command prints arrives, whatever its stdout is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spikeserve.models.terminal import PLAIN, SPIKESERVE

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from spikeserve.models.terminal import delivered
def command():
    print(sys.argv[1])
    return 7
sys.exit(delivered(command, "spikeserve"))
"""
TEXT = "µJ 5…95 % ██·· 0.5 ⌀ 雪"


def run(
    text: str = TEXT, redirect: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    command = f'exec "$0" "$@" {redirect}'
    fresh = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["sh", "-c", command, sys.executable, "-c", SCRIPT, text],
        env=fresh,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r", "utf-8", "utf-16"])
def test_what_an_encoding_has_not_is_replaced_one_for_one(encoding: str) -> None:
    done = run(PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    shown = done.stdout.decode(encoding)
    assert (done.returncode, done.stderr) == (7, b"")
    assert len(shown) == len(TEXT) + 1
    assert shown.startswith("uJ 5~95" if encoding in ("ascii", "koi8-r") else "µJ 5")
    assert shown.isascii() or encoding != "ascii"


def test_names_that_are_no_text_are_shown_as_well() -> None:
    assert run("a\udcffb", PYTHONUTF8="1").stdout == b"a?b\n"


@pytest.mark.parametrize(
    ("redirect", "status", "message"),
    [
        (">&-", 7, ""),
        (">&- 2>&- <&-", 7, ""),
        ("> /dev/full", 1, "spikeserve: [Errno 28] No space left on device\n"),
    ],
)
def test_a_stdout_that_takes_nothing(redirect: str, status: int, message: str) -> None:
    done = run(redirect=redirect)
    assert (done.returncode, done.stderr.decode(), done.stdout) == (status, message, b"")


def test_a_reader_that_has_seen_enough_is_no_error_to_speak_of() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", SCRIPT, "x" * 100_000]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_replacements_are_plain_single_characters() -> None:
    assert SPIKESERVE
    assert all(len(old) == len(new) == 1 and new.isascii() for old, new in PLAIN.items())
