"""A recipe: every hyper-parameter of a published bundle, read from TOML and checked."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from spikeserve.models.encoding import Encoding
from spikeserve.models.network import Network
from spikeserve.models.overlay import overlaid
from spikeserve.models.plans import PLANS, planned
from spikeserve.training.data.augmentation import Augmentation
from spikeserve.training.errors import RecipeError

RECIPES = Path(__file__).parent / "recipes"
NAME = "[a-z0-9][a-z0-9._-]{0,99}"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(Section):
    dataset: Literal["cifar10", "cifar100", "fashion-mnist"] = "cifar10"
    held_out: Annotated[int, Field(ge=1)] = 5000
    """Images taken from the end of the shuffled training set for calibration; never trained on."""
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Use only this share of every split (smoke runs)."""


class NetworkSection(Section):
    plan: tuple[str, ...]
    """A plan's items, or the name of one in :mod:`spikeserve.models.plans`."""
    encoding: Literal["direct", "hybrid"] = "hybrid"
    timesteps: Annotated[int, Field(ge=1, le=64)] = 4
    fire_once: bool = True
    reset: Literal["hard", "soft"] = "hard"
    leak: Annotated[float, Field(ge=0, le=1)] = 1.0

    @field_validator("plan", mode="before")
    @classmethod
    def _named(cls, plan: Any) -> Any:
        if isinstance(plan, str):
            if plan not in PLANS:
                raise ValueError(f"no plan {plan!r}; known: {', '.join(sorted(PLANS))}")
            return PLANS[plan]
        return plan


class Stage(Section):
    """One leg of the schedule."""

    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    after: str | None = None
    """The earlier stage whose weights it starts from; the one before it, unless named."""
    trunk: Annotated[str | None, Field(pattern=f"^{NAME}/{NAME}$")] = None
    """``recipe/stage`` of another data set, whose weights it starts from, but for the classifier;
    its run folder lies beside this one."""
    neurons: Literal["relu", "clipped-relu", "lif"]
    timesteps: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    optimizer: Literal["muon", "adamw", "sgd"] = "muon"
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the stage with a rising learning rate; it falls to 0 afterwards."""
    schedule: Literal["linear", "cosine"] = "linear"
    loss: Literal["accumulated", "timestep", "spike-time"] = "accumulated"
    """Cross-entropy of every prefix's running output, of every timestep's own, or of final
    potentials and spike times."""
    output_threshold: Annotated[float, Field(gt=0)] = 1.0
    """Potential at which an output neuron would spike, for the spike-time loss."""
    logit_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the squared distance of single logits from 1 (TET's regulariser)."""
    fold: Literal["threshold", "current"] | None = None
    """Fold batch-norm before this stage, and train what is served."""
    weight_bits: Annotated[int, Field(ge=2, le=8)] | None = None
    """Train with weights rounded as the quantiser will round them."""
    compensated: bool = False
    """Begin with the pixel layer rounded by what that does to images; needs ``weight_bits``."""
    threshold_percentile: Annotated[float | None, Field(gt=0, le=1)] = None
    """Begin with thresholds at this percentile of each layer's currents, times the scale."""
    threshold_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    leak: Annotated[float | None, Field(ge=0, le=1)] = None
    """Leak of every layer at the start of the stage, where it should not be kept."""
    train_leak: bool = False
    train_threshold: bool = True
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    timestep_weights: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    teacher: str | None = None
    """Name of an earlier stage whose final network is distilled: the logits of its first timestep
    as they are, without its readout's scale."""
    teacher_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    teacher_temperature: Annotated[float, Field(gt=0)] = 2.0
    rate_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight in the loss of the synaptic operations per dense MAC: sparsity is speed."""
    crop_padding: Annotated[int, Field(ge=0)] = 4
    policy: Literal["none", "trivial"] = "none"
    """TrivialAugment after flips and crops."""
    cutout: Annotated[int, Field(ge=0)] = 0

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(self.crop_padding, self.policy, self.cutout)


class Quantization(Section):
    weight_bits: Annotated[int, Field(ge=4, le=8)] = 8


class Calibration(Section):
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.001
    """The default threshold may lose this much accuracy against the best fixed number of timesteps,
    on the held-out split."""


class Recipe(Section):
    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    version: str = "1"
    description: str = ""
    seed: Annotated[int, Field(ge=0)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 256
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
            for earlier in (stage.after, stage.teacher):
                if earlier is not None and earlier not in seen:
                    raise ValueError(f"stage {stage.name!r}: no earlier stage {earlier!r}")
            if stage.trunk is not None and stage.after is not None:
                raise ValueError(f"stage {stage.name!r} starts after another or from a trunk")
            if stage.timesteps > self.network.timesteps:
                raise ValueError(f"stage {stage.name!r} runs longer than the network")
            if stage.compensated and (stage.weight_bits is None or stage.fold is not None):
                raise ValueError(f"stage {stage.name!r}: compensation needs weight_bits, no fold")
            if stage.timestep_weights and len(stage.timestep_weights) != stage.timesteps:
                raise ValueError(f"stage {stage.name!r}: one weight per timestep needed")
            seen.append(stage.name)
        if not self.folded(self.last):
            raise ValueError("some stage must fold the batch-norm before it can be quantised")
        if self.stages[-1].neurons != "lif":
            raise ValueError("the last stage must train spiking neurons")
        return self

    def origin(self, index: int) -> int | None:
        """Index of the stage whose weights stage ``index`` starts from; None: from scratch."""
        after = self.stages[index].after
        if self.stages[index].trunk is not None:
            return None
        if after is None:
            return index - 1 if index else None
        return [stage.name for stage in self.stages].index(after)

    @cached_property
    def needed(self) -> tuple[int, ...]:
        """Indices of the stages that the last one leans on, itself included, in order."""
        return self.behind(self.last)

    def behind(self, *indices: int) -> tuple[int, ...]:
        """Indices of the stages that any of ``indices`` leans on, these included, in order."""
        found, open_ = set[int](), list(indices)
        while open_:
            index = open_.pop()
            found.add(index)
            open_ += [earlier for earlier in self.earlier(index) if earlier not in found]
        return tuple(sorted(found))

    def earlier(self, index: int) -> tuple[int, ...]:
        """Indices of the stages that stage ``index`` starts from and is taught by."""
        names, teacher = [stage.name for stage in self.stages], self.stages[index].teacher
        found = (self.origin(index), None if teacher is None else names.index(teacher))
        return tuple(i for i in found if i is not None)

    def lineage(self, index: int) -> tuple[Any, ...]:
        """All that decides what stage ``index`` becomes, but what all stages share."""
        stage = self.stages[index]
        earlier = tuple(self.lineage(other) for other in self.earlier(index))
        # A single timestep knows neither resets nor leaks, and every encoding begins with pixels.
        dynamics = self.network if stage.timesteps > 1 else None
        return index, stage, dynamics, earlier

    @property
    def last(self) -> int:
        return len(self.stages) - 1

    def folded(self, index: int) -> bool:
        """Whether batch-norm is folded away once stage ``index`` has begun."""
        origin = self.origin(index)
        return self.stages[index].fold is not None or (origin is not None and self.folded(origin))

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
    """A recipe by name (in ``training/recipes``) or path, and the sha256 of what it says.

    A recipe that ``extends`` another (beside it, or a shipped one) takes over what it does not
    say itself and adds its stages to the other's. The sha256 is that of all settings together, as
    JSON with sorted keys: comments and order are free to change.

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
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError(f"{path}: {error}") from error
    settings = json.dumps(document, sort_keys=True)
    return recipe, hashlib.sha256(settings.encode()).hexdigest()


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
