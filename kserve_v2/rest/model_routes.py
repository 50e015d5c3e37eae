"""Paths of models' own: requests to them are handed to the model as they are."""

import json
from collections.abc import Iterator

from fastapi import FastAPI
from starlette.routing import Match, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.net.model_answers import BODYLESS, header_of, status_of
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.body import BodyReader
from kserve_v2.rest.endpoint import QUERY
from kserve_v2.rest.errors import error_response, known
from kserve_v2.rest.verbatim import body_tensor, headers_by_name, own_headers
from kserve_v2.scheduling.replies import infer
from kserve_v2.verbatim import BODY, HEADERS, ROUTES, STATUS

_CONTENT_TYPE = "content-type"


class ModelRoutes:
    """ASGI middleware in front of the server's own routes, which go first. A path that several models have is that of
    the one whose name comes first.
    """

    def __init__(self, routes: FastAPI, app: ASGIApp, service: InferenceService, bodies: BodyReader) -> None:
        """`routes`: the server's own; `app`: what answers requests to them, and those to nothing."""
        self._routes = routes
        self._app = app
        self._service = service
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        model = self._model(scope) if scope["type"] == "http" else None
        if model is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await self._ask(model, scope, receive)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            await error_response(known(error))(scope, receive, send)
        else:
            await _send(response, send)

    def _model(self, scope: Scope) -> LoadedModel | None:
        """The model that has a path; None if none has, or the server itself."""
        asked = [
            (name, model)
            for name, model, method, path in self._all()
            if method == scope["method"] and compile_path(path)[0].fullmatch(scope["path"])
        ]
        if not asked or any(each.matches(scope)[0] is Match.FULL for each in self._routes.router.routes):
            return None
        return min(asked, key=lambda each: each[0])[1]

    def _all(self) -> Iterator[tuple[str, LoadedModel, str, str]]:
        for model in self._service.manager.ready_models():
            if model.signature.verbatim and ROUTES in model.config.parameters:
                for method, path in json.loads(model.config.parameters[ROUTES].string_value):
                    yield model.name, model, method, path

    async def _ask(self, model: LoadedModel, scope: Scope, receive: Receive) -> InferResponse:
        body = await self._bodies.read(receive, None)
        # The one that answers the name may be another version by now.
        model = self._service.acquire(model.name)
        request = InferRequest(model.name, {BODY: body_tensor(body)})
        route = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope[QUERY].decode("latin-1"),
        }
        request.packed = {"headers": headers_by_name(scope["headers"]), "route": route}
        if model.splits:
            model = self._service.route(model, request, scope["headers"])
        return await infer(self._service.check(model, request), request)


async def _send(response: InferResponse, send: Send) -> None:
    status = status_of(int(response.parameters.get(STATUS, 200)))
    body: bytes = response.outputs[BODY].item() if status not in BODYLESS else b""
    text = response.parameters.get(HEADERS, "[]")
    headers = own_headers(text, response.model_name)
    for name, value in json.loads(str(text)):
        header = header_of(name, value) if name.lower() == _CONTENT_TYPE else None
        if header is not None and status not in BODYLESS:
            headers.append(header)
    if status not in BODYLESS:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
