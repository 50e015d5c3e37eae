"""Requests, responses and metadata of the Open Inference Protocol, as models see them."""

from collections.abc import Iterator
from enum import Enum
from typing import Any

import pydantic
from pydantic import ConfigDict, RootModel


class Datatype(Enum):
    """Datatypes of tensors."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


class BaseModel(pydantic.BaseModel):
    """What all of them have in common: a dump has what was set, and is not None."""

    model_config = ConfigDict(use_enum_values=True, protected_namespaces=())

    def model_dump(
        self, exclude_unset: bool = True, exclude_none: bool = True, **options: Any
    ) -> dict[str, Any]:
        """As pydantic's, of what was set."""
        return super().model_dump(exclude_unset=exclude_unset, exclude_none=exclude_none, **options)

    def model_dump_json(self, exclude_unset: bool = True, exclude_none: bool = True, **options: Any) -> str:
        """As pydantic's, of what was set."""
        return super().model_dump_json(exclude_unset=exclude_unset, exclude_none=exclude_none, **options)


class Parameters(BaseModel):
    """What is said beside the data: any members, of which two have a meaning."""

    model_config = ConfigDict(extra="allow")

    content_type: str | None = None
    headers: dict[str, Any] | None = None


class TensorData(RootModel[Any]):
    """The elements of a tensor: a list as it came, flat or nested, or whatever else came."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return iter(self.root)

    def __getitem__(self, index: Any) -> Any:
        return self.root[index]

    def __len__(self) -> int:
        return len(self.root)


class MetadataTensor(BaseModel):
    """What a model says of one of its inputs or outputs."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: Parameters | None = None


class RequestInput(BaseModel):
    """An input of a request."""

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: Parameters | None = None
    data: TensorData


class RequestOutput(BaseModel):
    """An output that a request asks for."""

    name: str
    parameters: Parameters | None = None


class ResponseOutput(BaseModel):
    """An output of a response."""

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: Parameters | None = None
    data: TensorData


class InferenceRequest(BaseModel):
    """A request."""

    id: str | None = None
    parameters: Parameters | None = None
    inputs: list[RequestInput]
    outputs: list[RequestOutput] | None = None


class InferenceResponse(BaseModel):
    """The answer to a request, or one of several."""

    model_name: str
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[ResponseOutput]


class InferenceErrorResponse(BaseModel):
    """An answer that is an error."""

    error: str | None = None


class MetadataModelResponse(BaseModel):
    """What is said of a model."""

    name: str
    versions: list[str] | None = None
    platform: str
    inputs: list[MetadataTensor] | None = None
    outputs: list[MetadataTensor] | None = None
    parameters: Parameters | None = None


class MetadataModelErrorResponse(BaseModel):
    """Why nothing can be said of a model."""

    error: str


class MetadataServerResponse(BaseModel):
    """What is said of a server."""

    name: str
    version: str
    extensions: list[str]


class MetadataServerErrorResponse(BaseModel):
    """Why nothing can be said of a server."""

    error: str


class State(Enum):
    """What becomes of a model in a repository."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


class RepositoryIndexRequest(BaseModel):
    """Asks which models there are."""

    ready: bool | None = None


class RepositoryIndexResponseItem(BaseModel):
    """One of the models that there are."""

    name: str
    version: str | None = None
    state: State
    reason: str


class RepositoryIndexResponse(RootModel[list[RepositoryIndexResponseItem]]):
    """The models that there are."""
