"""The routes of the page: `/`, its files, and what it asks beside the protocol."""

import asyncio
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from kserve_v2.inference import InferenceService
from kserve_v2.net.preferences import preferred
from kserve_v2.repository.reading.sample_request import read_sample
from kserve_v2.rest.openapi import documented
from kserve_v2.rest.views import json_response, root_view
from kserve_v2.ui.assets import Assets
from kserve_v2.ui.explaining import ExplainAnswer
from kserve_v2.ui.live import LiveAnswer, LiveEvents
from kserve_v2.ui.timed import TimedRequests
from kserve_v2.ui.views import form_view, models_view, server_view
from kserve_v2.ui.watching import Watching

_NOT_KEPT = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def add_ui_routes(
    app: FastAPI,
    service: InferenceService,
    max_request_bytes: int,
    urls: Mapping[str, str],
    *,
    grpc_tls: bool = False,
    caches: bool = False,
) -> None:
    """Add the page to the REST front end. `urls`: of the server's ports, by name; known when the server listens.
    `caches`: whether it has a response cache.
    """
    assets = Assets()
    _add_page(app, service, assets)

    @app.get("/ui/server", include_in_schema=False)
    async def server() -> Response:
        return _answer(server_view(service, urls, grpc_tls=grpc_tls))

    @app.get("/ui/models", include_in_schema=False)
    async def models() -> Response:
        return _answer(await models_view(service))

    _add_model_routes(app, service)
    _add_watching(app, service, caches=caches)
    timed = TimedRequests(service, max_request_bytes)

    @app.post("/ui/models/{model_name:model}/infer", include_in_schema=False)
    @app.post("/ui/models/{model_name:model}/versions/{version}/infer", include_in_schema=False)
    async def infer(model_name: str, version: str = "") -> Response:
        return timed.infer(model_name, version)


def _add_page(app: FastAPI, service: InferenceService, assets: Assets) -> None:
    @app.get("/", **documented("page"))
    async def page(request: Request) -> Response:
        """The page for browsers, which say that they read HTML; for all others what the server is."""
        if wants_html(request.headers.get("accept", "")):
            return await _asset("index.html", request)
        answer = json_response(root_view(service.server_metadata()))
        answer.headers["vary"] = "Accept"
        return answer

    @app.get("/v2/docs", include_in_schema=False)
    @app.get("/v2/models/{model_name:model}/docs", include_in_schema=False)
    @app.get("/v2/models/{model_name:model}/versions/{version}/docs", include_in_schema=False)
    async def elsewhere(request: Request) -> Response:
        """Where MLServer has the description. Relative, as there may be a prefix in front of all paths."""
        return RedirectResponse("../" * (request.scope["path"].count("/") - 1) + "docs")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        """The description of the API, for people."""
        return await _asset("docs.html", request)

    @app.get("/ui/static/{name:path}", include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        return await _asset(name, request)

    async def _asset(name: str, request: Request) -> Response:
        asset = await assets.get(name)
        if asset is None:
            raise HTTPException(404)
        return asset.answer(request.headers)


def _add_model_routes(app: FastAPI, service: InferenceService) -> None:
    @app.get("/ui/models/{model_name:model}", include_in_schema=False)
    @app.get("/ui/models/{model_name:model}/versions/{version}", include_in_schema=False)
    async def form(model_name: str, version: str = "") -> Response:
        return _answer(await service.loaded(lambda: form_view(service, model_name, version)))

    @app.get("/ui/models/{model_name:model}/sample", include_in_schema=False)
    async def sample(model_name: str) -> Response:
        model = await service.loaded(lambda: service.acquire(model_name))
        return _answer(await asyncio.to_thread(read_sample, model.like.path, model_name))


def _add_watching(app: FastAPI, service: InferenceService, *, caches: bool) -> None:
    watching, events = Watching(service), LiveEvents()

    @app.get("/ui/live", include_in_schema=False)
    async def live() -> Response:
        return LiveAnswer(watching, events)

    @app.get("/ui/models/{model_name:model}/explain", include_in_schema=False)
    @app.get("/ui/models/{model_name:model}/versions/{version}/explain", include_in_schema=False)
    async def explain(model_name: str, version: str = "") -> Response:
        return ExplainAnswer(service, watching, model_name, version, caches=caches)


def _answer(value: object) -> Response:
    answer = json_response(value)
    answer.headers.update(_NOT_KEPT)
    return answer


def wants_html(accept: str) -> bool:
    """Whether an Accept header asks for HTML by name, with a weight above 0. `*/*` does not: that is what curl and
    the clients of the protocol send.
    """
    return not {"text/html", "application/xhtml+xml"}.isdisjoint(
        preferred(accept.encode("latin-1", "replace"))
    )
