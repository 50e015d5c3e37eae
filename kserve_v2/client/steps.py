"""What a client does, step by step, for both kinds of client: each step is a question to the server or a pause, and
whoever runs the steps sends it, or waits.
"""

import json
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from kserve_v2.client.call import Call, make_request
from kserve_v2.client.deadline import Deadline
from kserve_v2.client.description import ModelInfo, model_info
from kserve_v2.client.errors import InvitedError, NoServerError
from kserve_v2.client.exchange import Exchange, Pause, Stream
from kserve_v2.client.protocol import EXTENSION_BINARY, ServerProtocol
from kserve_v2.client.request import Request
from kserve_v2.client.result import InferResult
from kserve_v2.client.retries import Retries
from kserve_v2.errors import InvalidArgumentError, NotFoundError, ServingError, UnsupportedError

T = TypeVar("T")

Steps = Generator[Exchange[Any] | Pause, Any, T]

# Models and versions of which something is remembered.
_MOST_MODELS = 10_000


class _Known:
    """What is known of a model. `versions`: those that have answered, and take this. `outdated`: another one has."""

    __slots__ = ("info", "outdated", "versions")

    def __init__(self, info: ModelInfo, versions: set[str]) -> None:
        self.info = info
        self.versions = versions
        self.outdated = False


class Operations:
    """Of one server. Its methods may be called from any thread, and their steps run in any."""

    def __init__(self, protocol: ServerProtocol, retries: Retries) -> None:
        self.protocol = protocol
        self.retries = retries
        self._known: dict[tuple[str, str], _Known] = {}
        # Whether the server takes binary tensors; None as long as nobody has asked.
        self._binary: bool | None = None if protocol.asks_for_extensions else True

    def infer(self, call: Call, deadline: Deadline) -> Steps[InferResult]:
        """One request and its answer."""
        request, one_row, known = yield from self._prepared(call, deadline)
        binary = yield from self._takes_binary(deadline)
        exchange = self.protocol.infer(request, binary=binary)
        try:
            result = yield from self._sent(exchange, deadline)
        except (InvalidArgumentError, NotFoundError) as refusal:
            # Perhaps the model is another one by now.
            changed = yield from self._read_again(call, known, deadline)
            if changed is None:
                raise refusal from None
            request, one_row = make_request(call, changed.info)
            known = changed
            result = yield from self._sent(self.protocol.infer(request, binary=binary), deadline)
        self._note_version(known, result.model_version)
        return result.row() if one_row else result

    def prepare_stream(self, call: Call, deadline: Deadline) -> Steps[tuple[Stream[InferResult], bool]]:
        """The question that a stream begins with, and whether its answers are given without the batch dimension."""
        request, one_row, known = yield from self._prepared(call, deadline)
        return self.protocol.stream(request, known.info), one_row

    def _prepared(self, call: Call, deadline: Deadline) -> Steps[tuple[Request, bool, _Known]]:
        key = call.model, call.version
        known = self._known.get(key)
        if known is not None and not known.outdated:
            try:
                return (*make_request(call, known.info), known)
            except InvalidArgumentError:
                # What it takes may have changed.
                pass
        known = yield from self._read(call, deadline)
        return (*make_request(call, known.info), known)

    def _read(self, call: Call, deadline: Deadline) -> Steps[_Known]:
        exchange = self.protocol.model_metadata(call.model, call.version)
        metadata = yield from self._sent(exchange, deadline)
        info = model_info(metadata)
        if info.may_batch:
            info = replace(info, batched=(yield from self._batched(call, deadline)))
        key = call.model, call.version
        before = self._known.get(key)
        if len(self._known) >= _MOST_MODELS:
            self._known.clear()
        versions = before.versions if before is not None and before.info == info else set()
        known = self._known[key] = _Known(info, versions)
        return known

    def _batched(self, call: Call, deadline: Deadline) -> Steps[bool | None]:
        """Whether a model makes batches; None on servers that know no such thing."""
        try:
            config = yield from self._sent(self.protocol.config(call.model, call.version), deadline)
            return int(config.get("max_batch_size") or 0) > 0
        except (UnsupportedError, NotFoundError, InvalidArgumentError, NoServerError, ValueError, TypeError):
            return None

    def _read_again(self, call: Call, known: _Known, deadline: Deadline) -> Steps[_Known | None]:
        """What is known of a model now, if it is something else than before."""
        try:
            again = yield from self._read(call, deadline)
        except ServingError:
            return None
        return None if again.info == known.info else again

    def _note_version(self, known: _Known, version: str) -> None:
        """Another version than before may take something else: it is looked at before the next request."""
        if version not in known.versions:
            known.outdated = bool(known.versions)
            known.versions.add(version)

    def _takes_binary(self, deadline: Deadline) -> Steps[bool]:
        if self._binary is None:
            try:
                metadata = yield from self._sent(self.protocol.server_metadata(), deadline)
                self._binary = EXTENSION_BINARY in (metadata.get("extensions") or ())
            except (NotFoundError, UnsupportedError):
                self._binary = False
        return self._binary

    def _sent(self, exchange: Exchange[T], deadline: Deadline) -> Steps[T]:
        """Send what may be sent again if the server has not begun with it."""
        before = 0
        while True:
            try:
                answer: T = yield exchange
            except InvitedError as refused:
                pause_s = self.retries.pause_s(refused, before, deadline.left_s())
                if pause_s is None:
                    raise refused.error from None
            else:
                return answer
            before += 1
            yield Pause(pause_s)


def simply(exchange: Exchange[T]) -> Steps[T]:
    """The steps of what is sent once."""
    answer: T = yield exchange
    return answer


def load_config(config: Mapping[str, Any] | str | None) -> str | None:
    """A configuration as a load call has it, which is JSON. Raises InvalidArgumentError."""
    if config is None or isinstance(config, str):
        return config
    try:
        return json.dumps(dict(config))
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"config: it is no JSON: {error}") from None
