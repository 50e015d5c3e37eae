"""What a worker's front ends answer themselves, and what they leave to the home."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError, NotHereError
from kserve_v2.net.answer_text import Parts
from kserve_v2.processes.accepted import Accepted
from kserve_v2.processes.forwarding.lane import ForwardingLane
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.local import LocalInfer, LocalLane
from kserve_v2.processes.replica import ReplicaHost
from kserve_v2.rest.fast_call import FastCall
from kserve_v2.rest.heads import InferHead
from kserve_v2.scheduling.slices import LARGE_BYTES
from tests.processes.replicated import House, house, run
from tests.repository.text_models import write


class Call:
    """Of gRPC."""

    def __init__(self) -> None:
        self.metadata: tuple[tuple[str, str], ...] = ()
        self.ends: list[Callable[[int, str], None]] = []

    def on_end(self, callback: Callable[[int, str], None]) -> None:
        self.ends.append(callback)


def host_of(server: House) -> ReplicaHost:
    host = server.workers[1].host
    assert host is not None
    return host


def head(name: str, body: bytes, version: str = "") -> InferHead:
    return InferHead(b"", len(body), b"", (name, version), {}, 0, True)


def in_region(output: str) -> bytes:
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    return orjson.dumps({"inputs": [], "outputs": [{"name": output, "parameters": parameters}]})


def test_rest(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            await server.manager.load("m")
            lane = LocalLane(host_of(server), 1000)
            body = b'{"inputs": []}'
            assert [lane.has_route(head(*asked)) for asked in (("m", body), ("m", body, "1"), ("m", body, "2"), ("n", body))] == [
                True, True, False, False
            ]  # fmt: skip
            # Regions are the home's.
            with pytest.raises(NotHereError):
                lane.infer(head("m", in_region("text")), in_region("text"))
            answered = lane.infer(head("m", b"{"), b"{")
            assert isinstance(answered, tuple | list)
            assert b"400" in bytes(answered[0])[:20]

    run(main)


def test_a_large_request_over_rest_that_names_what_only_the_home_has(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")
    body = b" " * LARGE_BYTES + in_region("text")
    lines = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            await server.manager.load("m")
            host, accepted = host_of(server), Accepted()
            asked: list[Any] = []
            answers: list[Parts] = []
            link: Any = SimpleNamespace(ask=lambda *asking: asked.append(asking))
            inflight = host.service.inflight
            lane = ForwardingLane(link, 10**7, inflight, accepted, LocalLane(host, 10**7))
            whole = lane.heads.read(lines)
            assert whole is not None
            FastCall(lane, lambda _, parts: answers.append(parts), whole).answer_body(body)
            assert not asked
            # The home counts it as one that was there in time, whatever has happened since.
            accepted.open = False
            await host.service.slicer.idle()
            ((kind, (_, forwarded), party, _),) = asked
            assert (kind, forwarded, inflight.used) == (Kind.REST_INFER_ACCEPTED, body, 0)
            party.answered(b"the home's answer")
            assert answers == [(b"the home's answer",)]

    run(main)


def test_grpc(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            await server.manager.load("m")
            infer = LocalInfer(host_of(server))
            for request in (
                pb.ModelInferRequest(model_name="n"),
                pb.ModelInferRequest(model_name="n" * 200),
                pb.ModelInferRequest(model_name="m", model_version="2"),
                pb.ModelInferRequest(id="no name"),
            ):
                assert infer.start(request.SerializeToString(), Call()) is None
            in_region = pb.ModelInferRequest(model_name="m")
            output = in_region.outputs.add(name="text")
            output.parameters["shared_memory_region"].string_param = "r"
            output.parameters["shared_memory_byte_size"].int64_param = 4
            assert infer.start(in_region.SerializeToString(), Call()) is None
            # What is said of the model further on holds, as the home would have it.
            renamed = pb.ModelInferRequest(model_name="m").SerializeToString()
            renamed += pb.ModelInferRequest(model_name="n").SerializeToString()
            assert infer.start(renamed, Call()) is None
            wrong = pb.ModelInferRequest(model_name="m")
            wrong.inputs.add(name="x", datatype="FP32", shape=[1])
            with pytest.raises(InvalidArgumentError):
                infer.start(wrong.SerializeToString(), Call())

    run(main)
