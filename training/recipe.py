"""A recipe: every hyper-parameter of a published bundle, read from TOML and checked."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from spikeserve.models.encoding import MAX_TIMESTEPS, Encoding
from spikeserve.models.network import Network
from spikeserve.models.overlay import overlaid
from spikeserve.models.plans import PLANS, planned
from spikeserve.training.drive import FloatDrive
from spikeserve.training.errors import RecipeError
from spikeserve.training.stage import FIRST_NAMES, NAME, Flag, Real, Section, Stage, Whole

RECIPES = Path(__file__).parent / "recipes"
MOST_IMAGES = 1_000_000_000
LARGEST_SEED = (1 << 64) - (1 << 20)
"""torch's generators take 64 bits; every stage counts on from the recipe's seed."""


class DataSection(Section):
    dataset: Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")] = "cifar10"
    """A published set, one prepared from a folder of pictures, or the path of one."""
    held_out: Annotated[Whole, Field(ge=1, le=MOST_IMAGES)] = 5000
    """Images taken from the end of the shuffled training set for calibration; never trained on."""
    fraction: Annotated[Real, Field(gt=0, le=1)] = 1.0
    """Use only this share of every split (smoke runs)."""


class NetworkSection(Section):
    plan: tuple[str, ...]
    """A plan's items, or the name of one in :mod:`spikeserve.models.plans`."""
    encoding: Literal["direct", "hybrid"] = "hybrid"
    timesteps: Annotated[Whole, Field(ge=1, le=MAX_TIMESTEPS)] = 4
    fire_once: Flag = True
    reset: Literal["hard", "soft"] = "hard"
    leak: Annotated[Real, Field(ge=0, le=1)] = 1.0
    initial_potential: Annotated[Real, Field(ge=0, le=1)] = 0.0
    """Potential that neurons begin with, as a share of their threshold."""
    input_gains: tuple[Annotated[Whole, Field(ge=0, le=255)], ...] | None = None
    """How often the first layer's current counts at each timestep, in steps of ``input_unit``."""
    input_unit: Annotated[Real, Field(gt=0)] = 1.0
    """Of the current of a single pass, which stands for the mean of all timesteps."""

    @model_validator(mode="after")
    def _one_gain_a_timestep(self) -> NetworkSection:
        if self.input_gains is not None and len(self.input_gains) != self.timesteps:
            raise ValueError("input_gains: one per timestep needed")
        return self

    @property
    def drive(self) -> FloatDrive | None:
        return None if self.input_gains is None else FloatDrive(self.input_gains, self.input_unit)

    @field_validator("plan", mode="before")
    @classmethod
    def _named(cls, plan: Any) -> Any:
        if isinstance(plan, str):
            if plan not in PLANS:
                raise ValueError(f"no plan {plan!r}; known: {', '.join(sorted(PLANS))}")
            return PLANS[plan]
        return plan


class Quantization(Section):
    weight_bits: Annotated[Whole, Field(ge=4, le=8)] = 8
    saturating: Flag = False
    """Weights use all their bits, and currents that leave int16 are clipped. Otherwise weights are
    scaled down until no current can."""


class Calibration(Section):
    tolerance: Annotated[Real, Field(ge=0, lt=1)] = 0.001
    """Accuracy that the default threshold may lose on the held-out images, against the best fixed
    number of timesteps or the best threshold, whichever is less accurate."""


class Recipe(Section):
    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    version: str = "1"
    description: str = ""
    seed: Annotated[Whole, Field(ge=0, le=LARGEST_SEED)] = 1
    batch_size: Annotated[Whole, Field(ge=1, le=MOST_IMAGES)] = 256
    data: DataSection = DataSection()
    network: NetworkSection
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    quantize: Quantization = Quantization()
    calibrate: Calibration = Calibration()

    @model_validator(mode="after")
    def _stages_fit(self) -> Recipe:
        seen: list[str] = []
        for stage in self.stages:
            if stage.name == "checkpoint":
                raise ValueError("a stage may not be called checkpoint: a file is")
            if stage.name in seen:
                raise ValueError(f"stage {stage.name!r} appears twice")
            for earlier in (stage.init_from, stage.teacher):
                if earlier is not None and earlier not in seen:
                    raise ValueError(f"stage {stage.name!r}: no earlier stage {earlier!r}")
            if stage.pretrained is not None and stage.init_from is not None:
                raise ValueError(f"stage {stage.name!r}: init_from or pretrained, not both")
            if stage.timesteps > self.network.timesteps:
                raise ValueError(f"stage {stage.name!r} runs longer than the network")
            if stage.compensated and (stage.weight_bits is None or stage.fold is not None):
                raise ValueError(f"stage {stage.name!r}: compensation needs weight_bits, no fold")
            if stage.timestep_weights and len(stage.timestep_weights) != stage.timesteps:
                raise ValueError(f"stage {stage.name!r}: one weight per timestep needed")
            seen.append(stage.name)
        if not self.is_folded(self.last):
            raise ValueError("some stage must fold the batch-norm before it can be quantised")
        if self.stages[-1].neurons != "lif":
            raise ValueError("the last stage must train spiking neurons")
        gained = self.network.drive is not None
        if gained and any(s.fold == "threshold" for s in self.stages):
            raise ValueError("input_gains need batch-norm folded into currents")
        return self

    @property
    def last(self) -> int:
        """Index of the stage whose network is served."""
        return len(self.stages) - 1

    @cached_property
    def required(self) -> tuple[int, ...]:
        """Indices of the stages to train: the last one and its dependencies, in order."""
        return self.with_dependencies(self.last)

    def initial_stage(self, index: int) -> int | None:
        """Index of the stage whose weights stage ``index`` starts from; None: no stage's."""
        stage = self.stages[index]
        if stage.pretrained is not None:
            return None
        if stage.init_from is None:
            return index - 1 if index else None
        return self.index(stage.init_from)

    def index(self, name: str) -> int:
        """Index of the stage called ``name``."""
        return [stage.name for stage in self.stages].index(name)

    def dependencies(self, index: int) -> tuple[int, ...]:
        """Indices of the stages whose weights stage ``index`` starts from and is taught by."""
        teacher = self.stages[index].teacher
        found = (self.initial_stage(index), None if teacher is None else self.index(teacher))
        return tuple(i for i in found if i is not None)

    def with_dependencies(self, *indices: int) -> tuple[int, ...]:
        """``indices`` and all stages they depend on, directly or not, in order."""
        found, open_ = set[int](), list(indices)
        while open_:
            index = open_.pop()
            found.add(index)
            open_ += [other for other in self.dependencies(index) if other not in found]
        return tuple(sorted(found))

    def fingerprint(self, index: int) -> tuple[Any, ...]:
        """All settings that decide what stage ``index`` learns, but those all stages share."""
        stage = self.stages[index]
        dependencies = tuple(self.fingerprint(other) for other in self.dependencies(index))
        # A single timestep knows neither resets nor leaks, and every encoding begins with pixels.
        dynamics = self.network if stage.timesteps > 1 else None
        rounding = self.quantize.saturating if stage.weight_bits is not None else None
        return index, stage, dynamics, rounding, dependencies

    def is_folded(self, index: int) -> bool:
        """Whether stage ``index`` trains without batch-norm, which it or an earlier one folded."""
        initial = self.initial_stage(index)
        if self.stages[index].fold is not None:
            return True
        return initial is not None and self.is_folded(initial)

    def build_network(self, classes: int, input_shape: tuple[int, int, int]) -> Network:
        return planned(
            self.network.plan,
            input_shape,
            classes,
            leak_q=round(self.network.leak * 256),
            reset=self.network.reset,
            fire_once=self.network.fire_once,
        )

    @property
    def encoding(self) -> Encoding:
        return Encoding(self.network.encoding, self.network.timesteps)


def load_recipe(name_or_path: str) -> tuple[Recipe, str]:
    """A recipe by name (in ``training/recipes``) or path, and the sha256 of its settings.

    A recipe that ``extends`` another (beside it, or a shipped one) inherits the other's settings,
    overrides some, and appends its stages.

    Raises:
        RecipeError: no such file, not TOML, or a field is wrong; names the field.
    """
    path = Path(name_or_path)
    if not path.suffix:
        path = RECIPES / f"{name_or_path}.toml"
    document = _read(path)
    if "extends" in document:
        base_path = _extended(path, document.pop("extends"))
        base = _read(base_path)
        if "extends" in base:
            raise RecipeError(f"{path}: {base_path} extends another recipe itself")
        if "name" not in document:
            raise RecipeError(f"{path}: name: a recipe that extends another needs its own")
        stages = [_stages(base_path, base), _stages(path, document)]
        document = overlaid(base, document) | {"stages": [*stages[0], *stages[1]]}
    return _validated(document, path), _digest(document)


def parsed_recipe(text: str, path: Path) -> Recipe:
    """A recipe that is not written yet.

    Raises:
        RecipeError: a field is wrong; names it, and ``path``.
    """
    return _validated(tomllib.loads(text), path)


def _validated(document: dict[str, Any], path: Path) -> Recipe:
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_described(error)}") from error


def _described(error: ValidationError) -> str:
    """All that is wrong, in one line."""
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"])))
        for one in error.errors(include_url=False)
    )


def _digest(document: dict[str, Any]) -> str:
    """The sha256 of all settings, under their first names, as JSON with sorted keys.

    Comments, order and renamed settings do not change it.
    """
    stages = [
        {FIRST_NAMES.get(key, key): value for key, value in stage.items()}
        for stage in document["stages"]
    ]
    settings = json.dumps(document | {"stages": stages}, sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()


def _extended(path: Path, name: object) -> Path:
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise RecipeError(f"{path}: extends must be the name of a recipe")
    beside = path.parent / f"{name}.toml"
    return beside if beside.exists() else RECIPES / beside.name


def _stages(path: Path, document: dict[str, Any]) -> list[Any]:
    stages = document.get("stages", [])
    if not isinstance(stages, list):
        raise RecipeError(f"{path}: stages must be tables, [[stages]]")
    return stages


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise RecipeError(f"cannot read recipe {path}: {error}; known recipes: {known}") from error
