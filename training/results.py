"""Results of quantisation and calibration in a run folder, each with a digest of its causes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from safetensors.numpy import load_file, save_file

from spikeserve.models.bundle import program_from_tensors, program_tensors
from spikeserve.models.layers import Described
from spikeserve.models.manifest import Exits
from spikeserve.models.network import Network
from spikeserve.models.program import Program
from spikeserve.training.errors import TrainingError
from spikeserve.training.run import Run
from spikeserve.training.run_folder import RunFolder
from spikeserve.training.stage import FIRST_NAMES

PROGRAM_LAYERS, PROGRAM_TENSORS, EXITS = "program.json", "program.safetensors", "exits.json"
File = TypeVar("File", bound=BaseModel)


class _ProgramFile(BaseModel):
    made_by: str
    layers: tuple[Described, ...]
    logit_scale: float


class _ExitsFile(BaseModel):
    made_by: str
    tolerance: float
    exits: Exits


def write_program(run: Run, program: Program) -> None:
    """Replace the run's program, and drop the exit rule that the former program had."""
    described = _ProgramFile(
        made_by=_digest(run), layers=program.network.layers, logit_scale=program.logit_scale
    )
    (run.folder / EXITS).unlink(missing_ok=True)
    (run.folder / PROGRAM_LAYERS).unlink(missing_ok=True)  # last, so that a kill leaves no mixture
    save_file(program_tensors(program), run.folder / PROGRAM_TENSORS)
    (run.folder / PROGRAM_LAYERS).write_text(described.model_dump_json(), encoding="utf-8")


def read_program(run: Run) -> Program:
    """The integer program that this recipe and these weights gave.

    Raises:
        TrainingError: the folder has none.
    """
    RunFolder(run.folder).check(run.recipe)
    described = _read(_ProgramFile, run.folder / PROGRAM_LAYERS, "quantize")
    if described.made_by != _digest(run):
        raise TrainingError(
            f"{run.folder / PROGRAM_LAYERS} was made of other weights or by another recipe; "
            "run: spiketrain quantize"
        )
    tensors = load_file(run.folder / PROGRAM_TENSORS)
    return program_from_tensors(Network(described.layers), tensors, described.logit_scale)


def write_exits(run: Run, exits: Exits) -> None:
    """Keep the exit rule that was calibrated for the run's program."""
    described = _ExitsFile(
        made_by=_digest(run), tolerance=run.recipe.calibrate.tolerance, exits=exits
    )
    (run.folder / EXITS).write_text(described.model_dump_json(indent=1), encoding="utf-8")


def read_exits(run: Run) -> Exits:
    """The exit rule calibrated for the run's program, at the recipe's tolerance.

    Raises:
        TrainingError: the folder has none.
    """
    described = _read(_ExitsFile, run.folder / EXITS, "calibrate")
    if (described.made_by, described.tolerance) != (_digest(run), run.recipe.calibrate.tolerance):
        raise TrainingError(
            f"{run.folder / EXITS} is another program's or of another tolerance; "
            "run: spiketrain calibrate"
        )
    return described.exits


def _digest(run: Run) -> str:
    """The sha256 of all that decides which program a run gives."""
    recipe = run.recipe
    weights = RunFolder(run.folder).weights(recipe.stages[recipe.last])
    trained = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None
    causes = repr((recipe.fingerprint(recipe.last), recipe.network, recipe.quantize, trained))
    for name, first in FIRST_NAMES.items():  # as in the results of earlier releases
        causes = causes.replace(f" {name}=", f" {first}=")
    return hashlib.sha256(causes.encode()).hexdigest()


def _read(kind: type[File], path: Path, step: str) -> File:
    """The result that ``spiketrain <step>`` wrote to ``path``."""
    if not path.exists():
        raise TrainingError(f"{path} is missing; run: spiketrain {step}")
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise TrainingError(
            f"{path} is damaged or another version's; run: spiketrain {step}"
        ) from error
