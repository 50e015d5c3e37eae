"""Models that answer when the test says so, and a reply that takes down what it is told."""

import asyncio
from collections.abc import Mapping
from zlib import crc32

import numpy as np

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import ServingError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.ensemble.binding import Binding
from kserve_v2.scheduling.ensemble.graph import Graph
from kserve_v2.scheduling.ensemble.target import EnsembleTarget
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.target import Reply, Ticket

INT64 = 5


def signature(name: str, inputs: list[str], outputs: list[str], max_batch_size: int = 0) -> ModelSignature:
    """Of a model whose tensors are all INT64 [1]."""
    config = ModelConfig(name=name, max_batch_size=max_batch_size)
    for tensor in inputs:
        config.input.add(name=tensor, data_type=INT64, dims=[1])
    for tensor in outputs:
        config.output.add(name=tensor, data_type=INT64, dims=[1])
    return ModelSignature(config)


def computed(model: str, inputs: Mapping[str, int], output: str) -> int:
    """What every model computes: a number that depends on all of its inputs, and on which of its outputs it is."""
    return crc32(repr((model, sorted(inputs.items()), output)).encode())


class Call:
    """A call that has not been answered yet. It is its ticket."""

    def __init__(self, callee: "Model", request: InferRequest, reply: Reply) -> None:
        self.callee, self.request, self.reply = callee, request, reply
        self.given_up = self.ended = False
        self.room: asyncio.Future[bool] | None = None

    def give_up(self) -> None:
        self.given_up = True

    def answer(self) -> None:
        """The one answer, and the end."""
        self.reply.respond(self.callee.response(self.request))
        self.end()

    def respond(self, number: int = 0) -> None:
        """One of several answers."""
        self.room = self.reply.respond(self.callee.response(self.request, number))

    def end(self, error: ServingError | None = None) -> None:
        self.ended = True
        self.reply.end(error)

    @property
    def open(self) -> bool:
        return not (self.given_up or self.ended)

    @property
    def held_back(self) -> bool:
        return self.room is not None and not self.room.done()


class Lease:
    def __init__(self, model: "Model") -> None:
        self.model = model
        model.leases += 1

    def release(self) -> None:
        self.model.leases -= 1


class Model:
    """A callee. `at_once`: it answers when it is called. `error`: it refuses."""

    labels: Mapping[str, tuple[str, ...]] = {}

    def __init__(self, signature: ModelSignature, calls: list[Call], *, decoupled: bool = False) -> None:
        self.name, self.signature, self.decoupled = signature.model_name, signature, decoupled
        self.calls = calls
        self.at_once = False
        self.error: ServingError | None = None
        self.leases = self.count = 0

    def call(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        self.count += 1
        if self.error is not None:
            raise self.error
        if self.at_once:
            return self.response(request)
        call = Call(self, request, reply)
        self.calls.append(call)
        return call

    def response(self, request: InferRequest, number: int = 0) -> InferResponse:
        fed = {name: int(array.ravel()[0]) for name, array in request.inputs.items()}
        wanted = request.requested_outputs or tuple(self.signature.outputs)
        outputs = {name: np.array([computed(self.name, fed, name) + number]) for name in wanted}
        return InferResponse(self.name, "1", request.id, outputs, {}, 1, 0, 1000)

    def lease(self) -> Lease:
        return Lease(self)


class Told:
    """A reply that takes down what it is told. `room`: what it answers to a response."""

    def __init__(self) -> None:
        self.responses: list[InferResponse] = []
        self.ends: list[ServingError | None] = []
        self.rooms: list[asyncio.Future[bool]] = []
        self.slow = False

    def respond(self, response: InferResponse) -> asyncio.Future[bool] | None:
        assert not self.ends
        self.responses.append(response)
        if not self.slow:
            return None
        self.rooms.append(asyncio.get_running_loop().create_future())
        return self.rooms[-1]

    def end(self, error: ServingError | None = None) -> None:
        self.ends.append(error)


class Ensemble:
    """An ensemble over scripted models, one for each name of the graph's steps."""

    def __init__(self, graph: Graph, decoupled: tuple[str, ...] = (), max_inflight: int = 0) -> None:
        self.graph = graph
        self.calls: list[Call] = []
        self.models = {
            step.model: Model(
                signature(step.model, list(step.inputs), list(step.outputs)),
                self.calls,
                decoupled=step.model in decoupled,
            )
            for step in graph.steps
        }
        callees = [self.models[step.model] for step in graph.steps]
        own = signature("ens", list(graph.inputs), list(graph.outputs))
        spec = ModelSpec(own, "1", (), RowMerger(own))
        self.statistics = spec.statistics
        binding = Binding(graph, own, callees, [None] * len(callees))
        self.target = EnsembleTarget(spec, binding, max_inflight)
        self.reply = Told()

    def submit(self, outputs: tuple[str, ...] = (), **inputs: int) -> InferResponse | Ticket:
        request = InferRequest("ens", {name: np.array([value]) for name, value in inputs.items()})
        request.requested_outputs = outputs
        return self.target.submit(request, self.reply)

    def open(self, model: str | None = None) -> list[Call]:
        """The calls that wait for their answers, in order."""
        return [call for call in self.calls if call.open and model in (None, call.callee.name)]

    @property
    def leases(self) -> int:
        return sum(model.leases for model in self.models.values())


def values(response: InferResponse) -> dict[str, int]:
    return {name: int(array[0]) for name, array in response.outputs.items()}
