"""One loaded object of a handler's class, and the conversions around its calls."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InternalError
from kserve_v2.handlers.context import Calling, Context, Request
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM, Array, Datatype

from .annotations import reader_of
from .contents import Contents, contents_of
from .declaration import Declaration
from .module import HandlerModule
from .outputs import convert_outputs, convert_tensor, own
from .tensors import handler_tensors
from .undecodable import UndecodableError

_NOTHING = nullcontext()

Results = dict[str, Array]
EachResult = list[Results | BaseException]


class Handler:
    """One loaded object of a handler's class, and the conversions around its calls."""

    def __init__(
        self, declaration: Declaration, config: ModelConfig, context: Context, module: HandlerModule
    ) -> None:
        """`module`: the class is of it."""
        self.module = module
        self._outputs = {output.name: BY_CONFIG_ENUM[output.data_type] for output in config.output}
        self._as_torch = declaration.tensors == "torch"
        self._device = context.device
        self._takes_requests = declaration.takes_requests
        self._ragged = declaration.ragged
        self._by_name = declaration.parameters is not None
        # What it returns, if that is no dict of arrays already.
        self._reader = reader_of(declaration.annotations, declaration.returns)
        self._returns_lists = declaration.annotations.single or len(declaration.returns) == 1
        self._contents: Contents | None = contents_of(declaration, config)
        # Of a model whose requests may be rescheduled: what the next rounds may be given.
        self._round_inputs: dict[str, Datatype] = {}
        if config.sequence_batching.iterative_sequence:
            self._round_inputs = {each.name: BY_CONFIG_ENUM[each.data_type] for each in config.input}
        self.model: Any = declaration.handler()
        self._calling: Calling | None = None
        if hasattr(self.model, "load"):
            # Who has no context does not call other models.
            self._calling = context.calling
            self.model.load(context)

    def serving(self, requests: Sequence[InferRequest]) -> AbstractContextManager[None]:
        """What the handler does in here, it does for these requests."""
        return _NOTHING if self._calling is None else self._calling.serving(requests)

    def call(self, tensors: Tensors, requests: Sequence[InferRequest] | InferRequest) -> Any:
        """Call the handler; what comes back depends on its kind."""
        arguments = self._arguments(tensors)
        served: Sequence[Request] | Request = requests
        if not self._by_name:
            return self.model(arguments, served) if self._takes_requests else self.model(arguments)
        if self._takes_requests:
            return self.model(**arguments, requests=served)
        return self.model(**arguments)

    def ragged_arguments(
        self, tensors: Sequence[Tensors]
    ) -> tuple[list[dict[str, Any]], list[UndecodableError | None]]:
        """What a handler that takes the tensors of each request by themselves is called with; and for each request, the
        error of one that cannot be decoded, which is not among that.
        """
        arguments: list[dict[str, Any]] = []
        errors: list[UndecodableError | None] = []
        for each in tensors:
            try:
                arguments.append(self._arguments(each))
                errors.append(None)
            except UndecodableError as error:
                errors.append(error)
        return arguments, errors

    def call_ragged(self, arguments: list[dict[str, Any]], requests: Sequence[InferRequest]) -> Any:
        """Call such a handler."""
        return self.model(arguments, requests) if self._takes_requests else self.model(arguments)

    def each_result(self, returned: object, requests: Sequence[InferRequest]) -> EachResult:
        """The handler's answer to each request, or the exception that it has failed with. One that is not what the
        configuration says is that request's failure alone. Raises InternalError where there are not as many.
        """
        if not isinstance(returned, list | tuple) or len(returned) != len(requests):
            got = (
                f"{len(returned)} answers" if isinstance(returned, list | tuple) else type(returned).__name__
            )
            because = ", because Model.ragged is True" if self._ragged else ""
            raise InternalError(
                f"the handler returned {got} to {len(requests)} requests, expected a list with one dict, or exception, "
                f"for each{because}"
            )
        return [self._one_result(*each) for each in zip(returned, requests, strict=True)]

    def _one_result(self, returned: object, request: InferRequest) -> Results | BaseException:
        try:
            if isinstance(returned, BaseException):
                return returned
            if self._settle_round(request) and returned is None:
                returned = {}
            return self.results(returned, partial=bool(self._round_inputs))
        except Exception as error:  # noqa: BLE001 - reading what it has returned may run code of the handler's
            return error

    def _arguments(self, tensors: Tensors) -> dict[str, Any]:
        arguments = handler_tensors(tensors, self._device, as_torch=self._as_torch)
        if self._contents is not None:
            self._contents.decode(arguments)
        return arguments

    def results(self, returned: object, *, partial: bool = False) -> dict[str, Array]:
        """The handler's answer as arrays; a `partial` one may leave outputs out. To be given to `own`, once nothing
        else holds `returned`.

        Raises InternalError where it is not what the configuration says.
        """
        if self._reader is not None:
            returned = self._reader(returned)
        if self._contents is not None:
            returned = self._contents.encode(returned)
        return convert_outputs(returned, self._outputs, partial=partial)

    def batch_results(self, returned: object, requests: Sequence[InferRequest]) -> Results | EachResult:
        """As `results`, of a whole batch; or as `each_result`, of a handler that takes requests and returns a list.
        Requests that were rescheduled have no answer yet: where all were, the handler may return None.
        """
        if self._takes_requests and isinstance(returned, list) and not self._returns_lists:
            return self.each_result(returned, requests)
        if not self._round_inputs:
            return self.results(returned)
        answered = [request for request in requests if not self._settle_round(request)]
        return self.results({} if returned is None and not answered else returned, partial=True)

    def _settle_round(self, request: InferRequest) -> bool:
        """Whether the handler has no answer to a request yet: it is rescheduled, or none at all."""
        step = request.sequence
        if not self._round_inputs or step is None:
            return False
        if step.ready:
            step.next_inputs = self._own_inputs(step.next_inputs)
        return not step.ready or step.next_inputs is not None

    def _own_inputs(self, inputs: dict[str, Any] | None) -> dict[str, Any] | None:
        """Tensors for the next round, as arrays that nobody else has."""
        if not inputs:
            return inputs
        if unknown := sorted(map(str, set(inputs) - set(self._round_inputs))):
            raise InternalError(
                f"a request was rescheduled with inputs {unknown}, expected some of {sorted(self._round_inputs)}"
            )
        return {
            name: convert_tensor(f"input '{name}' of the next round", value, self._round_inputs[name]).copy()
            for name, value in inputs.items()
        }

    def own(self, outputs: dict[str, Array], tensors: Tensors) -> Tensors:
        """The results, without memory that anybody else has. `tensors`: what they were computed from; a handler that
        takes requests may have kept those, and thereby the tensors.
        """
        return own(outputs, {} if self._takes_requests else tensors)

    def own_each(self, answers: EachResult, tensors: Sequence[Tensors]) -> list[Tensors | BaseException]:
        """As `own`, of `each_result`."""
        return [
            self.own(answer, given) if isinstance(answer, dict) else answer
            for answer, given in zip(answers, tensors, strict=True)
        ]

    def close(self) -> None:
        """Let the handler give back what it holds."""
        if hasattr(self.model, "close"):
            self.model.close()
