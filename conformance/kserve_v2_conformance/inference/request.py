"""One inference request and its outcome, free of any wire format."""

from dataclasses import dataclass, field

from kserve_v2_conformance.tensors import Tensor


@dataclass(frozen=True, slots=True)
class InferRequest:
    """`outputs`: names of the requested outputs, None where the request does not say."""

    model: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] | None = None
    version: str = ""
    id: str = ""
    parameters: dict[str, object] | None = None
    input_parameters: dict[str, object] = field(default_factory=dict)
    output_parameters: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer. `status`: as text, `404` or `NOT_FOUND`; `blames_client`: whether it is of that class."""

    status: str
    message: str
    blames_client: bool


@dataclass(frozen=True, slots=True)
class SeenOutput:
    """An output of a response as far as it could be read; `unreadable` says why `tensor` is None.

    `form`: how it came: `json`, `binary`, `raw`, `typed` or `none`.
    """

    name: str
    datatype: object
    shape: tuple[int, ...] | None
    tensor: Tensor | None
    unreadable: str
    form: str


@dataclass(frozen=True, slots=True)
class InferResponse:
    """A success. Members are None where the response does not have them."""

    model_name: object
    model_version: object
    id: object
    outputs: tuple[SeenOutput, ...]
    parameters: dict[str, object] = field(default_factory=dict)


Outcome = InferResponse | Failure
