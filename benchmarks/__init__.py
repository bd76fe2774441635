"""Performance claims: each runs against its peers in the same process and prints a ratio."""

import sys

import spikeserve  # noqa: F401  # first of all: it keeps ONNX Runtime from looking up a host

# OpenVINO and nncf look up a host through a package that they also do without.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
