"""The engines against each other and against what else could serve this network.

    python -m benchmarks.engines [--images 64] [--repetitions 30]

One process, the same test images for everyone, from uint8 pixels to class. Every repetition
goes through all contenders in turn, each repetition starting one further, so that a drifting
machine hits all of them; figures are medians over repetitions with their range, and ratios
are taken within a repetition. Writes ``docs/benchmarks/engines.json``, the table in
``docs/benchmarks/engines.md`` and the picture for the README; ``benchmarks.quoted`` writes the
tables of README and docs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.ann import Ann
from benchmarks.contenders import Build, Contender, Pixels, Unavailable, anns, frameworks, spiking
from benchmarks.machine import libraries, machine
from spikeserve.models.bundle import Bundle, load_bundle
from spikeserve.models.engines.contract import Engine
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.inference import classify
from spikeserve.service.settings import DEFAULT_BUNDLE
from spikeserve.training.data import DATASETS

RESULTS = Path("docs/benchmarks")
SETTINGS = ((1, 1), (1, 16), (2, 1), (2, 16))  # threads, batch
ACCURACY_BATCH = 100
BASELINE = spiking.default_name("event")
REST_S = 0.005  # lets another runtime's spinning threads go to sleep

Result = dict[str, Any]


def builds(bundle: Bundle, calibration: Pixels) -> dict[str, Build]:
    """Everything that is compared."""
    network = bundle.manifest.network
    return {
        **spiking.contenders(bundle),
        **anns.contenders(Ann.stored(network), calibration),
        **frameworks.contenders(network, bundle.manifest.encoding),
    }


def prepared(candidates: dict[str, Build], threads: int) -> tuple[list[Contender], dict[str, str]]:
    """Contenders that run here, and why the others do not."""
    ready, missing = [], {}
    for name, build in candidates.items():
        try:
            ready.append(build(threads))
        except Unavailable as reason:
            missing[name] = str(reason)
    return ready, missing


def accuracy(contender: Contender, images: Pixels, labels: Any) -> float | None:
    """Share of images classified right; None where the classes mean nothing."""
    if not contender.accurate:
        return None
    right = sum(
        int(
            (
                contender.predict(images[k : k + ACCURACY_BATCH]) == labels[k : k + ACCURACY_BATCH]
            ).sum()
        )
        for k in range(0, len(images), ACCURACY_BATCH)
    )
    return right / len(images)


def timed(contender: Contender, images: Pixels, batch: int) -> float:
    """Milliseconds an image."""
    time.sleep(REST_S)
    contender.predict(images[:batch])
    started = time.perf_counter()
    for k in range(0, len(images), batch):
        contender.predict(images[k : k + batch])
    return (time.perf_counter() - started) * 1000 / len(images)


def measured(
    contenders: Sequence[Contender], images: Pixels, batch: int, repetitions: int, title: str
) -> dict[str, list[float]]:
    """Every contender's milliseconds an image, a list over repetitions."""
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for repetition in track(range(repetitions), title, transient=True):
        shift = repetition % len(contenders)
        for contender in [*contenders[shift:], *contenders[:shift]]:
            times[contender.name].append(timed(contender, images, batch))
    return times


def summary(times: list[float], baseline: list[float]) -> dict[str, float]:
    ratios = [mine / base for mine, base in zip(times, baseline, strict=True)]
    return {
        "ms": round(statistics.median(times), 4),
        "ms_min": round(min(times), 4),
        "ms_max": round(max(times), 4),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_min": round(min(ratios), 2),
        "ratio_max": round(max(ratios), 2),
    }


def scaling(bundle: Bundle, images: Pixels, repetitions: int) -> dict[str, float]:
    """How much faster two threads step 16 rows through all T than one, the engine alone."""
    encoding = bundle.manifest.encoding
    engines = [build_engine(bundle, "event", threads) for threads in (1, 2)]

    def seconds(engine: Engine) -> float:
        spent = 0.0
        for start in range(0, len(images) - 15, 16):
            state = engine.start(16)
            for t in range(1, encoding.timesteps + 1):
                frames = encoding.frame(images[start : start + 16], t)
                began = time.perf_counter()
                state = engine.step(frames, state).state
                spent += time.perf_counter() - began
        return spent

    ratios = []
    for repetition in range(repetitions + 1):  # the first warms up
        order = engines if repetition % 2 else engines[::-1]
        spent = {id(engine): seconds(engine) for engine in order}
        ratios.append(spent[id(engines[0])] / spent[id(engines[1])])
    return {
        "median": round(statistics.median(ratios[1:]), 2),
        "min": round(min(ratios[1:]), 2),
        "max": round(max(ratios[1:]), 2),
    }


def average_timesteps(bundle: Bundle, images: Pixels) -> float:
    """At the default threshold, on the images that are timed."""
    policies = [bundle.manifest.policy()] * len(images)
    rows = classify(build_engine(bundle), bundle.manifest, images, policies)
    return statistics.fmean(row.t for row in rows)


def compare(bundle: Bundle, data: Path, count: int, repetitions: int) -> Result:
    """The whole comparison as one JSON document."""
    test = DATASETS["cifar10"].test(data)
    calibration = DATASETS["cifar10"].train(data).images[: anns.CALIBRATION_IMAGES]
    candidates = builds(bundle, calibration)
    chosen = test.images[:: len(test) // count][:count]  # evenly spaced
    rows: dict[str, Result] = {}
    missing: dict[str, str] = {}
    for threads in sorted({threads for threads, _ in SETTINGS}):
        contenders, missing = prepared(candidates, threads)
        for contender in contenders:
            if contender.name not in rows:
                share = (
                    rows[contender.same_as]["accuracy"]
                    if contender.same_as in rows
                    else accuracy(contender, test.images, test.labels)
                )
                rows[contender.name] = {"family": contender.family, "accuracy": share, "times": {}}
        for batch in sorted({batch for owned, batch in SETTINGS if owned == threads}):
            title = f"{threads} threads, batch {batch}"
            times = measured(contenders, chosen, batch, repetitions, title)
            for contender in contenders:
                result = summary(times[contender.name], times[BASELINE])
                rows[contender.name]["times"][f"threads {threads}, batch {batch}"] = result
    return {
        "date": date.today().isoformat(),
        "bundle": f"{bundle.manifest.name} {bundle.manifest.version}",
        "machine": machine(),
        "libraries": libraries(),
        "images": len(chosen),
        "average_timesteps": average_timesteps(bundle, chosen),
        "accuracy_images": len(test.labels),
        "repetitions": repetitions,
        "two_threads_batch_16": scaling(bundle, chosen, repetitions),
        "baseline": BASELINE,
        "contenders": rows,
        "unavailable": missing,
    }


def table(result: Result) -> str:
    """The comparison in Markdown."""
    columns = [f"threads {threads}, batch {batch}" for threads, batch in SETTINGS]
    lines = [
        "| | accuracy | " + " | ".join(f"{c}: ms (range), ratio" for c in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for name, row in result["contenders"].items():
        share = "–" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f} %"
        cells = []
        for column in columns:
            t = row["times"][column]
            cells.append(f"{t['ms']:.3f} ({t['ms_min']:.3f}…{t['ms_max']:.3f}), {t['ratio']:.2f}×")
        title = f"**{name}**" if name == result["baseline"] else name
        lines.append(f"| {title} | {share} | " + " | ".join(cells) + " |")
    lines += [f"\n{name} could not run: {reason}" for name, reason in result["unavailable"].items()]
    scale = result["two_threads_batch_16"]
    lines.append(
        f"\nThe event engine alone, 16 rows through all T: two threads are {scale['median']} times "
        f"({scale['min']}…{scale['max']}) as fast as one."
    )
    facts, versions = result["machine"], result["libraries"]
    lines.append(
        f"\n{facts['processor']} ({facts['architecture']}, {facts['cores']} cores), "
        f"{facts['system']}, Python {facts['python']}, "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + f". {result['bundle']}, {result['images']} evenly spaced CIFAR-10 test images "
        f"({result['average_timesteps']:.4f} average timesteps by default), "
        f"{result['repetitions']} repetitions, {result['date']}; accuracy on "
        f"{result['accuracy_images']:,} images. Milliseconds an image: median and range. "
        f"Ratio: time over that of “{result['baseline']}” in the same repetition, median. "
        "Frameworks run untrained weights."
    )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    from benchmarks.pictures import accuracy_against_latency  # matplotlib: the bench extra

    result = compare(load_bundle(options.bundle), options.data, options.images, options.repetitions)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "engines.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "engines.md").write_text(table(result))
    accuracy_against_latency(result, options.out / "engines.png")
    print(table(result))


if __name__ == "__main__":
    main()
