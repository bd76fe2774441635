"""A bundle, an engine and an energy model as one object: images in, answers out, no server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from spikeserve.models import inference
from spikeserve.models.bundle import load_bundle
from spikeserve.models.encoding import Pixels
from spikeserve.models.energy.estimate import EnergyEstimate, EnergyModel
from spikeserve.models.energy.hardware import DEFAULT_PROFILE, HardwareProfile, load_profile
from spikeserve.models.engines.contract import Engine
from spikeserve.models.engines.selection import EngineChoice, build_engine
from spikeserve.models.errors import EngineUnavailable, InvalidImage
from spikeserve.models.exits import Floats, StopReason, Sums
from spikeserve.models.inference import Counts, Row
from spikeserve.models.manifest import Manifest
from spikeserve.models.preprocessing import ImageSource, is_one_image, pixels
from spikeserve.models.program import Program
from spikeserve.models.recordings import RecordingSource, recording
from spikeserve.models.shipped import bundle_folder
from spikeserve.models.spike_maps import Shown, SpikeMaps

Input = ImageSource | RecordingSource
BATCH = 64
"""Images stepped together; more would take memory and no less time."""


@dataclass(frozen=True)
class Classification:
    """What the network says of one image, and how it came to say it."""

    label: str
    index: int
    """Of the label among the model's labels."""
    probability: float
    """Of the label, calibrated."""
    timesteps_used: int
    stop_reason: StopReason
    entropy: float
    """Normalised, 0…1, after the last timestep: what the exit was decided by."""
    entropies: tuple[float, ...]
    """After every timestep that ran."""
    probabilities: tuple[float, ...] = field(repr=False)
    """Of all labels."""
    energy: EnergyEstimate[float] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Trace:
    """One image through all T timesteps, whatever an exit rule would have said."""

    entropies: Floats
    """``[T]``, normalised, after every timestep."""
    probabilities: Floats
    """``[T, K]``, calibrated, after every timestep."""
    logit_sums: Sums
    """``[T, K]``, accumulated."""
    active_pairs: Counts
    """``[T, L]``: (non-zero input, output position) pairs of every synaptic layer."""
    spikes: Counts
    """``[T, LIF layers]``."""


class Model:
    """Classifies images in this process.

    Args:
        engine: runs the manifest's network; a ``FakeEngine`` in tests.
        profile: the chip of the energy estimates; the default one if left out.
        program: what the engine runs, for :meth:`spike_maps`; :func:`load` gives it.

    Raises:
        EngineUnavailable: the engine runs another network.
    """

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        profile: HardwareProfile | None = None,
        program: Program | None = None,
    ) -> None:
        if engine.network != manifest.network:
            raise EngineUnavailable(
                f"the {engine.name} engine runs another network than {manifest.name}'s; build it "
                "from the manifest's"
            )
        self.manifest = manifest
        self.engine = engine
        self.energy = EnergyModel(manifest, profile or load_profile())
        self._program = program

    def __repr__(self) -> str:
        return f"<Model {self.manifest.name} {self.manifest.version} on {self.engine.name}>"

    def classify(
        self,
        image: Input,
        *,
        threshold: float | None = None,
        min_timesteps: int | None = None,
        max_timesteps: int | None = None,
    ) -> Classification:
        """Classify one image, stopping as soon as the network is sure.

        Args:
            image: a path, the bytes of an image file, a Pillow image or uint8 ``[H, W, C]``; for a
                network that takes frames, a recording: a path or the bytes of a ``.npy`` file, or
                uint8 ``[T, H, W, C]``.
            threshold: stop when the normalised entropy (0…1) falls below this; 0 never stops
                early. The bundle's calibrated threshold if left out.
            min_timesteps: never stop before this timestep; 1 if left out.
            max_timesteps: stop here at the latest; the bundle's T if left out.

        Raises:
            InvalidPolicy: a threshold or limit is out of range for this bundle.
            InvalidImage: not an image, damaged, animated, or an array of another kind.
            OSError: the file cannot be read.
        """
        (answer,) = self.classify_batch(
            [image],
            threshold=threshold,
            min_timesteps=min_timesteps,
            max_timesteps=max_timesteps,
        )
        return answer

    def classify_batch(
        self,
        images: Sequence[Input] | Pixels,
        *,
        threshold: float | None = None,
        min_timesteps: int | None = None,
        max_timesteps: int | None = None,
    ) -> list[Classification]:
        """Classify many images; each stops on its own and has the answer it would have alone.

        Args:
            images: what :meth:`classify` takes, many of them, or one uint8 array ``[N, H, W, C]``
                (``[N, T, H, W, C]``).

        The other arguments and the errors are those of :meth:`classify`.
        """
        if is_one_image(images, len(self.manifest.input_shape)):
            raise InvalidImage("classify_batch takes several images; one goes to classify")
        policy = self.manifest.policy(threshold, min_timesteps, max_timesteps)
        rows: list[Row] = []
        for start in range(0, len(images), BATCH):
            batch = np.stack([self._input(image) for image in images[start : start + BATCH]])
            policies = [policy] * len(batch)
            rows += inference.classify(self.engine, self.manifest, batch, policies)
        return [self._answer(row) for row in rows]

    def trace(self, image: Input) -> Trace:
        """Run one image through every timestep: what calibration and pictures of exits look at.

        Raises:
            InvalidImage: not an image, damaged, animated, or an array of another kind.
            OSError: the file cannot be read.
        """
        manifest = self.manifest
        full = inference.trace(
            self.engine, manifest.encoding, self._input(image)[None], leak=manifest.readout.leak
        )
        sums, t = full.logit_sums[:, 0], np.arange(1, manifest.timesteps + 1)
        return Trace(
            entropies=manifest.readout.entropies(sums, t),
            probabilities=manifest.readout.probabilities(sums, t),
            logit_sums=sums,
            active_pairs=full.active_pairs[:, 0],
            spikes=full.spikes[:, 0],
        )

    def spike_maps(self, image: Input) -> Iterator[Shown]:
        """What enters the network at every timestep and where it fires, whatever an exit rule says.

        Computed by the reference engine, one timestep whenever the next is asked for: slower than
        :meth:`trace`, whose ``spikes`` these add up to.

        Raises:
            EngineUnavailable: this model was made without its program.
            InvalidImage: not an image, damaged, animated, or an array of another kind.
            OSError: the file cannot be read.
        """
        if self._program is None:
            raise EngineUnavailable("spike maps need the program; spikeserve.load gives it")
        manifest = self.manifest
        maps = SpikeMaps(self._program, manifest.encoding, self._input(image))
        return (maps.step() for _ in range(manifest.timesteps))

    def _input(self, source: Input) -> Pixels:
        if self.manifest.encoding.takes_images:
            return pixels(source, self.manifest.network.input_shape)
        if isinstance(source, Image.Image):
            raise InvalidImage("this model takes recordings, not images")
        return recording(source, self.manifest.input_shape)

    def _answer(self, row: Row) -> Classification:
        assert row.probabilities is not None
        assert row.stop_reason is not None
        index = int(row.probabilities.argmax())
        probabilities = tuple(row.probabilities.tolist())
        return Classification(
            label=self.manifest.labels[index],
            index=index,
            probability=probabilities[index],
            timesteps_used=row.t,
            stop_reason=row.stop_reason,
            entropy=row.entropy,
            entropies=tuple(row.entropies),
            probabilities=probabilities,
            energy=self.energy.estimate(row.active_pairs),
        )


def load(
    name_or_folder: str | os.PathLike[str],
    engine: EngineChoice = "auto",
    threads: int = 0,
    energy_profile: str | os.PathLike[str] = DEFAULT_PROFILE,
) -> Model:
    """A shipped bundle by its name, or any other by its folder, ready to classify.

    Args:
        engine: ``auto`` takes the fastest that runs here; all give the same answers.
        threads: of the event or onnx engine; 0 leaves the number to the engine (event: every core
            that this process may use). The others have their own.
        energy_profile: the chip of the energy estimates, a shipped name or a .toml file.

    Raises:
        BundleError: there is no such bundle, or it must not be used.
        EngineUnavailable: the engine's library is missing, it computes other bits, or the number
            of threads is negative.
        InvalidProfile: no energy may be computed with the profile.
    """
    bundle = load_bundle(bundle_folder(name_or_folder))
    built, profile = build_engine(bundle, engine, threads), load_profile(energy_profile)
    return Model(bundle.manifest, built, profile, bundle.program)
