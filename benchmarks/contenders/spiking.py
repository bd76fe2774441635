"""SpikeServe's engines: all T timesteps, and stopping at the bundle's default threshold."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.contenders import Build, Classes, Contender, Pixels, Unavailable
from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.selection import EngineChoice, build_engine
from spikeserve.models.errors import EngineUnavailable
from spikeserve.models.exits import ExitPolicy
from spikeserve.models.inference import classify

ENGINES: tuple[EngineChoice, ...] = ("event", "onnx", "torch")


def static_name(engine: str) -> str:
    return f"{engine} engine, all T"


def default_name(engine: str) -> str:
    return f"{engine} engine, early exit"


def contenders(bundle: Bundle) -> dict[str, Build]:
    """Every engine both ways."""
    manifest = bundle.manifest

    def build(
        name: str, choice: EngineChoice, policy: ExitPolicy, same_as: str, threads: int
    ) -> Contender:
        try:
            engine = build_engine(bundle, choice, threads)
        except EngineUnavailable as error:
            raise Unavailable(str(error)) from error

        def predict(images: Pixels) -> Classes:
            if choice == "torch":  # its thread count belongs to the process
                import torch

                torch.set_num_threads(threads)
            rows = classify(engine, manifest, images, [policy] * len(images))
            return np.array([np.argmax(row.logit_sum) for row in rows])  # type: ignore[arg-type]

        return Contender(name, "SpikeServe", predict, same_as=same_as if name != same_as else None)

    builds: dict[str, Build] = {}
    static, default = manifest.policy(entropy_threshold=0.0), manifest.policy()
    for choice in ENGINES:
        for named, policy in ((default_name, default), (static_name, static)):
            builds[named(choice)] = partial(build, named(choice), choice, policy, named(ENGINES[0]))
    return builds
