"""What a server can be asked, over either protocol; each question is an `Exchange`."""

from collections.abc import Mapping
from typing import Protocol

from kserve_v2.client.description import Json, ModelInfo
from kserve_v2.client.exchange import Exchange, Stream
from kserve_v2.client.request import Request
from kserve_v2.client.result import InferResult

EXTENSION_BINARY = "binary_tensor_data"


class ServerProtocol(Protocol):
    """REST or gRPC. Answers are as REST has them."""

    asks_for_extensions: bool
    """Whether requests depend on the extensions that the server has."""

    def live(self) -> Exchange[bool]:
        """Whether the server answers."""
        ...

    def ready(self, model: str, version: str) -> Exchange[bool]:
        """Whether a model is ready; "" for the server."""
        ...

    def server_metadata(self) -> Exchange[Json]:
        """Name, version and extensions."""
        ...

    def model_metadata(self, model: str, version: str) -> Exchange[Json]:
        """Inputs and outputs."""
        ...

    def config(self, model: str, version: str) -> Exchange[Json]:
        """The configuration, as Triton has it."""
        ...

    def statistics(self, model: str, version: str) -> Exchange[list[Json]]:
        """Counters and durations; "" for all models."""
        ...

    def index(self, *, ready: bool) -> Exchange[list[Json]]:
        """The models of the repository."""
        ...

    def load(self, model: str, config: str | None, files: Mapping[str, bytes]) -> Exchange[None]:
        """Load a model. `files`: by path below the model's directory."""
        ...

    def unload(self, model: str, *, dependents: bool) -> Exchange[None]:
        """Unload a model."""
        ...

    def release(self, model: str, change: Json | None) -> Exchange[Json]:
        """What versions answer; with a change, after it. Raises UnsupportedError."""
        ...

    def infer(self, request: Request, *, binary: bool) -> Exchange[InferResult]:
        """One request, one answer. `binary`: whether the server takes tensors as bytes."""
        ...

    def stream(self, request: Request, info: ModelInfo) -> Stream[InferResult]:
        """One request, any number of answers."""
        ...


FILE_PREFIX = "file:"
"""In front of the path of a file that is given with a load."""
