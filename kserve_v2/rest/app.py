"""The FastAPI application: control routes, the documentation page, and the inference endpoint in front of
them.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from kserve_v2.config import config_to_dict
from kserve_v2.config.release import check_members_once, is_label
from kserve_v2.errors import InvalidArgumentError, ServingError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.json_data.text import parse_object
from kserve_v2.repository.models.shown import shown_statistics
from kserve_v2.rest.body import BodyReader
from kserve_v2.rest.cross_site import OwnPagesOnly
from kserve_v2.rest.endpoint import ModelEndpoint, Operation, Operations
from kserve_v2.rest.errors import error_body, error_response, known
from kserve_v2.rest.generate import Generate, GenerateStream
from kserve_v2.rest.infer import Infer, InferStream, unless_verbatim
from kserve_v2.rest.load_body import load_request, parse_load
from kserve_v2.rest.members import optional
from kserve_v2.rest.model_descriptions import described_models, with_models
from kserve_v2.rest.model_routes import ModelRoutes
from kserve_v2.rest.openapi import DESCRIPTION, Texts, complete, documented
from kserve_v2.rest.settings_routes import add_settings_routes
from kserve_v2.rest.shared_memory_routes import add_shared_memory_routes
from kserve_v2.rest.views import (
    empty_response,
    index_view,
    json_response,
    model_metadata_view,
    release_view,
    root_view,
)
from kserve_v2.scheduling.slices import mapped

_NOT_READY = "Model version not ready"


@dataclass(frozen=True, slots=True)
class OtherProtocol:
    """What is spoken on the same port beside v2. `add_routes`: adds what FastAPI answers. `operations`: what it never
    sees. `texts`: what is said of both in the description.
    """

    add_routes: Callable[[FastAPI], None]
    operations: Operations
    texts: Texts


def create_app(
    service: InferenceService,
    max_request_bytes: int,
    others: Sequence[OtherProtocol] = (),
    add_page: Callable[[FastAPI], None] | None = None,
    origins: Collection[str] = (),
) -> ASGIApp:
    """The REST front end of `service`. `max_request_bytes`: the largest inference request that is accepted.
    `others`: the protocols beside v2. `add_page`: adds routes that are of none. `origins`: whose pages may change
    something.

    The inference endpoint stands in front of FastAPI, which would cost it more time than most models take.
    """
    app = FastAPI(
        title="kserve-v2",
        description=DESCRIPTION,
        # Its page asks another host for its files; see `ui`. And the description is of what is loaded now.
        openapi_url=None,
        default_response_class=Response,  # what is in it is said by `documented`
        redirect_slashes=False,  # paths are exact
    )
    bodies = BodyReader(max_request_bytes, service.inflight, service.slicer)
    _add_error_handlers(app)
    _add_health_routes(app, service)
    _add_model_routes(app, service)
    _add_repository_routes(app, service, bodies)
    for protocol in others:
        protocol.add_routes(app)
    add_settings_routes(app, service, bodies)
    add_shared_memory_routes(app, service, bodies)
    if add_page is not None:
        add_page(app)
    _add_root(app, service, is_page=add_page is not None)
    _add_description(app, service, [protocol.texts for protocol in others])
    infer, infer_stream = Infer(service, max_request_bytes), InferStream(service, max_request_bytes)
    v2: dict[str, Operation] = {
        "infer": infer,
        "infer_stream": infer_stream,
        "generate": unless_verbatim(service, Generate(service, max_request_bytes), infer),
        "generate_stream": unless_verbatim(service, GenerateStream(service, max_request_bytes), infer_stream),
    }
    operations = [Operations(v2), *(protocol.operations for protocol in others)]
    routes = ModelRoutes(app, OwnPagesOnly(app, origins), service, bodies)
    return ModelEndpoint(routes, operations, bodies, service.tracer, service.demand)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ServingError)
    async def serving_error(_: Request, error: ServingError) -> Response:
        return error_response(error)

    @app.exception_handler(HTTPException)
    async def route_miss(_: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"
        return Response(error_body(error.detail), error.status_code, headers, "application/json")

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> Response:
        return error_response(known(error))


def _add_health_routes(app: FastAPI, service: InferenceService) -> None:
    @app.get("/v2/health/live", **documented("live"))
    async def live() -> Response:
        """The process answers requests."""
        return json_response({"live": True})

    @app.get("/v2/health/ready", **documented("ready"))
    async def ready(request: Request) -> Response:
        """All models that should be served are: the server may get traffic. `?model=NAME`, which may be repeated, asks
        for these models alone.
        """
        names = request.query_params.getlist("model")
        is_ready = await service.all_say_ready(names) if names else service.ready()
        return json_response({"live": True, "ready": is_ready}, 200 if is_ready else 400)

    @app.get("/v2/models/{model_name:model}/ready", **documented("model_ready"))
    @app.get("/v2/models/{model_name:model}/versions/{version}/ready", **documented("model_ready"))
    async def model_ready(model_name: str, version: str = "") -> Response:
        """This model, or this version of it, answers."""
        if await service.model_says_ready(model_name, version):
            return json_response({"name": model_name, "ready": True})
        error = _why_not_ready(service, model_name, version)
        return json_response({"name": model_name, "ready": False, "error": error}, 400)


def _why_not_ready(service: InferenceService, model_name: str, version: str) -> str:
    if is_label(version):
        # Whoever has mistyped a label would wait for it. Of a number no more is said than Triton's clients know.
        try:
            service.acquire(model_name, version)
        except ServingError as error:
            return f"{_NOT_READY}: {error.message}"
    return _NOT_READY


def _add_root(app: FastAPI, service: InferenceService, *, is_page: bool) -> None:
    # Whoever has added a page there is asked first.
    @app.get("/", include_in_schema=not is_page, **documented("page"))
    async def root() -> Response:
        """What the server is."""
        return json_response(root_view(service.server_metadata()))


def _add_model_routes(app: FastAPI, service: InferenceService) -> None:
    @app.get("/v2", **documented("server_metadata"))
    async def server_metadata() -> Response:
        """Name, version and extensions of the server."""
        return json_response(service.server_metadata())

    @app.get("/v2/models/stats", **documented("statistics"))
    async def all_statistics() -> Response:
        """Counters and durations of every model that is ready."""
        slices = mapped(shown_statistics, await service.counted())
        return json_response({"model_stats": await service.slicer.finish(slices)})

    @app.get("/v2/models/{model_name:model}", **documented("model_metadata"))
    @app.get("/v2/models/{model_name:model}/versions/{version}", **documented("model_metadata"))
    async def model_metadata(model_name: str, version: str = "") -> Response:
        """Inputs and outputs of a model."""
        metadata = await service.loaded(lambda: service.model_metadata(model_name, version))
        return json_response(model_metadata_view(metadata))

    @app.get("/v2/models/{model_name:model}/config", **documented("model_config"))
    @app.get("/v2/models/{model_name:model}/versions/{version}/config", **documented("model_config"))
    async def model_config(model_name: str, version: str = "") -> Response:
        """The complete configuration of a model, with everything that was filled in."""
        config = await service.loaded(lambda: service.model_config(model_name, version))
        return json_response(config_to_dict(config))

    @app.get("/v2/models/{model_name:model}/stats", **documented("statistics"))
    @app.get("/v2/models/{model_name:model}/versions/{version}/stats", **documented("statistics"))
    async def model_statistics(model_name: str, version: str = "") -> Response:
        """Counters and durations of a model since it was loaded."""
        models = await service.counted(model_name, version)
        return json_response({"model_stats": [shown_statistics(model) for model in models]})


def _add_repository_routes(app: FastAPI, service: InferenceService, bodies: BodyReader) -> None:
    async def read_object(request: Request) -> dict[str, Any]:
        return await bodies.read_object(request.receive, may_be_empty=True)

    @app.post("/v2/repository/index", **documented("repository_index"))
    @app.post("/v2/repository/{repository_name}/index", include_in_schema=False)
    async def index(request: Request) -> Response:
        """The models of the repository, whether loaded or not, and why not."""
        ready = optional(await read_object(request), "ready", False)
        if not isinstance(ready, bool):
            raise InvalidArgumentError("Invalid value for 'ready': expected a boolean")
        slices = mapped(index_view, await service.index(ready_only=ready))
        return json_response(await service.slicer.finish(slices))

    @app.post("/v2/repository/models/{model_name:model}/load", **documented("repository_load"))
    async def load(model_name: str, request: Request) -> Response:
        """Load a model, or load it again if its files have changed. Answers when it is ready."""
        # What was sent is not kept, but for what has become of it.
        document = await bodies.read_object(request.receive, may_be_empty=True, parse=parse_load)
        wanted = await load_request(document, service.check_may_load)
        await service.load(model_name, wanted)
        return empty_response()

    @app.post("/v2/repository/models/{model_name:model}/unload", **documented("repository_unload"))
    async def unload(model_name: str, request: Request) -> Response:
        """Unload a model. Answers at once; requests that are under way are finished."""
        parameters = (await read_object(request)).get("parameters")
        # Anything but true is as good as nothing, as Triton has it.
        dependents = isinstance(parameters, dict) and parameters.get("unload_dependents") is True
        await service.unload(model_name, dependents=dependents)
        return empty_response()

    @app.get("/v2/repository/models/{model_name:model}/release", **documented("release"))
    async def release(model_name: str) -> Response:
        """Which versions answer requests to a model that name a label, or no version."""
        return json_response(release_view(await service.release(model_name)))

    @app.post("/v2/repository/models/{model_name:model}/release", **documented("release_change"))
    async def change_release(model_name: str, request: Request) -> Response:
        """Change some of that. In force, and kept across restarts, when this answers; answers all."""
        body = await bodies.read(request.receive)
        document = parse_object(body)
        check_members_once(body)
        who = request.client.host if request.client is not None else "a local client"
        return json_response(release_view(await service.change_release(model_name, document, who)))

    @app.post("/v2/repository/{repository_name}/models/{model_name:model}/load", include_in_schema=False)
    @app.post("/v2/repository/{repository_name}/models/{model_name:model}/unload", include_in_schema=False)
    async def name_repository() -> Response:
        raise UnsupportedError("'repository_name' specification is not supported")


def _add_description(app: FastAPI, service: InferenceService, others: Iterable[Texts]) -> None:
    @app.get("/v2/docs/dataplane.json", include_in_schema=False)
    @app.get("/v2/models/{model_name:model}/docs/dataplane.json", include_in_schema=False)
    @app.get("/v2/models/{model_name:model}/versions/{version}/docs/dataplane.json", include_in_schema=False)
    @app.get("/openapi.json", include_in_schema=False)
    async def description() -> Response:
        """The description of all routes, and of the models that are loaded now."""
        loaded = described_models(service)
        if app.openapi_schema is None:
            # It is made once.
            complete(app.openapi(), others)
        return json_response(await asyncio.to_thread(with_models, app.openapi(), loaded))
