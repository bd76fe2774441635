"""``spikeserve check``: what would become of a network of another framework, node by node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.lowering.walk import Checked, lowered
from spikeserve.importing.network import FloatNetwork
from spikeserve.importing.nir.isolated import read

STYLES = {"exact": "green", "folded": "green", "approximate": "yellow", "refused": "red"}


def checked(path: Path) -> Checked:
    """Everything that is found in a file.

    Raises:
        ImportRefused: it cannot be read at all.
    """
    return lowered(read(path))


def network_of(path: Path) -> FloatNetwork:
    """The float network in a file.

    Raises:
        ImportRefused: names every node that cannot be served, and why.
    """
    found = checked(path)
    if found.network is None:
        reasons = "\n".join(
            f"  {finding.node} ({finding.kind}): {finding.text}" for finding in found.refusals
        )
        raise ImportRefused(f"{path} cannot be served:\n{reasons}")
    return found.network


def table(path: Path, found: Checked) -> Table:
    """Nodes, verdicts, and what to do."""
    result = Table(title=escape(str(path.name)))
    for heading in ("node", "kind", "h × w × c", "verdict", "how, or why and what to do"):
        result.add_column(heading, overflow="fold")
    for finding in found.findings:
        shape = "" if finding.shape is None else " × ".join(map(str, finding.shape))
        verdict = f"[{STYLES[finding.verdict]}]{finding.verdict}[/]"
        result.add_row(
            escape(finding.node), escape(finding.kind), shape, verdict, escape(finding.text)
        )
    return result


def document(path: Path, found: Checked) -> str:
    """The same as JSON: ``file``, ``servable`` and ``findings`` with the table's columns."""
    findings: list[dict[str, Any]] = [
        {
            "node": finding.node,
            "kind": finding.kind,
            "shape": finding.shape,
            "verdict": finding.verdict,
            "text": finding.text,
        }
        for finding in found.findings
    ]
    servable = found.network is not None
    return json.dumps({"file": str(path), "servable": servable, "findings": findings}, indent=1)
