"""Paths of a model's own: its methods are called as FastAPI calls functions."""

from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI
from mlserver.handlers import get_custom_handlers

Json = dict[str, Any]


class ModelRoutes:
    """The paths of one model."""

    def __init__(self, model: Any) -> None:
        self._app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        for handler, method in get_custom_handlers(model):
            self._app.add_api_route(handler.rest_path, method, methods=[handler.rest_method])

    async def answer(
        self, route: Json, headers: Json, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of the answer to a request."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": route["method"],
            "path": route["path"],
            "raw_path": route["path"].encode(),
            "query_string": route["query"].encode("latin-1"),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
            "client": None,
            "server": None,
        }
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> Json:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start = sent[0]
        found = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
        return start["status"], found, b"".join(each.get("body", b"") for each in sent[1:])
