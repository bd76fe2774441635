"""What a bundle's ``manifest.json`` says: everything about it but the weights.

Every field is checked when it is read; the format is on one page in ``docs/BUNDLE.md``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from spikeserve.models.encoding import Encoding, Pixels
from spikeserve.models.errors import BundleError
from spikeserve.models.exits import ExitPolicy, Readout
from spikeserve.models.layers import Described
from spikeserve.models.network import Network

TIMESTEPS_OF_FORMAT_1 = 64
IMAGE_CHANNELS = (1, 3)
MOST_CHANNELS = 16
Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ExitPoint(Section):
    """What one entropy threshold gives: one row of an exit table."""

    entropy_threshold: Probability
    accuracy: Probability
    average_timesteps: Annotated[float, Field(ge=1)]
    energy_pj: Annotated[float, Field(ge=0)] | None = None


class Exits(Section):
    """The calibrated exit rule; all of it measured on held-out training images."""

    accumulation: Literal["mean", "leaky"] = "mean"
    readout_leak: Probability | None = None
    """What stays of the sum of logits at the next timestep, where they are leaky."""
    temperatures: tuple[Annotated[float, Field(ge=1e-3, le=1e3)], ...]
    sharpness: Annotated[float, Field(ge=1, le=100)] = 1.0
    default_entropy_threshold: Probability | None
    accuracy_by_timestep: tuple[Probability, ...] | None
    table: tuple[ExitPoint, ...]
    mean_active_pairs: tuple[tuple[Annotated[float, Field(ge=0, le=1e12)], ...], ...]
    """``[T, L]``: the average row, used for the part of a static run that an exit skipped."""

    @model_validator(mode="after")
    def _whole(self) -> Exits:
        if (self.accumulation == "leaky") != (self.readout_leak is not None):
            raise ValueError("readout_leak belongs to a leaky accumulation")
        missing = {
            self.default_entropy_threshold is None, self.accuracy_by_timestep is None,
            not self.table,
        }  # fmt: skip
        if len(missing) > 1:
            raise ValueError(
                "exits.table, accuracy_by_timestep and default_entropy_threshold: all, or none "
                "of them in a bundle that is not calibrated"
            )
        return self

    @property
    def is_calibrated(self) -> bool:
        """Whether labelled images said what a threshold gives."""
        return self.default_entropy_threshold is not None


class Evaluation(Section):
    """Accuracy of the served integer program on a test set that nothing was tuned on."""

    dataset: str
    images: Annotated[int, Field(ge=1)]
    engine: str
    accuracy_by_timestep: tuple[Probability, ...]
    default: ExitPoint
    exit_histogram: tuple[Annotated[int, Field(ge=0)], ...]
    table: tuple[ExitPoint, ...]
    spikes_per_neuron_and_step: tuple[tuple[Annotated[float, Field(ge=0)], ...], ...]
    """``[T, LIF layers]``."""

    def mean_spike_rate(self, network: Network) -> float:
        """Spikes per hidden neuron and step over a static run, all neurons alike."""
        neurons = [float(np.prod(lif.in_shape)) for lif in network.lifs]
        return float(np.average(np.mean(self.spikes_per_neuron_and_step, axis=0), weights=neurons))


class Pretraining(Section):
    """A run of another recipe whose weights the training started from."""

    recipe: str
    dataset: str
    training_seconds: float | None = None
    """Duration of the stages that made those weights."""


class Golden(Section):
    """What another framework answered, and how often the float network's whole output is that."""

    sha256: Sha256
    inputs: Annotated[int, Field(ge=1)]
    identical: Annotated[int, Field(ge=0)]


class ImportedProvenance(Section):
    """Where an imported bundle comes from, and what importing it has cost."""

    kind: Literal["imported"] = "imported"
    source: str
    """Name of the file, or of the module."""
    source_sha256: Sha256
    framework: str
    writer: str | None = None
    """What the file says of its version."""
    meaning: dict[str, str | float | int | bool | None]
    """What the file does not say: dt, leak, reset, …, and whether that was told or found."""
    options: dict[str, str]
    golden: Golden | None = None
    dataset: str
    dataset_sha256: dict[str, Sha256]
    images: Annotated[int, Field(ge=0)]
    """On which the integer program was compared with the float network."""
    calibration_images: Annotated[int, Field(ge=0)]
    agreement_by_timestep: tuple[Probability, ...]
    """Share of images with the float network's class, ``[T]``."""
    agreement_without_ties: tuple[Probability | None, ...]
    """Of the images whose class is no tie in the float network; None where all tie."""
    noise_floor: Probability | None
    """Agreement at T of the float network with itself under half a grey level of noise."""
    spikes_ratio: tuple[Annotated[float, Field(ge=0)] | None, ...]
    """Spikes of the integer program by those of the float network, a LIF layer each."""
    float_accuracy: Probability | None = None
    accuracy: Probability | None = None
    accuracy_difference: tuple[float, float] | None = None
    """95 % interval of the difference on the same images."""
    weight_bits: tuple[int, ...]
    """A synaptic layer each."""
    software: dict[str, str]
    warnings: tuple[str, ...] = ()
    """What was accepted although the import would have refused it."""


class SelfTest(Section):
    """How often the program's class is that of the recorded float outputs."""

    inputs: Annotated[int, Field(ge=1, le=64)]
    timesteps: Annotated[int, Field(ge=1)]
    agreeing: Annotated[int, Field(ge=0)]
    """Of ``inputs`` times ``timesteps``."""


class Provenance(Section):
    """Where a bundle comes from."""

    model_config = ConfigDict(populate_by_name=True)

    recipe: str
    recipe_sha256: Sha256
    dataset: str
    dataset_sha256: dict[str, Sha256]
    seed: int
    training_images: int
    calibration_images: int
    software: dict[str, str]
    hardware: str
    training_seconds: float | None = None
    """Without those of the pretraining."""
    pretraining: Annotated[tuple[Pretraining, ...], Field(alias="trunks")] = ()
    """Called ``trunks`` in the JSON of schema version 1."""


class Manifest(Section):
    """Everything about a bundle but the weights."""

    schema_version: Literal[1, 2] = 1
    """2 where the program is one of format 2, which older releases cannot run."""
    name: Name
    version: Name
    description: str
    created: str
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    encoding: Encoding
    layers: tuple[Described, ...]
    logit_scale: Annotated[float, Field(ge=1e-9, le=1e3)]
    weight_bits: Annotated[int, Field(ge=4, le=8)]
    exits: Exits
    evaluation: Evaluation | None = None
    provenance: Provenance | ImportedProvenance
    self_test: SelfTest | None = None
    files: dict[str, Sha256] = {}

    @model_validator(mode="after")
    def _agree(self) -> Manifest:
        network = self.network  # raises when the layers do not chain
        channels = network.input_shape[2]
        if self.encoding.takes_images and channels not in IMAGE_CHANNELS:
            raise ValueError("the input must have 1 or 3 channels")
        if channels > MOST_CHANNELS:
            raise ValueError(f"frames have up to {MOST_CHANNELS} channels")
        if self.self_test is not None and self.self_test.timesteps > self.timesteps:
            raise ValueError(f"self_test.timesteps exceeds {self.timesteps} timesteps")
        if len(self.labels) != network.classes:
            raise ValueError(f"{len(self.labels)} labels for {network.classes} classes")
        exits, evaluation = self.exits, self.evaluation
        tables = {
            "exits.temperatures": exits.temperatures,
            "exits.mean_active_pairs": exits.mean_active_pairs,
        }
        if exits.accuracy_by_timestep is not None:
            tables["exits.accuracy_by_timestep"] = exits.accuracy_by_timestep
        if evaluation is not None:
            tables["evaluation.accuracy_by_timestep"] = evaluation.accuracy_by_timestep
            tables["evaluation.exit_histogram"] = evaluation.exit_histogram
            tables["evaluation.spikes_per_neuron_and_step"] = evaluation.spikes_per_neuron_and_step
            if any(len(r) != len(network.lifs) for r in evaluation.spikes_per_neuron_and_step):
                raise ValueError(
                    f"evaluation.spikes_per_neuron_and_step needs {len(network.lifs)} columns"
                )
        for name, table in tables.items():
            if len(table) != self.timesteps:
                raise ValueError(f"{name} needs {self.timesteps} entries")
        points = (*exits.table, *(evaluation.table if evaluation else ()))
        if any(point.average_timesteps > self.timesteps for point in points):
            raise ValueError(f"average_timesteps exceeds {self.timesteps} timesteps")
        self._check_pairs(network)
        return self

    def _check_pairs(self, network: Network) -> None:
        possible = network.possible_pairs(self.encoding.largest_count)
        for row in self.exits.mean_active_pairs:
            if len(row) != len(possible):
                raise ValueError(f"exits.mean_active_pairs needs {len(possible)} columns")
            if any(pairs > most for pairs, most in zip(row, possible, strict=True)):
                raise ValueError("exits.mean_active_pairs exceeds a layer's connections")

    @property
    def least_schema(self) -> int:
        """The oldest schema version that says all of this manifest."""
        old = (
            self.timesteps <= TIMESTEPS_OF_FORMAT_1
            and self.encoding.takes_images
            and self.exits.is_calibrated
            and self.exits.accumulation == "mean"
            and isinstance(self.provenance, Provenance)
            and self.self_test is None
        )
        return 1 if old else 2

    @property
    def network(self) -> Network:
        return Network(self.layers)

    @property
    def training(self) -> Provenance:
        """Where a bundle that was trained here comes from.

        Raises:
            BundleError: it was imported.
        """
        if isinstance(self.provenance, ImportedProvenance):
            raise BundleError(f"{self.name} was imported, not trained by a recipe")
        return self.provenance

    @property
    def default_threshold(self) -> float:
        """Of requests that name none; 0, which never stops early, where nothing is calibrated."""
        return self.exits.default_entropy_threshold or 0.0

    @property
    def timesteps(self) -> int:
        return self.encoding.timesteps

    @property
    def readout(self) -> Readout:
        exits = self.exits
        return Readout(self.logit_scale, exits.temperatures, exits.sharpness, exits.readout_leak)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of an image ``(H, W, C)``, or of a recording ``(T, H, W, C)``."""
        return self.encoding.input_shape(self.network.input_shape)

    def noise_image(self) -> Pixels:
        """The same random input every time, of the shape the network takes."""
        return np.random.default_rng(0).integers(0, 256, self.input_shape, np.uint8)

    def policy(
        self,
        entropy_threshold: float | None = None,
        min_timesteps: int | None = None,
        max_timesteps: int | None = None,
    ) -> ExitPolicy:
        """A request's exit policy; what it leaves open comes from the calibration.

        Raises:
            InvalidPolicy: a value is out of range for this model.
        """
        limit = self.timesteps if max_timesteps is None else max_timesteps
        policy = ExitPolicy(
            self.default_threshold if entropy_threshold is None else entropy_threshold,
            1 if min_timesteps is None else min_timesteps,
            limit,
        )
        policy.check_limit(self.timesteps)
        return policy
