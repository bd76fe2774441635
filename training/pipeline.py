"""From recipe to bundle, one function a step; each leaves its result in the run folder.

fit -> <stage>.pt    quantize -> program.*    calibrate -> exits.json    export -> bundle
"""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from pydantic import BaseModel, ValidationError
from safetensors.numpy import load_file, save_file

from models.bundle import (
    CARD,
    load_bundle,
    program_from_tensors,
    program_tensors,
    save_bundle,
    save_manifest,
)
from models.engines.event import EventEngine
from models.engines.selection import build_engine
from models.inference import trace
from models.manifest import Exits, Manifest, Provenance, Trunk
from models.network import Layer, Network
from models.program import Program
from training.build import SpikingNetwork
from training.calibrate import calibrated
from training.card import card
from training.data import DATASETS, Dataset, Split, held_out, titled
from training.errors import TrainingError
from training.evaluate import evaluated
from training.export import step_graph
from training.fit import Fit, choose_device
from training.quantize import quantised
from training.recipe import Recipe, load_recipe
from training.run_folder import LOG, RunFolder

TRAINING_LOG = "training.jsonl"
PROGRAM_LAYERS, PROGRAM_TENSORS, EXITS = "program.json", "program.safetensors", "exits.json"


class _ProgramFile(BaseModel):
    made_by: str
    layers: tuple[Layer, ...]
    logit_scale: float


class _ExitsFile(BaseModel):
    made_by: str
    tolerance: float
    exits: Exits


@dataclass(frozen=True)
class Run:
    """A recipe, where its data lies and where its results go."""

    recipe: Recipe
    recipe_sha256: str
    data_root: Path
    folder: Path

    @classmethod
    def of(cls, recipe: str, data_root: Path, folder: Path | None) -> Run:
        loaded, digest = load_recipe(recipe)
        return cls(loaded, digest, data_root, folder or Path("runs") / loaded.name)

    def shortened(self, fraction: float, epochs: int) -> Run:
        """The same on a share of the data with few epochs a stage: a trial, named so."""
        recipe = self.recipe
        share = recipe.data.model_copy(update={"fraction": recipe.data.fraction * fraction})
        stages = tuple(
            stage.model_copy(update={"epochs": min(stage.epochs, epochs), "trunk": None})
            for stage in recipe.stages
        )
        trial = recipe.model_copy(
            update={
                "name": f"{recipe.name}-trial",
                "description": f"Trial on {fraction:.0%} of the data. {recipe.description}",
                "data": share,
                "stages": stages,
            }
        )
        folder = self.folder.resolve()  # "." has no name
        folder = folder.with_name(f"{folder.name}-trial")
        digest = hashlib.sha256(trial.model_dump_json().encode()).hexdigest()
        return replace(self, recipe=trial, recipe_sha256=digest, folder=folder)

    @property
    def dataset(self) -> Dataset:
        return DATASETS[self.recipe.data.dataset]

    def splits(self) -> tuple[Split, Split]:
        """Images to fit on and images to calibrate on, both from the training set."""
        settings = self.recipe.data
        train = self.dataset.train(self.data_root)
        fitting, rest = held_out(train, settings.held_out, self.recipe.seed)
        return fitting.head(settings.fraction), rest.head(settings.fraction)


def fit(
    run: Run, *, resume: bool, adopted: Path | None = None, minutes: float | None = None
) -> None:
    """Train all stages but those that the ``adopted`` run has finished.

    Raises:
        TrainingPaused: another epoch would take more than ``minutes`` altogether.
    """
    fitting = _fit(run)

    def adopt() -> None:
        if adopted is not None and not (resume and fitting.folder.begun):
            fitting.folder.adopt(run.recipe, RunFolder(adopted))

    fitting.team.lead(adopt)
    fitting.run(resume=resume or adopted is not None, minutes=minutes)


def relu_network(run: Run) -> SpikingNetwork:
    """The plain ReLU network of a recipe's ``relu`` stage: what an ANN of these layers can do."""
    names = [stage.name for stage in run.recipe.stages]
    return _fit(run).trained(names.index("relu"))


def quantize(run: Run) -> Program:
    """Round the trained network to the integer program."""
    bits = run.recipe.quantize.weight_bits
    RunFolder(run.folder).check(run.recipe)
    model = _fit(run).trained(run.recipe.last)
    program = quantised(model.cpu(), bits)
    described = _ProgramFile(
        made_by=_maker(run), layers=program.network.layers, logit_scale=program.logit_scale
    )
    (run.folder / EXITS).unlink(missing_ok=True)  # of another program
    (run.folder / PROGRAM_LAYERS).unlink(missing_ok=True)  # last, so that a kill leaves no mixture
    save_file(program_tensors(program), run.folder / PROGRAM_TENSORS)
    (run.folder / PROGRAM_LAYERS).write_text(described.model_dump_json())
    print(f"quantized to {bits} bits: {program.network.parameters:,} weights")
    return program


def calibrate(run: Run) -> Exits:
    """Choose temperatures, exit table and default threshold on the held-out split."""
    program = _program(run)
    _, rest = run.splits()
    full = trace(EventEngine(program), run.recipe.encoding, rest.images)
    tolerance = run.recipe.calibrate.tolerance
    exits = calibrated(full, rest.labels, program.logit_scale, tolerance)
    described = _ExitsFile(made_by=_maker(run), tolerance=tolerance, exits=exits)
    (run.folder / EXITS).write_text(described.model_dump_json(indent=1))
    accuracy = " ".join(f"{100 * value:.2f}" for value in exits.accuracy_by_timestep)
    print(f"calibrated on {len(rest):,} held-out images: % by timestep {accuracy}")
    print(f"default entropy threshold {exits.default_entropy_threshold}")
    return exits


def export(run: Run, bundle: Path) -> Manifest:
    """Write the bundle: weights, step graph, manifest and card."""
    program = _program(run)
    exits = _exits(run)
    train, rest = run.splits()
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
        provenance=Provenance(
            recipe=run.recipe.name,
            recipe_sha256=run.recipe_sha256,
            dataset=run.dataset.title,
            dataset_sha256=run.dataset.sha256,
            seed=run.recipe.seed,
            training_images=len(train),
            calibration_images=len(rest),
            software={name: version(name) for name in ("torch", "numpy", "onnx")},
            hardware=_hardware(),
            training_seconds=_training_seconds(
                RunFolder(run.folder),
                {run.recipe.stages[index].name for index in run.recipe.needed},
            ),
            trunks=tuple(trunks(RunFolder(run.folder), run.recipe, run.recipe.needed)),
        ),
    )
    manifest = save_bundle(bundle, manifest, program, step_graph(program).SerializeToString())
    log = run.folder / LOG
    if log.exists():
        (bundle / TRAINING_LOG).write_bytes(log.read_bytes())
    write_card(bundle)
    print(f"exported; serve it with: spikeserve serve --bundle {bundle}")
    return manifest


def evaluate(bundle_folder: Path, data_root: Path, fraction: float = 1.0) -> None:
    """Measure a bundle on the test set, store the result in its manifest, rewrite the card."""
    bundle = load_bundle(bundle_folder)
    engine = build_engine(bundle)
    dataset = titled(bundle.manifest.provenance.dataset)
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


def write_card(bundle_folder: Path) -> None:
    """Regenerate ``CARD.md`` from the manifest and hash it anew."""
    manifest = load_bundle(bundle_folder).manifest
    (bundle_folder / CARD).write_text(card(manifest))
    save_manifest(bundle_folder, manifest)


def _fit(run: Run) -> Fit:
    train, rest = run.splits()
    return Fit(run.recipe, len(run.dataset.labels), train, rest, run.folder)


def _maker(run: Run) -> str:
    """A digest of all that decides which program a run gives."""
    recipe = run.recipe
    weights = RunFolder(run.folder).weights(recipe.stages[recipe.last])
    trained = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None
    decisive = (recipe.lineage(recipe.last), recipe.network, recipe.quantize, trained)
    return hashlib.sha256(repr(decisive).encode()).hexdigest()


def _program(run: Run) -> Program:
    RunFolder(run.folder).check(run.recipe)
    try:
        described = _ProgramFile.model_validate_json(_text(run.folder / PROGRAM_LAYERS, "quantize"))
    except ValidationError as error:
        raise TrainingError(
            f"{run.folder / PROGRAM_LAYERS} is no program of this version; run: spiketrain quantize"
        ) from error
    if described.made_by != _maker(run):
        raise TrainingError(
            f"{run.folder / PROGRAM_LAYERS} was made of other weights or by another recipe; "
            "run: spiketrain quantize"
        )
    tensors = load_file(run.folder / PROGRAM_TENSORS)
    return program_from_tensors(Network(described.layers), tensors, described.logit_scale)


def _exits(run: Run) -> Exits:
    try:
        described = _ExitsFile.model_validate_json(_text(run.folder / EXITS, "calibrate"))
    except ValidationError as error:
        raise TrainingError(
            f"{run.folder / EXITS} is of no use to this version; run: spiketrain calibrate"
        ) from error
    if (described.made_by, described.tolerance) != (_maker(run), run.recipe.calibrate.tolerance):
        raise TrainingError(
            f"{run.folder / EXITS} is another program's or of another tolerance; "
            "run: spiketrain calibrate"
        )
    return described.exits


def _text(path: Path, step: str) -> str:
    if not path.exists():
        raise TrainingError(f"{path} is missing; run: spiketrain {step}")
    return path.read_text()


def trunks(folder: RunFolder, recipe: Recipe, indices: tuple[int, ...]) -> Iterator[Trunk]:
    """The runs whose weights these stages of a run began with, and those that those began with."""
    begun: dict[Path, tuple[RunFolder, list[str]]] = {}
    for index in indices:
        trunk = recipe.stages[index].trunk
        if trunk is not None:
            other, stage = folder.trunk(trunk)
            begun.setdefault(other.path, (other, []))[1].append(stage)
    for other, stages in begun.values():
        theirs = other.recipe()
        names = [stage.name for stage in theirs.stages]
        behind = theirs.behind(*map(names.index, stages))
        yield Trunk(
            recipe=theirs.name,
            dataset=DATASETS[theirs.data.dataset].title,
            training_seconds=_training_seconds(other, {names[index] for index in behind}),
        )
        yield from trunks(other, theirs, behind)


def _training_seconds(folder: RunFolder, stages: set[str]) -> float | None:
    seconds = [float(line["seconds"]) for line in folder.log() if line["stage"] in stages]
    return round(sum(seconds), 1) if seconds else None


def _hardware() -> str:
    device = choose_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, ValueError):
        model = platform.processor() or platform.machine()
    return f"{torch.get_num_threads()} cores of {model.strip()}"
