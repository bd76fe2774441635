"""One stage of a recipe: where its weights come from, and how they are trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

from spikeserve.models.encoding import MAX_TIMESTEPS
from spikeserve.training.data.augmentation import Augmentation

NAME = "[a-z0-9][a-z0-9._-]{0,99}"
FIRST_NAMES = {"init_from": "after", "pretrained": "trunk"}
"""Former names of a stage's settings. Recipes may still use them, and digests are computed with
them, so that a renaming does not make another recipe of one that has trained."""

MOST_EPOCHS, MOST_PIXELS = 1_000_000, 1000
"""What is larger is a slip, found before hours of training."""
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
"""Numbers and truth values as TOML has them: no text that looks like one, no true for 1."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Stage(Section):
    """One stage of the training schedule."""

    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    init_from: str | None = None
    """The earlier stage whose weights this one starts from; the stage before, unless named."""
    pretrained: Annotated[str | None, Field(pattern=f"^({NAME}/{NAME}|bundle:.+)$")] = None
    """``recipe/stage`` of another data set or network whose weights this stage starts from, all but
    the classifier's; that recipe's run folder lies beside this run's. Layers with weights are
    matched in order. Or ``bundle:`` and a shipped bundle's name or a bundle's folder
    (:mod:`spikeserve.training.bundle_start`)."""
    neurons: Literal["relu", "clipped-relu", "halved-relu", "lif"]
    """``clipped-relu`` has the levels 0, 1/T, … 1 of neurons that fire up to T times,
    ``halved-relu`` 1, 1/2, … 2^(1-T) and 0 of neurons that fire once and count by their time."""
    timesteps: Annotated[Whole, Field(ge=1, le=MAX_TIMESTEPS)]
    epochs: Annotated[Whole, Field(ge=1, le=MOST_EPOCHS)]
    epoch_share: Annotated[Real, Field(gt=0, le=1)] = 1.0
    """Share of the images that an epoch takes, drawn anew each time. Epochs end in checkpoints:
    where a whole one takes long, a kill loses less."""
    learning_rate: Annotated[Real, Field(gt=0)]
    optimizer: Literal["muon", "adamw", "sgd"] = "muon"
    weight_decay: Annotated[Real, Field(ge=0)] = 0.1
    warmup: Annotated[Real, Field(ge=0, lt=1)] = 0.1
    """Share of the stage over which the learning rate rises; afterwards it falls to 0."""
    schedule: Literal["linear", "cosine"] = "linear"
    loss: Literal["accumulated", "timestep", "spike-time"] = "accumulated"
    """Cross-entropy of every prefix's running output, of every timestep's own, or of final
    potentials and spike times."""
    output_threshold: Annotated[Real, Field(gt=0)] = 1.0
    """Potential at which an output neuron would spike, for the spike-time loss."""
    logit_weight: Annotated[Real, Field(ge=0)] = 0.0
    """Weight of the squared distance of single logits from 1 (TET's regulariser)."""
    fold: Literal["threshold", "current"] | None = None
    """Fold batch-norm before this stage, and train what is served."""
    weight_bits: Annotated[Whole, Field(ge=2, le=8)] | None = None
    """Train with weights rounded as the quantiser will round them."""
    compensated: Flag = False
    """Begin with the first layer's weights rounded so that their errors cancel on images
    (:mod:`spikeserve.training.compensation`); needs ``weight_bits``."""
    threshold_percentile: Annotated[Real | None, Field(gt=0, le=1)] = None
    """Begin with thresholds at this percentile of each layer's currents, times
    ``threshold_scale``."""
    threshold_scale: Annotated[Real, Field(gt=0, le=1)] = 1.0
    leak: Annotated[Real | None, Field(ge=0, le=2)] = None
    """Leak of every layer at the start of the stage; unless given, the leak that the initial
    weights come with. Beyond 1 it can be compared, but not served."""
    accumulation: Literal["mean", "halving"] = "mean"
    """How timesteps add up to an output: alike, or each counting half as much as the one before.
    Only ``mean`` can be served."""
    frozen: Annotated[Whole, Field(ge=0, le=1000, repr=False)] = 0
    """How many of the first layers with weights stay as the stage begins with them, batch-norm and
    neurons included."""
    train_leak: Flag = False
    train_threshold: Flag = True
    label_smoothing: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    timestep_weights: tuple[Annotated[Real, Field(gt=0)], ...] | None = None
    teacher: str | None = None
    """Earlier stage whose final network is distilled: its logits at the first timestep, without
    the readout's scale."""
    ann_teacher: Annotated[str | None, Field(pattern=f"^{NAME}$")] = None
    """Distilled instead of a stage: the run folder, beside this run's, of a network that
    ``python -m spikeserve.training.teacher`` has trained."""
    teacher_weight: Annotated[Real, Field(ge=0, le=1)] = 0.5
    teacher_temperature: Annotated[Real, Field(gt=0)] = 2.0
    consistency_weight: Annotated[Real, Field(ge=0)] = 0.0
    """Weight of the distance of every prefix's output from that of all timesteps, which teaches
    without a further pass (temporal-wise distillation, arXiv 2501.15925)."""
    rate_weight: Annotated[Real, Field(ge=0)] = 0.0
    """Weight in the loss of the synaptic operations per dense MAC, which event-driven inference
    pays for."""
    crop_padding: Annotated[Whole, Field(ge=0, le=MOST_PIXELS)] = 4
    policy: Literal["none", "trivial"] = "none"
    """TrivialAugment after flips and crops."""
    cutout: Annotated[Whole, Field(ge=0, le=MOST_PIXELS)] = 0

    @model_validator(mode="after")
    def _one_teacher(self) -> Stage:
        if self.teacher is not None and self.ann_teacher is not None:
            raise ValueError(f"stage {self.name!r}: teacher or ann_teacher, not both")
        return self

    @model_validator(mode="before")
    @classmethod
    def _first_names(cls, settings: Any) -> Any:
        if not isinstance(settings, dict):
            return settings
        for name, first in FIRST_NAMES.items():
            if first in settings and name in settings:
                raise ValueError(f"{first} is the former name of {name}; give one of them")
        now = {first: name for name, first in FIRST_NAMES.items()}
        return {now.get(key, key): value for key, value in settings.items()}

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(self.crop_padding, self.policy, self.cutout)
