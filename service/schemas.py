"""What goes over the wire: request parameters and answers. These names are frozen."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from spikeserve.models.curve import CurvePoint
from spikeserve.models.encoding import MAX_TIMESTEPS
from spikeserve.models.energy.estimate import EnergyEstimate
from spikeserve.models.energy.report import EnergyReport
from spikeserve.models.exits import StopReason
from spikeserve.service.capacity import TickSize


def _whole(value: object) -> object:
    """JSON has one kind of number: some libraries write 3 as 3.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]


class ClassifyParameters(BaseModel):
    """How one request wants to be answered; what is left out comes from the model's calibration."""

    model_config = ConfigDict(extra="forbid")

    entropy_threshold: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            allow_inf_nan=False,
            description="stop when the normalised entropy (0…1) of the accumulated output falls "
            "below this; 0 never stops early; default: the model's calibrated threshold",
        ),
    ] = None
    min_timesteps: Annotated[
        Whole | None, Field(ge=1, description="never stop before this timestep")
    ] = None
    max_timesteps: Annotated[
        Whole | None, Field(ge=1, description="stop here at the latest; default: the model's T")
    ] = None
    deadline_ms: Annotated[
        float | None,
        Field(
            gt=0,
            le=600_000,
            description="answer within so many milliseconds of the request's arrival, by the end "
            "of the timestep that is running then",
        ),
    ] = None
    on_deadline: Annotated[
        Literal["best", "error"],
        Field(description="at the deadline: the best answer so far, or 504"),
    ] = "best"
    target_accuracy: Annotated[
        float | None,
        Field(ge=0, le=1, description="the cheapest threshold with this calibrated accuracy"),
    ] = None
    target_timesteps: Annotated[
        float | None,
        Field(
            ge=1,
            le=MAX_TIMESTEPS,
            description="the most accurate threshold with at most so many timesteps on average",
        ),
    ] = None
    energy_budget_pj: Annotated[
        float | None,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="the most accurate threshold that costs at most this much on average",
        ),
    ] = None
    brownout: Annotated[
        bool, Field(description="false: keep my threshold however long the queue is")
    ] = True
    top_k: Annotated[Whole, Field(ge=1, description="how many classes to return")] = 1
    energy: Annotated[
        Literal["on", "off", "full"],
        Field(description="the estimate; without it; or with parts, assumptions and sources"),
    ] = "on"
    model: Annotated[str | None, Field(description="default: the first model loaded")] = None
    version: Annotated[str | None, Field(description="default: its first version loaded")] = None


BASE64 = "the image file in base64, of either alphabet, in one line or several; or a data URI"


class ClassifyDocument(BaseModel):
    """The JSON form of a request."""

    inputs: Annotated[str, Field(description=BASE64)]
    parameters: dict[str, Any] = {}
    """Validated as :class:`ClassifyParameters` by whoever reads the body."""


class BatchDocument(BaseModel):
    """The JSON form of a batch; each item is validated on its own."""

    items: Annotated[list[Any], Field(min_length=1)]
    parameters: dict[str, Any] = {}


class NothingMore(BaseModel):
    """The JSON of a request that says everything by its path."""


class RepositoryIndex(BaseModel):
    """What an index of models is asked for."""

    ready: bool | None = None


class ScoredClass(BaseModel):
    index: int
    label: str
    probability: float


class ModelReference(BaseModel):
    name: str
    version: str
    engine: str


class Energy(BaseModel):
    """An estimate for an in-memory-computing chip, never a measurement of this machine."""

    estimate: Literal[True] = True
    total_pj: float
    interval_pj: Annotated[
        tuple[float, float], Field(description="5th to 95th percentile over uncertain constants")
    ]
    static_pj: Annotated[float, Field(description="the same image run to the model's last step")]
    saved_ratio: Annotated[float, Field(description="1 - total / static")]
    saved_interval: tuple[float, float]
    ann_pj: Annotated[
        float, Field(description="an ANN of the same layers on the same chip, ann_bits deep")
    ]
    ann_bits: int
    latency_ns: float
    pipelined_latency_ns: Annotated[float, Field(description="lower bound: all layers at once")]
    edp_pj_ns: float
    profile: str
    in_domain: Annotated[bool, Field(description="false: beyond what the profile was validated")]
    detail: Annotated[EnergyReport | None, Field(description="with energy=full")] = None

    @classmethod
    def of(cls, estimate: EnergyEstimate[float], detail: EnergyReport | None) -> Energy:
        energy = cls.model_validate(estimate, from_attributes=True)
        energy.detail = detail
        return energy


class Timing(BaseModel):
    decode: float
    queue: float
    inference: float
    total: float

    @property
    def header(self) -> str:
        """As ``Server-Timing`` has it."""
        return (
            f"decode;dur={self.decode:.3f}, queue;dur={self.queue:.3f}, "
            f"inference;dur={self.inference:.3f}, total;dur={self.total:.3f}"
        )


class Expectation(BaseModel):
    """What the calibration says of the threshold that an asked-for outcome led to; averages."""

    accuracy: float
    average_timesteps: float
    energy_pj: float

    @classmethod
    def of(cls, point: CurvePoint) -> Expectation:
        return cls.model_validate(point, from_attributes=True)


class Classification(BaseModel):
    """The answer to one image."""

    request_id: str
    model: ModelReference
    prediction: ScoredClass
    top_k: list[ScoredClass]
    timesteps_used: int
    max_timesteps: int
    entropy: float
    entropy_threshold: Annotated[float, Field(description="the one in effect")]
    requested_entropy_threshold: Annotated[
        float | None, Field(description="where load has moved it: the one asked for")
    ]
    expected: Annotated[
        Expectation | None, Field(description="where an outcome was asked for: what to expect")
    ]
    stop_reason: StopReason
    energy: Annotated[Energy | None, Field(description="null with energy=off")]
    timing_ms: Timing


class Problem(BaseModel):
    """RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


class BatchItem(BaseModel):
    """One image of a batch: an answer or a problem."""

    status: int
    classification: Classification | None = None
    problem: Problem | None = None


class BatchClassification(BaseModel):
    """Items in the order they were sent."""

    request_id: str
    results: list[BatchItem]
    average_timesteps: float | None
    energy_pj: float


class ModelSummary(BaseModel):
    """A served model."""

    name: str
    version: str
    description: str
    engine: str
    default: bool
    labels: tuple[str, ...]
    input_shape: Annotated[
        tuple[int, ...],
        Field(
            description="height, width, channels of an image, or timesteps before them of frames"
        ),
    ]
    encoding: str
    timesteps: int
    default_entropy_threshold: Annotated[
        float | None, Field(description="null: not calibrated, nobody stops early unasked")
    ]
    slots: int
    queue_capacity: int
    brownout: bool
    measured_ticks: Annotated[
        list[TickSize],
        Field(description="what the number of slots was chosen from; empty where it was set"),
    ]


class CalibrationPoint(Expectation):
    """What one entropy threshold gives on average."""

    entropy_threshold: float


class Calibration(BaseModel):
    """A model's trade-off, measured on held-out training images."""

    model: str
    version: str
    default_entropy_threshold: float
    images: int
    energy_profile: str
    curve: list[CalibrationPoint]


class ModelList(BaseModel):
    models: list[ModelSummary]


BODY_PROBLEMS = (400, 408, 413, 415, 422, 429, 503)
"""What may be wrong with a body, whatever it is for."""


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI ``responses`` for the given error codes."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {code: {"description": HTTPStatus(code).phrase, "content": content} for code in codes}
