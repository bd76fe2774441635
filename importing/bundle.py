"""The bundle of an imported network, written whole or not at all."""

from __future__ import annotations

import datetime
import re
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from spikeserve.importing.early import Calibrated
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.golden import Match
from spikeserve.importing.request import Request
from spikeserve.importing.sheet import Sheet
from spikeserve.models.bundle import CARD, MANIFEST, save_bundle, save_manifest
from spikeserve.models.encoding import Encoding
from spikeserve.models.manifest import Manifest, Provenance
from spikeserve.training.evaluate import measured as evaluation
from spikeserve.training.export import step_graph

UNNAMEABLE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Origin:
    """Where an imported network comes from."""

    source: str | None
    source_sha256: str | None
    reading: str
    data: str
    data_sha256: str
    golden_sha256: str | None
    golden: Match | None


def check_out(out: Path, *, force: bool) -> None:
    """That a bundle can be written to ``out``.

    Raises:
        ImportRefused: something else is there.
    """
    if not out.parent.is_dir():
        raise ImportRefused(f"--out {out}: there is no folder {out.parent}")
    if out.is_dir():
        filled = any(out.iterdir())
        if filled and not force:
            raise ImportRefused(f"--out {out} is not empty; --force replaces a bundle")
        if filled and not (out / MANIFEST).exists():
            raise ImportRefused(f"--out {out} is no bundle; it is not replaced")
    elif out.exists():
        raise ImportRefused(f"--out {out} is no folder")


def written(
    request: Request, origin: Origin, sheet: Sheet, exits: Calibrated | None, names: tuple[str, ...]
) -> None:
    """Write the bundle to a folder beside ``request.out``, and give it that name then."""
    manifest = _manifest(request, origin, sheet, exits, names)
    program = sheet.measured.rounded.program
    graph = step_graph(program).SerializeToString()
    with tempfile.TemporaryDirectory(
        dir=request.out.parent, prefix=f".{request.out.name}."
    ) as made:
        folder = Path(made) / "bundle"
        saved = save_bundle(folder, manifest, program, graph)
        (folder / CARD).write_text(_card(saved, sheet), encoding="utf-8")
        save_manifest(folder, saved)
        if request.out.is_dir():
            request.out.replace(Path(made) / "before")
        folder.replace(request.out)


def _manifest(
    request: Request, origin: Origin, sheet: Sheet, exits: Calibrated | None, names: tuple[str, ...]
) -> Manifest:
    found = sheet.measured
    program = found.rounded.program
    name = request.name or UNNAMEABLE.sub("-", request.out.name).lstrip("-._") or "imported"
    manifest = Manifest(
        name=name[:100],
        version="1",
        description=request.description or f"Imported from {origin.source} ({origin.reading}).",
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        labels=names,
        encoding=Encoding("direct", request.timesteps),
        layers=program.network.layers,
        logit_scale=program.logit_scale,
        weight_bits=min(8, max(4, min(found.settings.bits))),
        exits=exits.exits,
        provenance=Provenance(
            recipe=f"import {origin.reading}",
            recipe_sha256=origin.source_sha256 or "0" * 64,
            dataset=origin.data,
            dataset_sha256={origin.data: origin.data_sha256},
            seed=0,
            training_images=0,
            calibration_images=len(found.inputs) - len(exits.labels),
            software={package: version(package) for package in ("numpy", "onnx")},
            hardware="",
        ),
    )
    result = evaluation(manifest, exits.trace, exits.labels, origin.data, "reference")
    return manifest.model_copy(update={"evaluation": result})


def _card(manifest: Manifest, sheet: Sheet) -> str:
    lines = [f"# {manifest.name}", "", manifest.description, "", "```", str(sheet), "```", ""]
    return "\n".join(lines)
