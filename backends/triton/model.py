"""Triton's Python models (`class TritonPythonModel`) in the server's process: an adapter to what serves them in any."""

import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from google.protobuf import json_format
from kserve_v2_child.answers import ModelError
from kserve_v2_child.triton import utils
from kserve_v2_child.triton.version import TritonVersion

from kserve_v2.backend import (
    AnyInstance,
    ModelConfig,
    ModelSource,
    Placement,
    StreamedResponse,
    config_to_dict,
)
from kserve_v2.errors import (
    AlreadyExistsError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    RequestCancelledError,
    ServingError,
    UnavailableError,
    UnknownError,
    UnsupportedError,
)
from kserve_v2.messages import InferRequest, Tensors

from ..eager.module import HandlerModule
from .services import ServerServices

_KINDS: dict[str, type[ServingError]] = {
    kind.code.name: kind
    for kind in (
        AlreadyExistsError,
        InternalError,
        InvalidArgumentError,
        NotFoundError,
        RequestCancelledError,
        UnavailableError,
        UnknownError,
        UnsupportedError,
    )
}


def complete(source: ModelSource, config: ModelConfig) -> None:
    """Fill what the model's `auto_complete_config` fills."""
    version = _version(source, config)
    source.handover.put(version)
    try:
        completed = version.complete(config_to_dict(config))
        read = json_format.ParseDict(completed, ModelConfig())
    except ModelError as error:
        raise serving_error(error) from error
    except json_format.ParseError as error:
        raise InvalidArgumentError(f"auto_complete_config of model '{source.name}': {error}") from error
    config.CopyFrom(read)


def load(source: ModelSource, config: ModelConfig) -> "LoadedTritonModel":
    """Import the model's file."""
    version = source.handover.take() or _version(source, config)
    # What was there to complete it had no server yet.
    version.context.services = ServerServices(source)
    try:
        return LoadedTritonModel(version.load(config_to_dict(config)))
    except ModelError as error:
        version.close()
        raise serving_error(error) from error
    except BaseException:
        version.close()
        raise


def _version(source: ModelSource, config: ModelConfig) -> TritonVersion:
    file = source.model_file(config)
    if not file.is_file():
        raise InvalidArgumentError(f"model '{source.name}': version {source.version} has no file {file.name}")
    told = {
        "name": source.name,
        "version": source.version,
        "model_path": str(source.model_path),
        "version_path": str(source.version_path),
        "filename": file.name,
    }
    return TritonVersion(told, ServerServices(source), _SpaceImporter(source, config))


class _SpaceImporter:
    """Imports the file of a model apart from those of all others, as handlers are."""

    def __init__(self, source: ModelSource, config: ModelConfig) -> None:
        self._source = source
        self._file = source.model_file(config)
        self._module: HandlerModule | None = None

    def load(self, module: types.ModuleType) -> types.ModuleType:
        """Import it. Raises InternalError with file and line."""
        # Not for the model's own files, which get one of their own, but for installed modules that import it.
        if utils.NAME not in sys.modules:
            sys.modules[utils.NAME] = utils.make_shared_utils()
        self._module = HandlerModule(
            self._file,
            self._source.name,
            self._source.version,
            beside=(self._source.model_path,),
            given={utils.NAME: module, utils.C_NAME: module},
        )
        return self._module.module

    def work_for_it(self) -> None:
        """The thread, or task, that calls this works for the model."""
        if self._module is not None:
            self._module.work_for_it()

    def close(self) -> None:
        """Forget its modules."""
        module, self._module = self._module, None
        if module is not None:
            module.close()


class LoadedTritonModel:
    """A model in this process."""

    adds_instances: Literal[True] = True

    def __init__(self, model: Any) -> None:
        self._model = model
        self.separates_requests: bool = model.separates_requests
        self.reports_readiness: bool = model.reports_readiness

    def instance(self, placement: Placement) -> AnyInstance:
        """Make and initialize one."""
        try:
            made = self._model.instance(placement)
        except ModelError as error:
            raise serving_error(error) from error
        if hasattr(made, "streams_async"):
            return _Streams(made)
        return _Batches(made) if hasattr(made, "execute") else _AsyncBatches(made)

    def is_ready(self) -> bool:
        """Whether its instances say that they are."""
        ready: bool = self._model.is_ready()
        return ready

    def close(self) -> None:
        """Forget it."""
        self._model.close()


class _Batches:
    def __init__(self, instance: Any) -> None:
        self._instance = instance

    def execute(self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]) -> Sequence[Any]:
        """The outcome of each request."""
        try:
            return _told(self._instance.execute(tensors, requests))
        except ModelError as error:
            raise serving_error(error) from error

    def close(self) -> None:
        """Finalize it."""
        self._instance.close()


class _Paced:
    def __init__(self, instance: Any) -> None:
        self._instance = instance
        self.max_concurrency: int = instance.max_concurrency
        self.when_free: Callable[[Callable[[], None]], None] = instance.when_free

    def close(self) -> None:
        """Finalize it."""
        self._instance.close()


class _AsyncBatches(_Paced):
    async def execute_async(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
        """The outcome of each request."""
        try:
            return _told(await self._instance.execute_async(tensors, requests))
        except ModelError as error:
            raise serving_error(error) from error


class _Streams(_Paced):
    fresh_outputs: Literal[True] = True

    def streams_async(
        self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]
    ) -> Sequence["_Responses"]:
        """The responses to each request."""
        return [_Responses(each) for each in self._instance.streams_async(tensors, requests)]


class _Responses:
    def __init__(self, responses: Any) -> None:
        self._responses = responses

    def __aiter__(self) -> "_Responses":
        return self

    async def __anext__(self) -> StreamedResponse:
        try:
            response: StreamedResponse = await anext(self._responses)
        except ModelError as error:
            raise serving_error(error) from error
        if isinstance(response.error, ModelError):
            return replace(response, error=serving_error(response.error))
        return response

    async def aclose(self) -> None:
        """Nobody takes more of them."""
        await self._responses.aclose()


def _told(outcomes: list[Any]) -> list[Any]:
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, ModelError):
            outcomes[index] = serving_error(outcome)
    return outcomes


def serving_error(error: ModelError) -> ServingError:
    """The error that the client of a model gets."""
    return _KINDS.get(error.code, InternalError)(error.message)
