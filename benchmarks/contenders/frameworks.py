"""The same architecture in SNN frameworks: all T timesteps, as they run it.

The weights are untrained. Their neurons cannot fire at most once, so the bundle's weights
would not give its answers either, and a dense timestep takes the same time for any weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.contenders import Build, Classes, Contender, Pixels, Unavailable
from benchmarks.contenders.modules import modules
from spikeserve.models.encoding import FULL_BRIGHTNESS, Encoding
from spikeserve.models.network import Network


def contenders(network: Network, encoding: Encoding) -> dict[str, Build]:
    timesteps = encoding.timesteps
    return {
        f"SpikingJelly, T = {timesteps}": lambda threads: _contender(
            f"SpikingJelly, T = {timesteps}", _spikingjelly(network), encoding, threads
        ),
        f"snnTorch, T = {timesteps}": lambda threads: _contender(
            f"snnTorch, T = {timesteps}", _snntorch(network), encoding, threads
        ),
    }


def _contender(name: str, run: Callable[[Any], Any], encoding: Encoding, threads: int) -> Contender:
    """``run`` takes frames ``[T, N, C, H, W]`` and gives logits ``[T, N, K]``."""
    import torch

    def predict(images: Pixels) -> Classes:
        torch.set_num_threads(threads)
        frames = np.stack([encoding.frame(images, t + 1) for t in range(encoding.timesteps)])
        with torch.inference_mode():
            pixels = torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float() / FULL_BRIGHTNESS
            classes: Classes = run(pixels).mean(0).argmax(1).numpy()
            return classes

    return Contender(name, "SNN framework", predict, accurate=False)


def _spikingjelly(network: Network) -> Callable[[Any], Any]:
    """Multi-step mode: a layer sees all timesteps at once, the faster of its two modes."""
    try:
        from spikingjelly.activation_based import functional, layer, neuron
        from torch import nn
    except ImportError as error:
        raise Unavailable(str(error)) from error
    lif = partial(neuron.LIFNode, tau=2.0, v_threshold=1.0)
    model = nn.Sequential(*modules(network, layer, lif)).eval()
    functional.set_step_mode(model, "m")

    def run(frames: Any) -> Any:
        functional.reset_net(model)
        return model(frames)

    return run


def _snntorch(network: Network) -> Callable[[Any], Any]:
    try:
        import snntorch
        import torch
        from torch import nn
    except ImportError as error:
        raise Unavailable(str(error)) from error
    leaky = partial(snntorch.Leaky, beta=0.5, reset_mechanism="zero")
    model = nn.ModuleList(modules(network, nn, leaky)).eval()

    def run(frames: Any) -> Any:
        membranes = {
            index: module.reset_mem()
            for index, module in enumerate(model)
            if isinstance(module, snntorch.Leaky)
        }
        logits = []
        for frame in frames:
            x = frame
            for index, module in enumerate(model):
                if index in membranes:
                    x, membranes[index] = module(x, membranes[index])
                else:
                    x = module(x)
            logits.append(x)
        return torch.stack(logits)

    return run
