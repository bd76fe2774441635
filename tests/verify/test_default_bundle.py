"""Slow proofs on the shipped bundle and real CIFAR-10 test images (``make verify``)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest

from spikeserve.models.bundle import Bundle, load_bundle
from spikeserve.models.engines.contract import Engine, State
from spikeserve.models.engines.selection import EngineChoice, build_engine
from spikeserve.models.exits import ExitPolicy, select_exits
from spikeserve.models.inference import Trace, classify, trace
from spikeserve.service.settings import DEFAULT_BUNDLE
from spikeserve.training.calibrate import calibrated
from spikeserve.training.data import DATASETS, Split, held_out, titled
from spikeserve.training.evaluate import evaluated
from spikeserve.training.recipe import load_recipe
from tests.conftest import encoded
from tests.processes import running_service
from tests.verify.equality import check_same_bits

pytestmark = pytest.mark.verify

DATA = Path("data")
ZOO = sorted(path for path in DEFAULT_BUNDLE.parent.iterdir() if path.is_dir())
CONNECTIONS = 32


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_bundle(DEFAULT_BUNDLE)


@pytest.fixture(scope="module")
def test_set() -> Split:
    return DATASETS["cifar10"].test(DATA)


@pytest.fixture(scope="module")
def event_engine(shipped: Bundle) -> Engine:
    return build_engine(shipped, "event")


@pytest.fixture(scope="module")
def event_trace(shipped: Bundle, event_engine: Engine, test_set: Split) -> Trace:
    return trace(event_engine, shipped.manifest.encoding, test_set.images)


@pytest.mark.parametrize(
    ("choice", "count"), [("reference", 10_000), ("onnx", 1000), ("torch", 1000)]
)
def test_engines_give_the_same_bits_at_every_timestep(
    shipped: Bundle, test_set: Split, event_trace: Trace, choice: EngineChoice, count: int
) -> None:
    check_same_bits(shipped, choice, test_set.images[:count], event_trace)


@pytest.mark.parametrize(
    ("choice", "threads"),
    [("event", 1), ("event", 2), ("event", 5), ("reference", 0), ("onnx", 0), ("torch", 0)],
)
def test_rows_alone_and_in_mixed_batches_give_the_same_bits(
    shipped: Bundle, test_set: Split, event_trace: Trace, choice: EngineChoice, threads: int
) -> None:
    """1,000 rows enter and leave at random, 1…64 at a time, every tick of mixed ages."""
    engine = build_engine(shipped, choice, threads)
    encoding, timesteps = shipped.manifest.encoding, shipped.manifest.timesteps
    rng = np.random.default_rng(11)
    waiting = list(range(1000))
    live = np.zeros((0, 2), np.int64)  # image, timesteps done
    sums = np.zeros((1000, shipped.manifest.network.classes), np.int64)
    state = engine.start(0)
    sizes = set()
    while waiting or len(live):
        room = int(rng.integers(1, 65)) - len(live)
        entering = [waiting.pop() for _ in range(min(len(waiting), max(0, room)))]
        state = State.join([state, engine.start(len(entering))])
        live = np.concatenate([live, np.array([[k, 0] for k in entering], np.int64).reshape(-1, 2)])
        sizes.add(len(live))
        frames = encoding.frames(list(test_set.images[live[:, 0]]), list(live[:, 1] + 1))
        step = engine.step(frames, state)
        live[:, 1] += 1
        sums[live[:, 0]] += step.logits
        for row, (image, t) in enumerate(live):
            assert np.array_equal(sums[image], event_trace.logit_sums[t - 1, image])
            assert np.array_equal(step.active_pairs[row], event_trace.active_pairs[t - 1, image])
        keep = np.flatnonzero((live[:, 1] < timesteps) & (rng.random(len(live)) > 0.05))
        state, live = step.state.take(keep), live[keep]
    assert {1, 64} <= sizes or len(sizes) > 20


def test_real_early_exit_equals_post_hoc_selection(
    shipped: Bundle, event_engine: Engine, test_set: Split, event_trace: Trace
) -> None:
    manifest = shipped.manifest
    entropies = event_trace.entropies(manifest.readout)[:, :1000]
    for threshold in np.linspace(0.0, 1.0, 20):
        policy = ExitPolicy(float(threshold), 1, manifest.timesteps)
        for start in range(0, 1000, 50):
            images = test_set.images[start : start + 50]
            rows = classify(event_engine, manifest, images, [policy] * len(images))
            exits = select_exits(entropies[:, start : start + 50], policy)
            assert [row.t for row in rows] == exits.tolist()
            for n, row in enumerate(rows, start=start):
                assert row.logit_sum is not None
                assert np.array_equal(row.logit_sum, event_trace.logit_sums[row.t - 1, n])


@pytest.mark.parametrize("folder", ZOO, ids=lambda folder: folder.name)
def test_the_exit_rule_follows_from_held_out_training_images(folder: Path) -> None:
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    recipe, _ = load_recipe(manifest.training.recipe)
    train = titled(manifest.provenance.dataset).train(DATA)
    _, rest = held_out(train, recipe.data.held_out, recipe.seed)
    full = trace(build_engine(bundle, "event"), manifest.encoding, rest.images)
    tolerance = recipe.calibrate.tolerance
    assert calibrated(full, rest.labels, manifest.logit_scale, tolerance) == manifest.exits


@pytest.mark.parametrize("folder", ZOO, ids=lambda folder: folder.name)
def test_evaluation_in_the_manifest_is_reproduced(folder: Path) -> None:
    bundle = load_bundle(folder)
    dataset = titled(bundle.manifest.provenance.dataset)
    engine = build_engine(bundle, "event")
    again = evaluated(bundle, engine, dataset.test(DATA), dataset.title)
    assert again == bundle.manifest.evaluation


async def _post_all(url: str, images: Sequence[bytes]) -> list[dict[str, object]]:
    limits = httpx.Limits(max_connections=CONNECTIONS)
    gate = asyncio.Semaphore(CONNECTIONS)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as http:

        async def post(image: bytes) -> dict[str, object]:
            async with gate:
                response = await http.post("/classify", content=image)
            response.raise_for_status()
            answer: dict[str, object] = response.json()
            return answer

        return await asyncio.gather(*(post(image) for image in images))


def test_posting_every_test_image_gives_the_cards_numbers(
    shipped: Bundle, test_set: Split, tmp_path: Path
) -> None:
    evaluation = shipped.manifest.evaluation
    assert evaluation is not None
    images = [encoded(image) for image in test_set.images]
    with running_service(DEFAULT_BUNDLE, tmp_path / "log") as client:
        answers = asyncio.run(_post_all(str(client.base_url), images))
    used = np.array([answer["timesteps_used"] for answer in answers])
    predicted = np.array([answer["prediction"]["index"] for answer in answers])  # type: ignore[index]
    energy = np.array([answer["energy"]["total_pj"] for answer in answers])  # type: ignore[index]
    histogram = np.bincount(used, minlength=shipped.manifest.timesteps + 1)[1:]
    print(
        f"served: {100 * (predicted == test_set.labels).mean():.2f} % at {used.mean():.4f} "
        f"average timesteps, {energy.mean() / 1e6:.3f} µJ, exits {histogram.tolist()}"
    )
    assert tuple(histogram) == evaluation.exit_histogram
    assert float((predicted == test_set.labels).mean()) == evaluation.default.accuracy
    assert float(used.mean()) == evaluation.default.average_timesteps
    assert round(float(energy.mean()), 1) == evaluation.default.energy_pj
