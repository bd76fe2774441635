"""``spikeserve check`` and ``spikeserve import``: networks of other frameworks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from spikeserve.importing import command
from spikeserve.importing.check import checked, document, network_of, table
from spikeserve.importing.errors import ImportRefused
from spikeserve.models.terminal import delivered

COMMANDS = {
    "check": "what would become of a network of another framework, node by node",
    "import": "make a bundle of a network of another framework, and measure what is lost",
}
NARROWEST = 100


def main(arguments: Sequence[str] | None = None) -> int:
    return delivered(lambda: _main(arguments), "spikeserve")


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if options.command == "import":
        return command.run(options, network_of)
    return _check(options.file, as_json=options.json)


def _check(path: Path, *, as_json: bool) -> int:
    """Print what is found; 0 where the network can be served, else 1."""
    try:
        found = checked(path)
    except ImportRefused as error:
        print(f"spikeserve check: {error}", file=sys.stderr)
        return 1
    if as_json:
        print(document(path, found))
    else:
        console = Console(width=max(Console().width, NARROWEST))
        console.print(table(path, found))
        refused = len(found.refusals)
        console.print(
            "can be imported: spikeserve import --help"
            if found.network
            else f"{refused} of {len(found.findings)} findings stand in the way"
        )
    return 0 if found.network else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spikeserve", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help=COMMANDS["check"], description=COMMANDS["check"])
    check.add_argument("file", type=Path, metavar="FILE.nir")
    check.add_argument("--json", action="store_true", help="for programs")
    importing = commands.add_parser(
        "import", help=COMMANDS["import"], description=COMMANDS["import"]
    )
    command.add_arguments(importing)
    return parser
