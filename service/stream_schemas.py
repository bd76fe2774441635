"""What ``POST /classify/stream`` is asked for and tells, besides the answer itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from spikeserve.service.schemas import ClassifyParameters, ScoredClass


class StreamParameters(ClassifyParameters):
    """What a stream may be asked for besides."""

    detail: Annotated[
        Literal["none", "spikes"],
        Field(description="spikes: what the network was shown and where it fired, each timestep"),
    ] = "none"


class InputMap(BaseModel):
    """What the network was shown at a timestep: its frame, cropped, resampled and encoded."""

    shape: Annotated[
        tuple[int, int, int],
        Field(description="height, width and channels; every k-th pixel where a side exceeds 64"),
    ]
    pixels: Annotated[str, Field(description="uint8 in base64, row by row, channels last")]


class SpikeMap(BaseModel):
    """Where a layer of neurons fired at a timestep."""

    name: str
    channels: int
    spikes: Annotated[int, Field(description="of this layer at this timestep")]
    shape: Annotated[
        tuple[int, int],
        Field(
            description="height and width, at most 32 each: neighbours share cells; a layer of "
            "1×1 places is laid out by its channels"
        ),
    ]
    map: Annotated[
        str,
        Field(
            description="uint8 in base64, row by row: the share of a cell's neurons that fired, "
            "255 for all, rounded up"
        ),
    ]


class SpikeDetail(BaseModel):
    """What the network was shown, and where it fired."""

    input: InputMap
    layers: list[SpikeMap]


class Timestep(BaseModel):
    """What a stream tells after every timestep."""

    t: int
    top_k: list[ScoredClass]
    entropy: float
    spikes: Annotated[int, Field(description="by all hidden neurons, so far")]
    energy_pj: Annotated[
        float | None,
        Field(description="estimate, so far; null where it failed or energy=off"),
    ]
    energy_interval_pj: Annotated[
        tuple[float, float] | None,
        Field(description="5th to 95th percentile over uncertain constants"),
    ]
    detail: Annotated[
        SpikeDetail | None,
        Field(description="with detail=spikes; null also where it failed or a deadline had passed"),
    ]
