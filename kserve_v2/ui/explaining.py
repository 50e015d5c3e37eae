"""`GET /ui/models/M/explain`: looks at a model for some seconds, and says what was found."""

import re
from collections.abc import Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kserve_v2.errors import NotFoundError, ServingError, UnavailableError
from kserve_v2.inference import InferenceService
from kserve_v2.repository.models.ensemble_model import EnsembleModel
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.endpoint import HEAD_REQUEST
from kserve_v2.rest.errors import error_response
from kserve_v2.rest.views import json_response
from kserve_v2.ui.explain import explain, stages
from kserve_v2.ui.findings import Json, Seen
from kserve_v2.ui.live import number_in, single_values, until_client_leaves
from kserve_v2.ui.sampling import Sample, between, mean_ms, model_view, process_view, seconds_between
from kserve_v2.ui.watching import Watching

_SHORTEST_S, _LONGEST_S, _USUAL_S = 0.5, 30.0, 5.0


# A host and a port that can be pasted into a shell.
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)


def url_asked(scope: Scope) -> str:
    """How the client has reached the server; "" where that cannot be pasted."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    return f"{scope['scheme']}://{host}" if _HOST.fullmatch(host) else ""


def seen_between(model: LoadedModel, old: Sample, new: Sample, *, caches: bool, url: str = "") -> Seen:
    """What was seen of a model. Raises NotFoundError if it was unloaded meanwhile."""
    key = (model.name, model.version)
    if key not in new.models:
        raise NotFoundError(
            f"model '{model.name}' version {model.version} was unloaded while it was looked at"
        )
    process = process_view(old, new)
    return Seen(
        between(old.models.get(key), new.models[key]),
        seconds_between(old, new),
        model.config,
        model.batching.reason,
        caches,
        process["cpu"],
        process["cpus"],
        process["loop_busy"],
        process["loop_waited"],
        process["loop_lag_ms"]["max"] or 0.0,
        sum(between(old.models.get(each), new.models[each]).requests for each in new.models),
        _steps(model, old, new),
        url,
    )


def _steps(model: LoadedModel, old: Sample, new: Sample) -> dict[str, float]:
    """Of an ensemble: how long a request to the models of its steps took on average, where there was one."""
    if not isinstance(model, EnsembleModel):
        return {}
    keys = {(each.name, each.version) for each in model.binding.callees if isinstance(each, LoadedModel)}
    found = {}
    for key in sorted(keys & new.models.keys()):
        taken = mean_ms([between(old.models.get(key), new.models[key])])["request"]
        if taken is not None:
            found[key[0]] = taken
    return found


def explanation(model: LoadedModel, old: Sample, new: Sample, *, caches: bool, url: str = "") -> Json:
    """What is sent. Raises as `seen_between`."""
    seen = seen_between(model, old, new, caches=caches, url=url)
    return {
        **model_view(seen.change, seen.seconds),
        "seconds": round(seen.seconds, 3),
        "requests": seen.change.requests,
        "in_flight": round(seen.in_flight, 2),
        "server": process_view(old, new),
        "stages": stages(seen),
        "findings": [each.view() for each in explain(seen)],
    }


class ExplainAnswer(Response):
    """The answer to one who asks why."""

    def __init__(
        self, service: InferenceService, watching: Watching, name: str, version: str, *, caches: bool
    ) -> None:
        """`caches`: whether the server has a response cache."""
        super().__init__()
        self._service, self._watching = service, watching
        self._name, self._version, self._caches = name, version, caches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look for as long as the query says, and answer."""
        try:
            values = single_values(scope["query_string"], ("seconds",))
            seconds = number_in(values, "seconds", _USUAL_S, (_SHORTEST_S, _LONGEST_S))
            model = self._service.acquire(self._name, self._version).like
            if scope.get(HEAD_REQUEST):
                seconds = _SHORTEST_S
            change = await until_client_leaves(scope, self._look(seconds))
            if change is None:
                return
            answer = json_response(explanation(model, *change, caches=self._caches, url=url_asked(scope)))
            answer.headers["cache-control"] = "no-store"
        except ServingError as error:
            answer = error_response(error)
        await answer(scope, receive, send)

    async def _look(self, seconds: float) -> Sequence[Sample]:
        async with self._watching.watch(seconds, seconds) as watcher:
            change = await watcher.next()
        if change is None:
            raise UnavailableError("Server exiting")
        return change
