"""What a handler is told when it is loaded, and what it calls other models with."""

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kserve_v2.backend import ModelConfig, Placement, ThreadBudget
from kserve_v2.errors import InternalError
from kserve_v2.handlers.context import Answer, SequencePlace
from kserve_v2.messages import InferRequest, ParameterValue

from .calls import Calling, make_request
from .metrics import Metrics
from .prepare import Preparing

Requests = InferRequest | Iterable[InferRequest] | None


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler's `load` is told.

    `path`: the version's directory, where weights lie beside the handler. `model_path`: the model's
    directory. `device`: `cpu` or `cuda:N`. `parameters`: the configuration's, as strings. `config`: the whole
    of it, completed, with the tensors that no client sees behind the others; a copy, so that changes have no effect.
    `metrics`: makes metrics that the server shows.
    """

    name: str
    version: int
    path: Path
    model_path: Path
    device: str
    parameters: Mapping[str, str]
    logger: logging.Logger
    placement: Placement
    threads: ThreadBudget
    calling: Calling = field(repr=False)
    config: ModelConfig = field(repr=False)
    metrics: Metrics = field(repr=False)
    preparing: Preparing = field(repr=False)
    cache_path: Path | None = field(default=None, repr=False)

    @property
    def cache_dir(self) -> Path:
        """A directory of the model's own that outlives the server, for what is downloaded or computed once; made when
        it is asked for. All versions and instances have the same, also those of other servers with the same repository:
        write a file under another name, and rename it when it is complete.

        Raises InternalError where it cannot be made.
        """
        problem: str | None = "the user has no home directory"
        if self.cache_path is not None:
            try:
                self.cache_path.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                self.logger.error("context.cache_dir: %s", error)  # noqa: TRY400 - where, which no client is told
                problem = error.strerror
            else:
                return self.cache_path
        raise InternalError(
            f"context.cache_dir: it cannot be made: {problem}. Start the server with --model-cache-dir, a directory "
            "that it may write to"
        )

    def prepare(self, module: Callable[..., Any], /, *example: Any, **named: Any) -> Callable[..., Any]:
        """A torch module of the handler's, to be called in its place: moved to the device, in evaluation mode, without
        gradients, and otherwise as the configuration's parameters say: `compile`, `compile_batch_sizes`, `autocast`,
        `memory_format`, `INFERENCE_MODE`. The module itself is changed, too.

        `example` and `named`: the arguments of a call, with tensors of one row. They are needed for `compile` if the
        module does not take the model's inputs in the order of the configuration: a module is compiled while it is
        loaded, by calling it with batches of the sizes that it will get, and not when a client waits.

        Raises InvalidArgumentError where a parameter is wrong, or the module cannot be compiled.
        """
        return self.preparing.prepare(module, example, named)

    def call(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Requests = None,
    ) -> Answer:
        """The answer of another model, as a dict of tensors: writable, and of the kind of the handler's own. Blocks.

        `version`: the highest by default. `outputs`: all by default. `parameters`: `priority` and `timeout`, in
        microseconds, among them; by default they are those of the requests. `sequence`: for a model that has them.
        `requests`: those that the call is for, out of those that the handler has been called with; all of them by
        default. If nobody waits for any of them any more, the call is given up.

        Raises the ServingError, by its code, that the other model has failed with.
        """
        request = make_request(model, inputs, version, outputs, parameters, sequence)
        return self.calling.call(request, requests)

    async def call_async(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Requests = None,
    ) -> Answer:
        """As `call`, for async handlers."""
        request = make_request(model, inputs, version, outputs, parameters, sequence)
        return await self.calling.call_async(request, requests)

    def stream(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Requests = None,
    ) -> Generator[Answer, None, None]:
        """As `call`, for each of the answers of a model that gives any number of them. One that is not read to its end
        is to be closed.
        """
        request = make_request(model, inputs, version, outputs, parameters, sequence)
        return self.calling.stream(request, requests)

    def stream_async(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Requests = None,
    ) -> AsyncGenerator[Answer, None]:
        """As `stream`, for async handlers."""
        request = make_request(model, inputs, version, outputs, parameters, sequence)
        return self.calling.stream_async(request, requests)
