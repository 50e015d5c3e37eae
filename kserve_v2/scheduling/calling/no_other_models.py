"""What a model that all processes of the server have is given in place of the others: those it cannot ask."""

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence

from kserve_v2.errors import UnsupportedError
from kserve_v2.messages import InferRequest, InferResponse


class NoOtherModels:
    """A `ModelCaller` and `ModelControl` that refuses everything. From any thread."""

    def __init__(self, model: str) -> None:
        self._model = model

    def call(self, request: InferRequest, serving: Sequence[InferRequest]) -> InferResponse:
        """Refuse."""
        raise self._refusal()

    async def call_async(self, request: InferRequest, serving: Sequence[InferRequest]) -> InferResponse:
        """Refuse."""
        raise self._refusal()

    def stream(
        self, request: InferRequest, serving: Sequence[InferRequest]
    ) -> Generator[InferResponse, None, None]:
        """Refuse, when the first response is asked for."""
        yield self.call(request, serving)

    async def stream_async(
        self, request: InferRequest, serving: Sequence[InferRequest]
    ) -> AsyncGenerator[InferResponse, None]:
        """Refuse, when the first response is asked for."""
        yield self.call(request, serving)

    def load(self, name: str, config: str | None = None, files: Mapping[str, bytes] | None = None) -> None:
        """Refuse."""
        raise self._refusal()

    def unload(self, name: str, *, dependents: bool = False) -> None:
        """Refuse."""
        raise self._refusal()

    def is_ready(self, name: str, version: str = "") -> bool:
        """Refuse."""
        raise self._refusal()

    def _refusal(self) -> UnsupportedError:
        return UnsupportedError(
            f"model '{self._model}' is in every process of the server, and cannot ask for other models there: for "
            'that, give it parameters { key: "home" value { string_value: "single" } }'
        )
