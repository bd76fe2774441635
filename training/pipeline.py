"""From recipe to bundle, one function a step; each writes its result to the run folder.

fit -> <stage>.pt    quantize -> program.*    calibrate -> exits.json    export -> bundle
"""

from __future__ import annotations

import datetime
from pathlib import Path

from spikeserve.models.bundle import CARD, load_bundle, save_bundle, save_manifest
from spikeserve.models.engines.event import EventEngine
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.inference import trace
from spikeserve.models.manifest import Exits, Manifest
from spikeserve.models.program import Program
from spikeserve.training.ann_start import AnnStart
from spikeserve.training.build import SpikingNetwork
from spikeserve.training.calibrate import calibrated
from spikeserve.training.card import card
from spikeserve.training.data import titled
from spikeserve.training.errors import TrainingError
from spikeserve.training.evaluate import accuracy_interval, evaluated
from spikeserve.training.export import step_graph
from spikeserve.training.provenance import provenance
from spikeserve.training.quantize import quantised
from spikeserve.training.results import read_exits, read_program, write_exits, write_program
from spikeserve.training.run import Run
from spikeserve.training.run_folder import LOG, RunFolder
from spikeserve.training.trainer import Trainer

TRAINING_LOG = "training.jsonl"


def fit(
    run: Run,
    *,
    resume: bool,
    start_from: Path | None = None,
    minutes: float | None = None,
    ann: AnnStart | None = None,
) -> None:
    """Train all stages but those that the run in folder ``start_from`` has finished, and the first
    where an ``ann`` takes its place.

    Raises:
        TrainingPaused: another epoch would take more than ``minutes`` altogether.
    """
    trainer = _trainer(run)

    def copy_stages() -> None:
        if start_from is not None and not (resume and trainer.folder.started):
            trainer.folder.start_from(run.recipe, RunFolder(start_from))

    trainer.processes.run_on_main(copy_stages)
    trainer.run(resume=resume or start_from is not None, minutes=minutes, ann=ann)


def relu_network(run: Run) -> SpikingNetwork:
    """The network of a recipe's ``relu`` stage: an ANN of the same layers."""
    return _trainer(run).networks.final(run.recipe.index("relu"))


def quantize(run: Run) -> Program:
    """Round the trained network to the integer program."""
    bits = run.recipe.quantize.weight_bits
    RunFolder(run.folder).check(run.recipe)
    model = _trainer(run).networks.final(run.recipe.last)
    program = quantised(model.cpu(), bits)
    write_program(run, program)
    print(f"quantized to {bits} bits: {program.network.parameters:,} weights")
    return program


def calibrate(run: Run) -> Exits:
    """Choose temperatures, exit table and default threshold on the held-out split."""
    program = read_program(run)
    RunFolder(run.folder).check_data(run.dataset.sha256)
    _, rest = run.splits()
    full = trace(EventEngine(program), run.recipe.encoding, rest.images)
    exits = calibrated(full, rest.labels, program.logit_scale, run.recipe.calibrate.tolerance)
    write_exits(run, exits)
    accuracy = " ".join(f"{100 * value:.2f}" for value in exits.accuracy_by_timestep or ())
    print(f"calibrated on {len(rest):,} held-out images: % by timestep {accuracy}")
    print(f"default entropy threshold {exits.default_entropy_threshold}")
    return exits


def export(run: Run, bundle: Path) -> Manifest:
    """Write the bundle: weights, step graph, manifest and card."""
    program = read_program(run)
    RunFolder(run.folder).check_data(run.dataset.sha256)
    exits = read_exits(run)
    manifest = Manifest(
        name=run.recipe.name,
        version=run.recipe.version,
        description=run.recipe.description,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        labels=run.dataset.labels,
        encoding=run.recipe.encoding,
        layers=program.network.layers,
        logit_scale=program.logit_scale,
        weight_bits=run.recipe.quantize.weight_bits,
        exits=exits,
        provenance=provenance(run),
    )
    graph, log = step_graph(program).SerializeToString(), run.folder / LOG
    if log.exists():  # before the manifest, which hashes it: there may be one of an earlier export
        bundle.mkdir(parents=True, exist_ok=True)
        (bundle / TRAINING_LOG).write_bytes(log.read_bytes())
    manifest = save_bundle(bundle, manifest, program, graph)
    write_card(bundle)
    print(f"exported; serve it with: spikeserve serve --bundle {bundle}")
    return manifest


def evaluate(bundle_folder: Path, data_root: Path, fraction: float = 1.0) -> None:
    """Measure a bundle on the test set, store the result in its manifest, rewrite the card."""
    bundle = load_bundle(bundle_folder)
    engine = build_engine(bundle)
    provenance = bundle.manifest.provenance
    dataset = titled(provenance.dataset, data_root)
    if dataset.sha256 != provenance.dataset_sha256:
        raise TrainingError(
            f"{bundle_folder} was trained on another preparation of {dataset.title!r} than the one "
            f"in {data_root}: what it is evaluated on there, it may have seen"
        )
    test = dataset.test(data_root).head(fraction)
    result = evaluated(bundle, engine, test, dataset.title)
    save_manifest(bundle_folder, bundle.manifest.model_copy(update={"evaluation": result}))
    write_card(bundle_folder)
    print(f"{result.images:,} test images, {engine.name} engine")
    for t, accuracy in enumerate(result.accuracy_by_timestep, start=1):
        print(f"  all stop at t = {t}: {100 * accuracy:.2f} %")
    print(
        f"  default threshold {result.default.entropy_threshold}: "
        f"{100 * result.default.accuracy:.2f} % at "
        f"{result.default.average_timesteps:.3f} average timesteps"
    )
    low, high = accuracy_interval(result.default.accuracy, result.images)
    print(
        f"  with 95 % confidence between {100 * low:.1f} and {100 * high:.1f} % on more like them"
    )


def write_card(bundle_folder: Path) -> None:
    """Regenerate ``CARD.md`` from the manifest and hash it anew."""
    manifest = load_bundle(bundle_folder).manifest
    (bundle_folder / CARD).write_text(card(manifest), encoding="utf-8")
    save_manifest(bundle_folder, manifest)


def _trainer(run: Run) -> Trainer:
    train, rest = run.splits()
    dataset = run.dataset
    RunFolder(run.folder).check_data(dataset.sha256)
    return Trainer(run.recipe, len(dataset.labels), train, rest, run.folder, dataset.sha256)
