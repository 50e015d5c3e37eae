"""The management API: what is registered, with how many workers, and which version answers."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from kserve_v2.inference import InferenceService
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.torchserve.rows import Field, Row
from kserve_v2.torchserve_api.answering import Reply, of_json, of_status
from kserve_v2.torchserve_api.app import Answering, Asked
from kserve_v2.torchserve_api.catalog import OUR_VERSION, Registration
from kserve_v2.torchserve_api.describe import described, with_metadata
from kserve_v2.torchserve_api.descriptions import model_description
from kserve_v2.torchserve_api.errors import bad_request, model_not_found, not_found
from kserve_v2.torchserve_api.precedence import Asked as AskedSettings
from kserve_v2.torchserve_api.predictor import Predictor
from kserve_v2.torchserve_api.queries import LEAST, amount, flag, number, page_of, parse_body, parse_query
from kserve_v2.torchserve_api.registry import Register, Registry
from kserve_v2.torchserve_api.routes import Api, Call
from kserve_v2.torchserve_api.tokens import Tokens

logger = logging.getLogger(__name__)

PROCESSING = "Processing worker updates..."
ALL_VERSIONS = "all"
_RUNTIMES = ("python", "python3", "LSP")


class WorkflowCalls(Protocol):
    """What answers `/workflows`."""

    async def answer(self, asked: Asked) -> Reply:
        """Raises TorchServeError."""
        ...


class ManagementCalls:
    """Answers them. On the event loop."""

    def __init__(
        self,
        service: InferenceService,
        registry: Registry,
        predictor: Predictor,
        tokens: Tokens | None = None,
        workflows: WorkflowCalls | None = None,
    ) -> None:
        self._service, self._registry, self._predictor = service, registry, predictor
        self._tokens, self._workflows = tokens, workflows
        self._changed = False

    def calls(self) -> Mapping[Call, Answering]:
        """By what they answer."""
        return {
            Call.LIST: self._list,
            Call.REGISTER: self._register,
            Call.DESCRIBE: self._describe,
            Call.SCALE: self._scale,
            Call.SET_DEFAULT: self._set_default,
            Call.UNREGISTER: self._unregister,
            Call.MODEL_READY: self._model_ready,
            Call.DESCRIBE_MANAGEMENT: self._describe_api,
            Call.TOKEN: self._token,
            Call.WORKFLOWS: self._of_workflows,
        }

    # --- what gRPC does as well ---------------------------------------------------------------------------------------

    def page(self, limit: int | None, token: int | None) -> dict[str, Any]:
        """Some of the models."""
        names, document = page_of(self._registry.listed, limit, token)
        document["models"] = [
            {"modelName": name, "modelUrl": self._registry.find(name).url} for name in names
        ]
        return document

    async def register(self, parameters: Mapping[str, str]) -> tuple[str, int]:
        """Register a model: what is said of it, and the HTTP status. Raises TorchServeError."""
        url = parameters.get("url", "")
        if not url:
            raise bad_request("Parameter url is required.")
        runtime = parameters.get("runtime", "")
        if runtime and runtime not in _RUNTIMES:
            raise bad_request(f"Invalid RuntimeType value: {runtime}")
        wanted = Register(
            url=url,
            model_name=parameters.get("model_name", ""),
            handler=parameters.get("handler", ""),
            asked=AskedSettings(
                batch_size=number(parameters, "batch_size", 1),
                max_batch_delay=amount(parameters, "max_batch_delay"),
                initial_workers=amount(parameters, "initial_workers"),
                response_timeout=number(parameters, "response_timeout", 1),
                startup_timeout=number(parameters, "startup_timeout", 1),
            ),
        )
        # Other than of scaling, it is waited for the workers unless the call says otherwise.
        waits = flag({"synchronous": "true", **parameters}, "synchronous")
        found = await (self._registry.register(wanted) if waits else self._registry.begin_register(wanted))
        self._tell_of_change(f"the registration of model '{found.name}'")
        if found.workers and not waits:
            return PROCESSING, 202
        text = (
            f'Model "{found.name}" Version: {found.version} registered with {found.workers} initial workers'
        )
        if not found.workers:
            text += ". Use scale workers API to add workers for the model."
        return text, 200

    def _tell_of_change(self, what: str) -> None:
        """Say in the log, once, that a change ends with the server: TorchServe would have written a snapshot."""
        if not self._changed:
            self._changed = True
            logger.warning(
                "%s is not kept when the server ends, nor is any other change of models by a client: no snapshots are "
                "written (logs/config); write what is to stay into config.properties, with load_models and models",
                what,
            )

    async def scale(self, name: str, version: str, parameters: Mapping[str, str]) -> tuple[str, int]:
        """Have another number of workers: what is said of it, and the HTTP status. Raises TorchServeError."""
        low = number(parameters, "min_worker", LEAST)
        low = 1 if low is None else low
        high = number(parameters, "max_worker", LEAST)
        high = low if high is None else high
        if high < low:
            raise bad_request("max_worker cannot be less than min_worker.")
        if low < 0:
            # TorchServe takes it, ends workers, and says that an index is out of bounds.
            raise bad_request("min_worker cannot be less than 0.")
        if not flag(parameters, "synchronous"):
            self._registry.begin_scale(name, version, low, high)
            self._tell_of_change(f"the number of workers of model '{name}'")
            return PROCESSING, 202
        await self._registry.scale(name, version, low, high)
        self._tell_of_change(f"the number of workers of model '{name}'")
        return f"Workers scaled to {low} for model: {name}{f', version: {version}' if version else ''}", 200

    async def describe(self, name: str, version: str, *, customized: bool) -> list[dict[str, Any]]:
        """One version, or all. Raises TorchServeError."""
        registry = self._registry
        found = registry.versions(name) if version == ALL_VERSIONS else [registry.find(name, version)]
        return [await self._described(each, customized=customized) for each in found]

    def set_default(self, name: str, version: str) -> str:
        """Have a version answer by default. Raises TorchServeError."""
        self._registry.set_default(name, version)
        self._tell_of_change(f"the default version of model '{name}'")
        return f'Default version successfully updated for model "{name}" to "{version}"'

    async def unregister(self, name: str, version: str) -> str:
        """Forget a version. Raises TorchServeError."""
        await self._registry.unregister(name, version)
        self._tell_of_change(f"that model '{name}' is unregistered")
        return f'Model "{name}" unregistered'

    async def _described(self, found: Registration, *, customized: bool) -> dict[str, Any]:
        document = await asyncio.to_thread(described, found, self._model(found))
        if not customized or not found.workers:
            return document
        row = Row([Field("body", b"")], describe=True)
        answer, _ = await self._predictor.predict(found.name, found.version, row)
        return with_metadata(document, answer.body)

    def _model(self, found: Registration) -> LoadedModel | None:
        versions = self._service.manager.ready_versions(found.key)
        return versions[0] if versions else None

    # --- over HTTP ----------------------------------------------------------------------------------------------------

    async def _list(self, asked: Asked) -> Reply:
        parameters = parse_query(asked.query)
        return of_json(self.page(number(parameters, "limit"), number(parameters, "next_page_token")))

    async def _register(self, asked: Asked) -> Reply:
        # What stands in the body goes before what stands in the query.
        is_json = asked.header("content-type").partition(";")[0].strip().lower() == "application/json"
        of_body = parse_body(asked.body) if is_json and asked.body else {}
        return of_status(*await self.register({**parse_query(asked.query), **of_body}))

    async def _describe(self, asked: Asked) -> Reply:
        customized = flag(parse_query(asked.query), "customized")
        return of_json(await self.describe(asked.route.name, asked.route.version, customized=customized))

    async def _scale(self, asked: Asked) -> Reply:
        parameters = parse_query(asked.query)
        version = asked.route.version or parameters.get("model_version", "")
        return of_status(*await self.scale(asked.route.name, version, parameters))

    async def _set_default(self, asked: Asked) -> Reply:
        return of_status(self.set_default(asked.route.name, asked.route.version))

    async def _unregister(self, asked: Asked) -> Reply:
        return of_status(await self.unregister(asked.route.name, asked.route.version))

    async def _model_ready(self, asked: Asked) -> Reply:
        name = asked.route.name
        found = self._registry.find(name)
        if self._model(found) is None:
            raise model_not_found(name)
        return of_json({"name": name, "ready": self._service.model_ready(found.key, OUR_VERSION)})

    async def _describe_api(self, asked: Asked) -> Reply:
        return of_json(model_description(self._registry.find(asked.route.name).name, Api.MANAGEMENT))

    async def _token(self, asked: Asked) -> Reply:
        if self._tokens is None:
            raise not_found()
        kind = parse_query(asked.query).get("type", "")
        # A small file, in the place of one.
        self._tokens.renew(kind, asked.header("authorization"))
        return Reply(200, b"\n", "application/json")

    async def _of_workflows(self, asked: Asked) -> Reply:
        if self._workflows is None:
            raise not_found()
        return await self._workflows.answer(asked)
