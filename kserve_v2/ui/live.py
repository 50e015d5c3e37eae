"""`GET /ui/live`: what the server does now, as server-sent events, for as long as somebody looks."""

import asyncio
import math
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qs

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.net.attended import Attended
from kserve_v2.rest.endpoint import HEAD_REQUEST
from kserve_v2.rest.errors import error_response
from kserve_v2.ui.sampling import (
    ModelSample,
    Sample,
    between,
    model_view,
    process_view,
    seconds_between,
    total_view,
)
from kserve_v2.ui.watching import Watching

Json = dict[str, Any]
T = TypeVar("T")

MOST_MODELS = 100
"""So many models are shown, unless those are named that are wanted: the busiest ones."""

MOST_AT_ONCE = 50
"""Of so many models an event is made in no time."""

_SHORTEST_S, _LONGEST_S, _USUAL_S = 0.25, 10.0, 1.0

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # Otherwise nginx would keep the events for itself.
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


def live_document(old: Sample, new: Sample, models: Sequence[str] = ()) -> Json:
    """What is sent of one moment. `models`: the names of those that are wanted; none for all."""
    seconds = seconds_between(old, new)
    wanted = [each for each in new.models.values() if not models or each.name in models]
    changes = [between(old.models.get((each.name, each.version)), each) for each in wanted]
    shown = changes if models else sorted(changes, key=_busiest)[:MOST_MODELS]
    document = {
        "time": round(new.time_s, 3),
        "seconds": round(seconds, 3),
        "server": process_view(old, new),
        "total": total_view(changes, seconds),
        "models": [
            model_view(each, seconds) for each in sorted(shown, key=lambda each: (each.name, each.version))
        ],
        "models_left_out": len(changes) - len(shown),
    }
    missing = [name for name in models if all(each.name != name for each in wanted)]
    return {**document, "not_loaded": missing} if missing else document


def _busiest(change: ModelSample) -> tuple[int, int, str, int]:
    return (-change.requests - sum(change.failures.values()), -change.depth, change.name, change.version)


def live_query(query: bytes) -> tuple[tuple[str, ...], float]:
    """The models and the interval that a query asks for. Raises InvalidArgumentError."""
    found = single_values(query, ("models", "interval"))
    names = tuple(dict.fromkeys(name for name in found.get("models", "").split(",") if name))
    return names, number_in(found, "interval", _USUAL_S, (_SHORTEST_S, _LONGEST_S))


def single_values(query: bytes, known: Sequence[str]) -> Mapping[str, str]:
    """What a query says, each once. Raises InvalidArgumentError for what is not known, or said twice."""
    try:
        found = parse_qs(query.decode(), keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError as error:
        raise InvalidArgumentError(f"cannot read the query: {error}") from None
    for name, values in found.items():
        if name not in known:
            raise InvalidArgumentError(
                f"unknown parameter '{name}' in the query, expected {' or '.join(known)}"
            )
        if len(values) > 1:
            raise InvalidArgumentError(f"parameter '{name}' of the query is given {len(values)} times")
    return {name: values[0] for name, values in found.items()}


def number_in(values: Mapping[str, str], name: str, otherwise: float, bounds: tuple[float, float]) -> float:
    """A number of seconds in a query. Raises InvalidArgumentError."""
    text = values.get(name)
    if text is None:
        return otherwise
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not bounds[0] <= number <= bounds[1]:
        raise InvalidArgumentError(
            f"invalid {name} '{text}': expected a number of seconds from {bounds[0]:g} to {bounds[1]:g}"
        )
    return number


class LiveEvents:
    """The events of one moment, each made once for all who get the same. Where there are many models, that is not done
    on the event loop.
    """

    def __init__(self) -> None:
        self._at_ns = 0
        self._made: dict[tuple[int, tuple[str, ...]], bytes | asyncio.Future[bytes]] = {}

    async def event(self, old: Sample, new: Sample, models: tuple[str, ...]) -> bytes:
        """As it is sent."""
        if new.at_ns != self._at_ns:
            self._at_ns, self._made = new.at_ns, {}
        key = (old.at_ns, models)
        made = self._made.get(key)
        if made is None:
            if len(new.models) <= MOST_AT_ONCE:
                made = _event(old, new, models)
            else:
                made = asyncio.ensure_future(asyncio.to_thread(_event, old, new, models))
            self._made[key] = made
        # Who leaves must not take it away from the others.
        return made if isinstance(made, bytes) else await asyncio.shield(made)


def _event(old: Sample, new: Sample, models: Sequence[str]) -> bytes:
    return b"data: " + orjson.dumps(live_document(old, new, models)) + b"\n\n"


class LiveAnswer(Response):
    """The answer to one who watches."""

    def __init__(self, watching: Watching, events: LiveEvents) -> None:
        super().__init__()
        self._watching, self._events = watching, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one event after the other, until the client leaves, takes nothing any more, or the server ends."""
        try:
            models, interval_s = live_query(scope["query_string"])
        except InvalidArgumentError as error:
            await error_response(error)(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        watches = self._watch(send, models, interval_s)
        if scope.get(HEAD_REQUEST):
            watches.close()
            await send({"type": "http.response.body", "body": b""})
        elif await until_client_leaves(scope, watches):
            await send({"type": "http.response.body", "body": b""})

    async def _watch(self, send: Send, models: tuple[str, ...], interval_s: float) -> bool:
        """Send events until the server ends.

        The connection hangs up on a client that reads nothing for a while. Until then there is one event that it has
        not taken, and later ones tell of the whole time.
        """
        await _send(send, b"retry: 1000\n\n")
        async with self._watching.watch(interval_s) as watcher:
            while (change := await watcher.next()) is not None:
                await _send(send, await self._events.event(*change, models))
        return True


async def _send(send: Send, event: bytes) -> None:
    await send({"type": "http.response.body", "body": event, "more_body": True})


async def until_client_leaves(scope: Scope, work: Coroutine[Any, Any, T]) -> T | None:
    """What comes of the work. None: the client has left, or the server's time is up, and nobody is to be told."""
    with Attended(scope) as attended:
        try:
            return await work
        except asyncio.CancelledError:
            attended.take_back()
            return None
