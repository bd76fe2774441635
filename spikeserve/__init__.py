"""Serve spiking neural networks whose inference stops as soon as it is sure.

    import spikeserve

    model = spikeserve.load("early-exit-vgg8-cifar10")
    model.classify("cat.jpg").label

What is heavy is imported when it is first used, so that this package loads at once and nothing
that only wants one of its parts, such as a container's health check, pays for the others.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from spikeserve.models.errors import (
    BundleError,
    EngineUnavailable,
    InvalidImage,
    InvalidPolicy,
    InvalidProfile,
    ModelError,
)

# ONNX Runtime would write an identifier into the user's home and look up a host. It reads this
# once, when it is loaded; processes that we start inherit it. The second name is that of some
# releases.
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}

if TYPE_CHECKING:
    from spikeserve.importing.torch.convert import convert as convert
    from spikeserve.models.classifier import Classification, Model, Trace, load
    from spikeserve.models.engines.fake import FakeEngine
    from spikeserve.service.client import (
        AsyncSpikeServeClient,
        SpikeServeClient,
        SpikeServeError,
    )

    __version__: str

__all__ = [
    "AsyncSpikeServeClient",
    "BundleError",
    "Classification",
    "EngineUnavailable",
    "FakeEngine",
    "InvalidImage",
    "InvalidPolicy",
    "InvalidProfile",
    "Model",
    "ModelError",
    "SpikeServeClient",
    "SpikeServeError",
    "Trace",
    "__version__",
    "load",
]

_HOMES = {
    "AsyncSpikeServeClient": "service.client",
    "Classification": "models.classifier",
    "FakeEngine": "models.engines.fake",
    "Model": "models.classifier",
    "SpikeServeClient": "service.client",
    "SpikeServeError": "service.client",
    "Trace": "models.classifier",
    "convert": "importing.torch.convert",
    "load": "models.classifier",
}


if not TYPE_CHECKING:  # or a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            value = version(__name__)
        elif name in _HOMES:
            value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value  # found at once from now on
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
