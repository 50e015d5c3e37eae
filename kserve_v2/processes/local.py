"""What a worker answers itself: requests to models that it has copies of, as the home would answer them."""

from kserve_v2.errors import NotHereError
from kserve_v2.processes.replica import ReplicaHost
from kserve_v2.rest.fast_lane import FastLane
from kserve_v2.rest.heads import InferHead
from kserve_v2.rpc.calls import Asked, Context, Parts, Serialized
from kserve_v2.rpc.infer import ModelInfer

# How a ModelInferRequest begins: the fields of the model's name and version, if they are as short as usual.
_NAME, _VERSION, _LONG = 0x0A, 0x12, 0x80


class LocalLane(FastLane):
    """A `forwarding.lane.LocalLane`."""

    def __init__(self, host: ReplicaHost, max_request_bytes: int) -> None:
        super().__init__(host.service, max_request_bytes)
        self._host = host

    def has_route(self, head: InferHead) -> bool:
        """Whether there is a route for the model now."""
        return self._host.has(head.model_name, head.version)


class LocalInfer:
    """A `forwarding.rpcs.LocalInfer`."""

    def __init__(self, host: ReplicaHost) -> None:
        self._host = host
        self._infer = ModelInfer(host.service)

    def recall(self, data: Serialized) -> Parts | Asked | None:
        """The answer to a request that is like an earlier one."""
        try:
            return self._infer.recall(data)
        except NotHereError:
            return None

    def start(self, data: Serialized, context: Context) -> Parts | Asked | None:
        """The answer to any request; None if it is the home's."""
        asked = _asked(data)
        if asked is not None and not self._host.has(*asked):
            # Unread, as it may be large.
            return None
        try:
            return self._infer.start(data, context)
        except NotHereError:
            return None


def _asked(data: Serialized) -> tuple[str, str] | None:
    """The model and version that a message is for, if it begins with them, as nearly all do. Only a hint: they may be
    said once more further on.
    """
    name = _text(data, 0, _NAME)
    if name is None:
        return None
    version = _text(data, 2 + len(name), _VERSION) or b""
    try:
        return name.decode(), version.decode()
    except UnicodeDecodeError:
        return None


def _text(data: Serialized, at: int, tag: int) -> bytes | None:
    if len(data) < at + 2 or data[at] != tag or data[at + 1] >= _LONG:
        return None
    return bytes(data[at + 2 : at + 2 + data[at + 1]])
