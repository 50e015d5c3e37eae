"""The routes of releases: what labels stand for, how requests are split over versions, and what is shadowed."""

from fastapi import FastAPI, Request
from fastapi.responses import Response

from kserve_v2.config.release import check_members_once
from kserve_v2.inference import InferenceService
from kserve_v2.rest.body import BodyReader
from kserve_v2.rest.openapi import documented
from kserve_v2.rest.views import json_response, release_view


def add_release_routes(app: FastAPI, service: InferenceService, bodies: BodyReader) -> None:
    """Add the routes to `app`."""

    @app.get("/v2/repository/models/{model_name:model}/release", **documented("release"))
    async def release(model_name: str) -> Response:
        """Which versions answer requests to a model that name a label, or no version."""
        return json_response(release_view(await service.release(model_name)))

    @app.post("/v2/repository/models/{model_name:model}/release", **documented("release_change"))
    async def change_release(model_name: str, request: Request) -> Response:
        """Change some of that. In force, and kept across restarts, when this answers; answers all."""
        document = await bodies.read_object(request.receive, check=check_members_once)
        who = request.client.host if request.client is not None else "a local client"
        return json_response(release_view(await service.change_release(model_name, document, who)))
