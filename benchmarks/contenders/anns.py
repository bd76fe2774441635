"""The ReLU network in the runtimes people serve with, float32 and int8."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ann import Ann
from benchmarks.contenders import Build, Classes, Contender, Pixels, Unavailable
from benchmarks.contenders.modules import modules

CALIBRATION_IMAGES = 300


def contenders(ann: Ann, calibration: Pixels) -> dict[str, Build]:
    """``calibration``: training images that the int8 ranges are taken from."""
    return {
        "ANN, torch float32": lambda threads: _torch(ann, threads),
        "ANN, ONNX Runtime float32": lambda threads: _onnxruntime(
            "float32", ann.onnx().SerializeToString(), threads
        ),
        "ANN, ONNX Runtime int8": lambda threads: _onnxruntime(
            "int8", _onnxruntime_int8(ann, calibration), threads
        ),
        "ANN, OpenVINO float32": lambda threads: _openvino(ann, None, threads),
        "ANN, OpenVINO int8": lambda threads: _openvino(ann, calibration, threads),
    }


def channels_first(images: Pixels) -> NDArray[np.float32]:
    """``[N, H, W, C]`` pixels as float32 ``[N, C, H, W]``."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def _torch(ann: Ann, threads: int) -> Contender:
    try:
        import torch
        from torch import nn
    except ImportError as error:
        raise Unavailable(str(error)) from error
    model = nn.Sequential(*modules(ann.network, nn, nn.ReLU)).eval()
    weighted = [part for part in model if isinstance(part, nn.Conv2d | nn.Linear)]
    for part, (_, weight, bias) in zip(weighted, ann.parameters, strict=True):
        part.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        # The layout its convolutions are fastest in; of one channel torch 2.13 makes mistakes.
        if isinstance(part, nn.Conv2d) and weight.shape[1] > 1:
            part.weight.data = part.weight.contiguous(memory_format=torch.channels_last)

    def predict(images: Pixels) -> Classes:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
            classes: Classes = model(pixels).argmax(1).numpy()
            return classes

    return Contender("ANN, torch float32", "ANN", predict)


def _onnxruntime(kind: str, graph: bytes, threads: int) -> Contender:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def predict(images: Pixels) -> Classes:
        (logits,) = session.run(None, {"pixels": channels_first(images)})
        classes: Classes = logits.argmax(1)
        return classes

    return Contender(f"ANN, ONNX Runtime {kind}", "ANN", predict)


def _onnxruntime_int8(ann: Ann, calibration: Pixels) -> bytes:
    """Statically quantised, weights per channel, as ONNX Runtime's guide advises for x86."""
    try:
        from onnxruntime.quantization import (
            CalibrationDataReader,
            QuantFormat,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise Unavailable(str(error)) from error

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images: Iterator[dict[str, Any]] = iter(
                {"pixels": channels_first(image[None])} for image in calibration
            )

        def get_next(self) -> dict[str, Any] | None:
            return next(self._images, None)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "float.onnx").write_bytes(ann.onnx().SerializeToString())
        quant_pre_process(folder / "float.onnx", folder / "ready.onnx")
        logging.disable(logging.WARNING)  # it warns about the step just taken
        try:
            quantize_static(
                folder / "ready.onnx",
                folder / "int8.onnx",
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.disable(logging.NOTSET)
        return (folder / "int8.onnx").read_bytes()


def _openvino(ann: Ann, calibration: Pixels | None, threads: int) -> Contender:
    """Float32, or int8 by its own quantiser when calibration images are given."""
    try:
        import openvino
    except ImportError as error:
        raise Unavailable(str(error)) from error
    core = openvino.Core()
    model = core.read_model(ann.onnx().SerializeToString())
    if calibration is not None:
        try:
            import nncf
        except ImportError as error:
            raise Unavailable(str(error)) from error
        nncf.set_log_level(logging.ERROR)
        dataset = nncf.Dataset([channels_first(image[None]) for image in calibration])
        model = nncf.quantize(model, dataset, subset_size=len(calibration))
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # otherwise bfloat16 where the processor has it
        },
    )
    request = compiled.create_infer_request()

    def predict(images: Pixels) -> Classes:
        (logits,) = request.infer([channels_first(images)]).values()
        classes: Classes = logits.argmax(1)
        return classes

    kind = "float32" if calibration is None else "int8"
    return Contender(f"ANN, OpenVINO {kind}", "ANN", predict)
