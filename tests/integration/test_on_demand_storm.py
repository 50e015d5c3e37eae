"""Models that are unloaded again and again while requests come: each request is answered by its model all the same."""

import asyncio
import random
from collections.abc import AsyncIterator

import grpc.aio
import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.grpc_requests import SERVICE, request_of, tensor
from tests.integration.handlers import versioned
from tests.integration.lifecycle_requests import ASK
from tests.integration.support import metric

pytestmark = pytest.mark.slow

MODELS = 6
REQUESTS = 240
CLIENTS = 8


@pytest.fixture(scope="module")
def on_demand(start_explicit: StartExplicit) -> ExplicitServer:
    started = start_explicit("--model-control-mode=on-demand")
    for number in range(MODELS):
        started.write(f"storm_{number}", versioned(number))
    return started


class Clients:
    """Ask, over REST and gRPC. What an unload ends while it is being loaded may be tried again, and is."""

    def __init__(self, rest: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
        self._rest = rest
        self._infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )

    async def by_rest(self, number: int) -> int:
        response = await self._rest.post(f"/v2/models/storm_{number}/infer", json=ASK)
        if response.status_code == 503 and "unloaded meanwhile" in response.text:
            return await self.by_rest(number)
        assert response.status_code == 200, response.text
        return int(response.json()["outputs"][0]["data"][0])

    async def by_chunks(self, number: int) -> int:
        async def content() -> AsyncIterator[bytes]:
            yield b'{"inputs":[{"name":"IN","datatype":"INT32","shape":[1],"data":[0]}]}'

        response = await self._rest.post(f"/v2/models/storm_{number}/infer", content=content())
        if response.status_code == 503 and "unloaded meanwhile" in response.text:
            return await self.by_chunks(number)
        assert response.status_code == 200, response.text
        return int(response.json()["outputs"][0]["data"][0])

    async def by_grpc(self, number: int) -> int:
        request = request_of(f"storm_{number}", tensor("IN", "INT32", [1], int_contents=[0]))
        try:
            answer = await self._infer(request, timeout=60)
        except grpc.aio.AioRpcError as error:
            assert "unloaded meanwhile" in (error.details() or ""), error
            return await self.by_grpc(number)
        return int.from_bytes(answer.raw_output_contents[0], "little")


def test_unloads_at_any_time(on_demand: ExplicitServer) -> None:
    chance = random.Random(15)  # noqa: S311 - nothing is to be kept secret

    async def ask(clients: Clients, done: list[int]) -> None:
        for _ in range(REQUESTS // CLIENTS):
            number = chance.randrange(MODELS)
            way = chance.choice([clients.by_rest, clients.by_chunks, clients.by_grpc])
            assert await way(number) == number
            done.append(number)

    async def unload(rest: httpx.AsyncClient, done: list[int]) -> int:
        unloads = 0
        while len(done) < REQUESTS // CLIENTS * CLIENTS:
            response = await rest.post(f"/v2/repository/models/storm_{chance.randrange(MODELS)}/unload")
            assert response.status_code == 200
            unloads += 1
        return unloads

    async def main() -> None:
        done: list[int] = []
        async with (
            httpx.AsyncClient(base_url=on_demand.server.rest, timeout=60) as rest,
            grpc.aio.insecure_channel(on_demand.server.grpc) as channel,
        ):
            clients = Clients(rest, channel)
            async with asyncio.TaskGroup() as group:
                unloading = group.create_task(unload(rest, done))
                for _ in range(CLIENTS):
                    group.create_task(ask(clients, done))
            assert unloading.result() > 0

    asyncio.run(main())
    assert metric(on_demand.server, "kserve_v2_inflight_bytes") == 0
    assert on_demand.server.get("/v2/health/ready").status_code == 200
    assert "Traceback" not in on_demand.server.log
