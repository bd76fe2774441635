"""Which engine runs a bundle here, and the proof at load that it computes the right bits."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np

from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.contract import Engine, Step
from spikeserve.models.engines.probes import probes
from spikeserve.models.engines.reference import ReferenceEngine
from spikeserve.models.errors import EngineUnavailable
from spikeserve.models.program import Program

if TYPE_CHECKING:
    from spikeserve.models.engines.onnx import OnnxEngine

ADVICE = {"onnx": "; step graph and weights do not belong together: export the bundle again"}

logger = logging.getLogger("spikeserve")

EngineChoice = Literal["auto", "event", "onnx", "torch", "reference"]
AUTO: tuple[EngineChoice, ...] = ("event", "onnx")  # fastest first
CHECKED_TIMESTEPS = 16  # the reference is slow
CHECKED_MACS = 1 << 36  # some seconds of it
REPEATS_PAY = 8  # timesteps that keeping the first layer's currents takes to be sure to pay


def build_engine(bundle: Bundle, choice: EngineChoice = "auto", threads: int = 0) -> Engine:
    """The chosen engine, self-checked; ``auto`` takes the fastest that can run the bundle here.

    Args:
        threads: of the event or onnx engine; 0 leaves the number to the engine. The others have
            their own.

    Raises:
        EngineUnavailable: its library is missing, it disagrees with the reference, or ``threads``
            is negative.
    """
    if threads < 0:
        raise EngineUnavailable(f"threads must be 0 or more, not {threads}")
    if choice != "auto":
        return _checked(bundle, choice, threads)
    for candidate in AUTO[:-1]:
        try:
            return _checked(bundle, candidate, threads)
        except EngineUnavailable as error:
            logger.warning("%s runs on a slower engine: %s", bundle.manifest.name, error)
    return _checked(bundle, AUTO[-1], threads)


def _checked(bundle: Bundle, choice: EngineChoice, threads: int) -> Engine:
    engine = _engine(bundle, choice, threads)
    try:
        _compare_images(engine, bundle)
        _compare_answers(engine, bundle)
        if choice == "onnx":
            _compare_numbers(cast("OnnxEngine", engine), bundle.program)
    except EngineUnavailable:
        raise
    except Exception as error:  # whatever a foreign graph makes its runtime raise
        raise EngineUnavailable(
            f"the {engine.name} engine failed its self-check: {error}"
        ) from error
    return engine


def _engine(bundle: Bundle, choice: EngineChoice, threads: int) -> Engine:
    match choice:
        case "event":
            return _event_engine(bundle, threads)
        case "onnx":
            return _onnx_engine(bundle, threads)
        case "torch":
            from spikeserve.models.engines.torch import (
                TorchEngine,  # keeps torch out of the service
            )

            return TorchEngine(bundle.program)
        case "reference":
            return ReferenceEngine(bundle.program)
        case _:
            raise EngineUnavailable(
                f"no engine {choice!r}; one of {', '.join(get_args(EngineChoice))}"
            )


def _event_engine(bundle: Bundle, threads: int) -> Engine:
    try:
        from spikeserve.models.engines.event import EventEngine

        encoding = bundle.manifest.encoding
        repeats = encoding.kind == "direct" and encoding.timesteps >= REPEATS_PAY
        return EventEngine(bundle.program, threads, repeats=repeats)
    except EngineUnavailable:
        raise
    except ImportError as error:
        raise EngineUnavailable(
            f"the event engine needs numba: pip install numba ({error})"
        ) from error
    except Exception as error:  # compiler, memory, file system: their errors share no base class
        raise EngineUnavailable(f"the event engine cannot be built: {error!r}") from error


def _onnx_engine(bundle: Bundle, threads: int) -> Engine:
    try:
        from spikeserve.models.engines.onnx import OnnxEngine
    except ImportError as error:
        raise EngineUnavailable(
            f"the onnx engine needs onnxruntime: pip install onnxruntime ({error})"
        ) from error
    return OnnxEngine(bundle.program, bundle.graph, threads)


def _compare_images(engine: Engine, bundle: Bundle) -> None:
    """Built-in images against the reference, bit for bit; this also warms the engine."""
    encoding, shape = bundle.manifest.encoding, bundle.manifest.input_shape
    noise = bundle.manifest.noise_image()
    images = np.stack([noise, np.full(shape, 255, np.uint8), noise // 2])
    full = (len(images), min(encoding.timesteps, CHECKED_TIMESTEPS))
    affordable = CHECKED_MACS // bundle.manifest.network.macs
    if affordable < len(images) * 2:  # of a network this large one image has to do
        images = images[:1]
    checked = (len(images), min(full[1], max(1, affordable // len(images))))
    if checked != full:
        logger.info(
            "%s is large: checked with %d image(s) over %d timestep(s)",
            bundle.manifest.name,
            *checked,
        )
    twin = ReferenceEngine(bundle.program)
    state, expected_state = engine.start(len(images)), twin.start(len(images))
    for t in range(1, checked[1] + 1):
        frame = encoding.frame(images, t)
        step, expected = engine.step(frame, state), twin.step(frame, expected_state)
        state, expected_state = step.state, expected.state
        _compare(engine, step, expected, f"at t = {t}")


def _compare_answers(engine: Engine, bundle: Bundle) -> None:
    """What was recorded when the bundle was imported."""
    said, file, manifest = bundle.manifest.self_test, bundle.self_test, bundle.manifest
    if said is None or file is None:
        return
    found = file.agreeing(engine, manifest.encoding, manifest.exits.readout_leak)
    if found != said.agreeing:
        raise EngineUnavailable(
            f"{manifest.name} fails its self-test: {found} of {said.inputs * said.timesteps} "
            f"answers are those of the imported network, {said.agreeing} were when it was imported"
        )


def _compare_numbers(engine: OnnxEngine, program: Program) -> None:
    """Every number of a graph that is a file of its own, not only those that images meet."""
    for probe in probes(program):
        step = engine.step(probe.frames, engine.adopted(probe.state))
        _compare(engine, step, probe.expected, "from made-up states")
        after = engine.adopted(probe.expected.state)
        if not all(map(np.array_equal, step.state.arrays, after.arrays)):
            raise _disagreement(engine, "potentials", "from made-up states")


def _compare(engine: Engine, step: Step, expected: Step, where: str) -> None:
    for part in ("logits", "active_pairs", "spikes"):
        if not np.array_equal(getattr(step, part), getattr(expected, part)):
            raise _disagreement(engine, part, where)


def _disagreement(engine: Engine, part: str, where: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"the {engine.name} engine disagrees with the reference on {part} {where}"
        f"{ADVICE.get(engine.name, '')}"
    )
