"""The inference API: health, predictions in all their forms, workflows."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from kserve_v2.inference import InferenceService
from kserve_v2.memory.inflight import Share
from kserve_v2.scheduling.slices import LARGE_BYTES, at_once
from kserve_v2.torchserve.rows import Answer, Failure, Field, Row
from kserve_v2.torchserve_api.answering import Reply, of_answer, of_json, of_status
from kserve_v2.torchserve_api.app import Answering, Asked
from kserve_v2.torchserve_api.catalog import Registration
from kserve_v2.torchserve_api.descriptions import api_description, model_description
from kserve_v2.torchserve_api.errors import TorchServeError, bad_request
from kserve_v2.torchserve_api.http_rows import fields_of
from kserve_v2.torchserve_api.predictor import Predictor
from kserve_v2.torchserve_api.queries import parse_query
from kserve_v2.torchserve_api.registry import Registry
from kserve_v2.torchserve_api.routes import Api, Call
from kserve_v2.tracing.trace import Trace

HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"

# What handlers find among the headers of every request; of those to which it applies, it says something else.
_ALWAYS = (("url_path", ""), ("explain", "False"))
# As it is spelt there.
_SERVER_METADATA = {"name": "Torchserve", "version": "0.12.0", "extenstion": ["kserve", "kubeflow"]}


def headers_of(spelt: Mapping[str, str], rest: str) -> dict[str, str]:
    """What a handler finds as the headers of a prediction. `rest`: what stands behind the model in the path."""
    return {**spelt, **dict(_ALWAYS), **({"url_path": rest} if rest else {})}


class Workflows(Protocol):
    """What answers the calls of workflows."""

    async def predict(self, name: str, row: Row, trace: Trace | None = None) -> Answer | Failure:
        """Raises TorchServeError for an unknown one."""
        ...


class Health:
    """Whether the server should get requests: the models that are registered have their workers, and it goes on."""

    def __init__(
        self,
        service: InferenceService,
        registry: Registry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service, self._registry, self._clock = service, registry, clock

    def healthy(self) -> bool:
        """A model that is still starting is, and so is one whose processes have died and are being started again, for
        as long as it may try.
        """
        if self._service.leaving:
            # Not TorchServe's, which stops listening at once: here a load balancer has time to hear of it.
            return False
        return all(self._is_well(self._registry.find(name)) for name in self._registry.names)

    def _is_well(self, found: Registration) -> bool:
        manager = self._service.manager
        versions, managed = manager.ready_versions(found.key), manager.managed(found.key)
        if not versions:
            # One that has made room for others is loaded again when it is asked for.
            waits = managed is None or managed.busy or (manager.is_wanted(found.key) and not managed.wanted)
            return not found.workers or waits
        if not versions[0].down and all(alive for alive, _ in versions[0].processes):
            found.down_since = None
            return True
        now = self._clock()
        found.down_since = now if found.down_since is None else found.down_since
        return now - found.down_since <= found.served.max_retry_timeout


def _text_of(name: str, fields: Sequence[Field]) -> str:
    """What a form says of a field; of repeated ones the last counts. "" if it does not."""
    found = [each.value for each in fields if each.name == name]
    return bytes(found[-1]).decode(errors="replace") if found else ""


class InferenceCalls:
    """Answers them. On the event loop."""

    def __init__(
        self,
        service: InferenceService,
        registry: Registry,
        predictor: Predictor,
        *,
        decode: bool,
        workflows: Workflows | None = None,
    ) -> None:
        """`decode`: whether JSON and texts are read for handlers."""
        self._service, self._registry, self._predictor = service, registry, predictor
        self._decode, self._workflows = decode, workflows
        self.health = Health(service, registry)

    def calls(self) -> Mapping[Call, Answering]:
        """By what they answer."""
        return {
            Call.PING: self.ping,
            Call.PREDICT: self.predict,
            Call.EXPLAIN: self.explain,
            Call.INVOKE: self.invoke,
            Call.WORKFLOW: self.workflow,
            Call.DESCRIPTION: self.description,
            Call.DESCRIBE_PREDICTION: self.describe_prediction,
            Call.SERVER_METADATA: self.server_metadata,
            Call.LIVE: self.live,
            Call.READY: self.ready,
            Call.VERSIONED: self.versioned,
        }

    async def ping(self, asked: Asked) -> Reply:
        """Whether the server is well."""
        healthy = self.health.healthy()
        return of_status(HEALTHY if healthy else UNHEALTHY, 200 if healthy else 500)

    async def predict(self, asked: Asked) -> Reply:
        """A prediction."""
        return await self._predict(asked, asked.route.name, asked.route.version, b"", explain=False)

    async def explain(self, asked: Asked) -> Reply:
        """An explanation."""
        return await self._predict(asked, asked.route.name, asked.route.version, b"", explain=True)

    async def invoke(self, asked: Asked) -> Reply:
        """A prediction, as SageMaker asks for one."""
        name = asked.route.name or parse_query(asked.query).get("model_name", "")
        if name:
            return await self._predict(asked, name, "", asked.query, explain=False)
        row = await self._row(asked, asked.query, explain=False)
        name = _text_of("model_name", row.fields) or self._only_one()
        self._registry.find(name)
        return await self._answer(asked, name, "", row)

    def _only_one(self) -> str:
        only = self._registry.at_startup
        if len(only) != 1:
            raise bad_request("Parameter model_name is required.")
        return only[0]

    async def workflow(self, asked: Asked) -> Reply:
        """The answer of a workflow."""
        if self._workflows is None:
            raise TorchServeError(404, f"Workflow not found: {asked.route.name}", "WorkflowNotFoundException")
        answer = await self._workflows.predict(
            asked.route.name, await self._row(asked, b"", explain=False), asked.trace
        )
        if isinstance(answer, Failure):
            raise TorchServeError(answer.code, answer.message, answer.type)
        return of_answer(answer)

    async def _predict(self, asked: Asked, name: str, version: str, query: bytes, *, explain: bool) -> Reply:
        # An unknown model is told before a body that is wrong.
        self._registry.find(name, version)
        row = await self._row(asked, query, explain=explain)
        return await self._answer(asked, name, version, row)

    async def _answer(self, asked: Asked, name: str, version: str, row: Row) -> Reply:
        asked.body = b""
        answer, more = await self._predictor.predict(name, version, row, asked.access, asked.trace)
        return of_answer(answer, more)

    async def _row(self, asked: Asked, query: bytes, *, explain: bool) -> Row:
        slices = fields_of(asked.body, asked.header("content-type"), query)
        size, held = len(asked.body), Share(self._service.inflight)
        if size < LARGE_BYTES or not held.hold_if_room(2 * size):
            fields = at_once(slices)
        else:
            try:
                fields = await self._service.slicer.finish(slices)
            finally:
                held.give_back()
        return Row(
            fields,
            tuple(headers_of(asked.headers, asked.route.rest).items()),
            explain=explain,
            id=asked.request_id,
            decode=self._decode,
        )

    # --- what is told -------------------------------------------------------------------------------------------------

    async def description(self, asked: Asked) -> Reply:
        """The OpenAPI description of an API."""
        return of_json(api_description(asked.route.api))

    async def describe_prediction(self, asked: Asked) -> Reply:
        """That of a model's predictions."""
        found = self._registry.find(asked.route.name, asked.route.version)
        return of_json(model_description(found.name, Api.INFERENCE))

    async def server_metadata(self, asked: Asked) -> Reply:
        """Of the Open Inference Protocol, as TorchServe has it."""
        return of_json(_SERVER_METADATA)

    async def live(self, asked: Asked) -> Reply:
        """The process answers."""
        return of_json({"live": True})

    async def ready(self, asked: Asked) -> Reply:
        """As `ping`."""
        healthy = self.health.healthy()
        return of_json({"ready": healthy}, 200 if healthy else 500)

    async def versioned(self, asked: Asked) -> Reply:
        """There are none in its form of that protocol."""
        return of_json({"error": "Model versioning is not yet supported."}, 501)
