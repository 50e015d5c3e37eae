"""A stream whose work waits for something that is cancelled, while nobody has cancelled the stream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.rpc.stream import ModelStreamInfer
from kserve_v2.server import Server
from kserve_v2.settings.settings import Settings
from tests.conftest import WriteModel

DOUBLE = """
class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"OUT": ("FP32", [1])}
    def __call__(self, inputs):
        return {"OUT": inputs["IN"] * 2}
"""


class Call:
    """What an RPC knows of its call."""

    metadata = ()

    def on_end(self, callback: Callable[[int, str], None]) -> None:
        """See `Context`."""


def request(name: str) -> bytes:
    tensor = pb.ModelInferRequest.InferInputTensor(name="IN", datatype="FP32", shape=[1])
    tensor.contents.fp32_contents.append(3)
    return pb.ModelInferRequest(model_name="double", id=name, inputs=[tensor]).SerializeToString()


async def load_under_way() -> "asyncio.Task[object]":
    """The task that loads a model, as soon as there is one."""
    while True:
        for task in asyncio.all_tasks():
            if getattr(task.get_coro(), "__qualname__", "") == "OnDemand._load":
                return task
        await asyncio.sleep(0)


def test_a_load_that_is_cancelled_is_one_request_s_failure(tmp_path: Path, write_model: WriteModel) -> None:
    write_model(tmp_path, "double", DOUBLE)

    async def main() -> None:
        server = Server(Settings(model_repository=(tmp_path,), model_control_mode="on-demand"))
        answered = asyncio.Event()

        async def messages() -> AsyncIterator[bytes]:
            yield request("first")
            await answered.wait()
            yield request("second")

        answers = ModelStreamInfer(server.service).answer(messages(), Call())
        first = asyncio.ensure_future(anext(answers))
        (await load_under_way()).cancel()
        told = pb.ModelStreamInferResponse.FromString(b"".join(await asyncio.wait_for(first, 100)))
        assert (told.infer_response.id, told.error_message) == ("first", "CancelledError")
        answered.set()
        told = pb.ModelStreamInferResponse.FromString(b"".join(await asyncio.wait_for(anext(answers), 100)))
        assert (told.infer_response.id, told.error_message) == ("second", "")
        assert [each async for each in answers] == []
        await server.stop()

    asyncio.run(main())
