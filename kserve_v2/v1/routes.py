"""The routes of the v1 protocol that say something of models."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response

from kserve_v2.errors import InvalidArgumentError, NotFoundError
from kserve_v2.inference import InferenceService
from kserve_v2.rest.openapi import Texts
from kserve_v2.rest.views import json_response
from kserve_v2.v1.flavours import Manners
from kserve_v2.v1.predict import acquire
from kserve_v2.v1.views import metadata_view, version_status

TEXTS = Texts(Path(__file__).parent, "/v1/models", ":")
"""What is said of the protocol."""

_VERBS = (":predict", ":explain", ":classify", ":regress")


def add_v1_routes(app: FastAPI, service: InferenceService, manners: Manners) -> None:
    """Add the routes to `app`."""

    @app.get("/v1/models", **TEXTS.documented("models"))
    async def models() -> Response:
        """The models that answer."""
        names = {model.name for model in service.statistics()}
        return json_response({"models": sorted(names.union(service.manager.other_names))})

    @app.get("/v1/models/{model_name:model}", **TEXTS.documented("status"))
    @app.get("/v1/models/{model_name:model}/versions/{version}", **TEXTS.documented("status"))
    @app.get("/v1/models/{model_name:model}/labels/{version}", include_in_schema=False)
    async def status(model_name: str, version: str = "") -> Response:
        """Whether a model answers, and the state of each of its versions."""
        known = service.versions(model_name, version)
        # Raises NotFoundError for a label that a known model does not have.
        number = str(service.manager.version_number(model_name, version)) if version and known else ""
        entries = [entry for entry in known if entry.version and number in ("", entry.version)]
        if not entries and not await service.is_on_demand(model_name):
            reasons = "; ".join(entry.reason for entry in known if entry.reason and not entry.version)
            why = f" It could not be loaded: {reasons}" if reasons else ""
            raise NotFoundError(manners.unknown_status(model_name, version) + why)
        states = {"model_version_status": version_status(entries)}
        if manners.of_tf_serving:
            return json_response(states)
        if await service.model_says_ready(model_name, version):
            return json_response({"name": model_name, "ready": True, **states})
        return json_response({"error": f"Model with name {model_name} is not ready.", **states}, 503)

    @app.get("/v1/models/{model_name:model}/metadata", **TEXTS.documented("metadata"))
    @app.get("/v1/models/{model_name:model}/versions/{version}/metadata", **TEXTS.documented("metadata"))
    @app.get("/v1/models/{model_name:model}/labels/{version}/metadata", include_in_schema=False)
    async def metadata(model_name: str, version: str = "") -> Response:
        """Inputs and outputs of a model, as TF Serving has them."""

        def found() -> Response:
            number = acquire(service, model_name, version, manners).like.version
            return json_response(metadata_view(service.model_metadata(model_name, version), number))

        return await service.loaded(found)

    if manners.of_tf_serving:

        @app.api_route("/v1/{path:path}", methods=["GET", "POST"], include_in_schema=False)
        async def malformed(path: str, request: Request) -> Response:
            raise InvalidArgumentError(f"Malformed request: {request.method} /v1/{path}")

    else:

        @app.post("/v1/models/{model_name:model}:{verb}", include_in_schema=False)
        @app.post("/v1/models/{model_name:model}/versions/{version}:{verb}", include_in_schema=False)
        @app.post("/v1/models/{model_name:model}/labels/{version}:{verb}", include_in_schema=False)
        async def unknown_verb(model_name: str, verb: str, version: str = "") -> Response:
            raise NotFoundError(f"no model is asked by ':{verb}': expected one of {', '.join(_VERBS)}")
