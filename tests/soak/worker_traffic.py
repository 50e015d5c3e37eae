"""Requests to a server whose workers may be killed at any time: each is answered, by its own answer, or its connection
breaks with the process at its other end. Nothing else may happen to any of them.
"""

import asyncio
import json
import random
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from grpc import StatusCode, aio

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.soak.grpc_traffic import count, message, stream_of, tag_and_number, tagged, unary_of
from tests.soak.http1 import Connection, post
from tests.soak.ledger import Ledger
from tests.soak.rest_traffic import binary, infer_object, operands, results, values
from tests.soak.worker_models import REPLICATED

# Far longer than any answer takes: who waits so long has been forgotten.
WAIT_SECONDS = 120

_STEPS = 4

# What a broken connection looks like.
_BROKEN = (ConnectionError, asyncio.IncompleteReadError)


@dataclass
class Kills:
    """When workers were killed; and how many answers of copies of models may not have been counted because of that: a
    worker tells its counts every second.
    """

    lost_s: float
    times: list[float] = field(default_factory=list)
    uncounted: Counter[str] = field(default_factory=Counter)
    _departed: list[tuple[float, str]] = field(default_factory=list)

    def departed(self, answers: Sequence[tuple[float, str]]) -> None:
        """A client has left a connection that was whole: whether its process is killed soon, nobody sees there."""
        self._departed.extend(answers)

    def settle(self) -> None:
        """All kills are known."""
        for when, model in self._departed:
            place = bisect_left(self.times, when)
            self.uncounted[model] += place < len(self.times) and self.times[place] <= when + self.lost_s
        self._departed.clear()

    def uncounted_of(self, answers: Sequence[tuple[float, str]]) -> None:
        """A connection is broken over which copies have given these answers lately, or the home has."""
        if not (answers and self.times):
            return
        last = answers[-1][0]
        killed = next((each for each in self.times if each >= last), self.times[-1])
        self.uncounted.update(model for when, model in answers if when >= killed - self.lost_s)


class _Answers:
    """Those of copies that have come over one connection of late."""

    def __init__(self, kills: Kills) -> None:
        self._kills = kills
        self._times: deque[tuple[float, str]] = deque()

    def came(self, model: str) -> None:
        if model not in REPLICATED:
            return
        now = time.monotonic()
        self._times.append((now, model))
        # Those before the last kill but one are of no interest any more, nor are very old ones.
        while self._times and self._times[0][0] < now - self._kills.lost_s - WAIT_SECONDS:
            self._times.popleft()

    def left(self) -> None:
        self._kills.departed(self._times)
        self._times.clear()

    def broken(self) -> None:
        self._kills.uncounted_of(self._times)
        self._times.clear()


class WorkerTraffic:
    """One client, with a connection of each protocol."""

    def __init__(self, rest: str, grpc: str, ledger: Ledger, kills: Kills, chance: random.Random) -> None:
        self._rest = rest
        self._ledger = ledger
        self._kills = kills
        self._chance = chance
        self._kept: Connection | None = None
        self._grpc = grpc
        self._rest_answers, self._grpc_answers = _Answers(kills), _Answers(kills)
        self._open_channel()

    def _open_channel(self) -> None:
        self._channel = aio.insecure_channel(self._grpc, [("grpc.use_local_subchannel_pool", 1)])
        self._infer = unary_of(self._channel)
        self._stream = stream_of(self._channel)

    async def leave(self) -> None:
        """Close both connections; others are opened when they are needed. A worker that has taken the place of one that
        was killed gets no others than new ones.
        """
        await self.close()
        self._kept = None
        self._open_channel()

    async def close(self) -> None:
        """Say goodbye."""
        self._rest_answers.left()
        self._grpc_answers.left()
        if self._kept is not None:
            await self._kept.close()
        await self._channel.close()

    # --- what may break ---------------------------------------------------------------------------------------------

    async def _over_rest(self, model: str, ask: Callable[[Connection], Awaitable[bool]]) -> bool:
        """Ask over the connection that is kept. Returns whether there is an answer, and it is right."""
        if self._kept is None:
            self._kept = await Connection.open(self._rest)
        try:
            right = await ask(self._kept)
        except _BROKEN as error:
            self._is_broken(model, repr(error))
            self._rest_answers.broken()
            await self._kept.close()
            self._kept = None
            return False
        return self._answered(model, self._rest_answers, right=right)

    async def _over_grpc(self, model: str, ask: Callable[[], Awaitable[bool]]) -> bool:
        try:
            right = await ask()
        except aio.AioRpcError as error:
            text = f"{error.code()} {error.details()}"
            if error.code() is not StatusCode.UNAVAILABLE:
                self._ledger.expect(False, f"gRPC {model}: {text}")
            self._is_broken(model, text)
            self._grpc_answers.broken()
            return False
        return self._answered(model, self._grpc_answers, right=right)

    def _is_broken(self, model: str, text: str) -> None:
        self._ledger.kinds["broken connections"] += 1
        self._ledger.account(model).unsure += 1
        self._ledger.expect(bool(self._kills.times), f"{model}: {text}, and nobody was killed")

    def _answered(self, model: str, answers: _Answers, *, right: bool) -> bool:
        self._ledger.account(model).answered += right
        if right:
            answers.came(model)
        return right

    def _refused(self, model: str) -> None:
        """The model has refused, as it should: that is counted as a failure."""
        account = self._ledger.account(model)
        account.answered -= 1
        account.failed += 1

    # --- REST -------------------------------------------------------------------------------------------------------

    async def _post(self, connection: Connection, model: str, body: Any) -> tuple[int, Any]:
        await connection.send(post(f"/v2/models/{model}/infer", json.dumps(body).encode()))
        status, _, answer = await connection.answer()
        return status, json.loads(answer)

    async def rest_shared(self, tag: int) -> None:
        """A copy of a handler, which refuses odd tags, in JSON."""
        await self._rest_tagged("shared", tag)

    async def rest_single(self, tag: int) -> None:
        """A model that one process has, in JSON."""
        await self._rest_tagged("tagged", tag)

    async def _rest_tagged(self, model: str, tag: int) -> None:
        refused = model == "shared" and tag % 2 == 1

        async def ask(connection: Connection) -> bool:
            status, found = await self._post(connection, model, infer_object(tag))
            if refused:
                right = (status, found) == (400, {"error": "an odd tag"})
            else:
                got = {each["name"]: each["data"] for each in found.get("outputs", ())}
                right = (status, found.get("id")) == (200, str(tag)) and got == {
                    "TAG": [tag], "Y": (2 * values(tag)).ravel().tolist(),
                }  # fmt: skip
            self._ledger.expect(right, f"REST {model} {tag}: {status} {found}")
            return right

        if await self._over_rest(model, ask) and refused:
            self._refused(model)

    async def rest_add(self, tag: int) -> None:
        """A copy of an ONNX model, with binary tensors."""

        async def ask(connection: Connection) -> bool:
            await connection.send(binary("add_sub", operands(tag)))
            status, headers, body = await connection.answer()
            data = body[int(headers.get("inference-header-content-length", 0)) :]
            right = status == 200 and data == results(tag)
            self._ledger.expect(right, f"REST add_sub {tag}: {status} {body!r}")
            return right

        await self._over_rest("add_sub", ask)

    async def rest_stream(self, tag: int) -> None:
        """Server-sent events."""
        number = self._chance.randrange(1, 12)

        async def ask(connection: Connection) -> bool:
            body = json.dumps({"TAG": tag, "N": number}).encode()
            await connection.send(post("/v2/models/count/generate_stream", body))
            status, _ = await connection.head()
            found = [(event["TAG"], event["I"]) async for event in connection.events()]
            right = status == 200 and found == [(tag, index) for index in range(number)]
            self._ledger.expect(right, f"REST count {tag}: {status} {found}")
            return right

        await self._over_rest("count", ask)

    async def rest_sequence(self, tag: int) -> None:
        """Steps of one sequence, as far as the connection lasts."""
        for step in range(_STEPS):
            flags = {
                "sequence_id": tag + 1, "sequence_start": step == 0, "sequence_end": step == _STEPS - 1,
            }  # fmt: skip
            tensor = {"name": "X", "datatype": "INT64", "shape": [1, 1], "data": [tag + step]}
            body = {"inputs": [tensor], "parameters": flags}
            expected = sum(tag + each for each in range(step + 1))

            async def ask(connection: Connection, body: Any = body, expected: int = expected) -> bool:
                status, found = await self._post(connection, "sums", body)
                right = status == 200 and found["outputs"][0]["data"] == [expected]
                self._ledger.expect(right, f"REST sums {tag}: {status} {found}, expected {expected}")
                return right

            if not await self._over_rest("sums", ask):
                return

    # --- gRPC -------------------------------------------------------------------------------------------------------

    async def grpc_shared(self, tag: int) -> None:
        """A copy of a handler."""
        await self._grpc_tagged("shared", 2 * tag)

    async def grpc_single(self, tag: int) -> None:
        """A model that one process has."""
        await self._grpc_tagged("tagged", tag)

    async def _grpc_tagged(self, model: str, tag: int) -> None:
        async def ask() -> bool:
            answer = await self._infer(tagged(model, tag), timeout=WAIT_SECONDS)
            expected = [np.array([[tag]]).tobytes(), (2 * values(tag)).tobytes()]
            right = list(answer.raw_output_contents) == expected
            self._ledger.expect(right, f"gRPC {model} {tag}: {answer}")
            return right

        await self._over_grpc(model, ask)

    async def grpc_add(self, tag: int) -> None:
        """A copy of an ONNX model."""

        async def ask() -> bool:
            answer = await self._infer(message("add_sub", *operands(tag)), timeout=WAIT_SECONDS)
            right = b"".join(answer.raw_output_contents) == results(tag)
            self._ledger.expect(right, f"gRPC add_sub {tag}: {answer}")
            return right

        await self._over_grpc("add_sub", ask)

    async def grpc_stream(self, tag: int) -> None:
        """One request, and some answers."""
        number = self._chance.randrange(1, 8)

        async def ask() -> bool:
            answers = self._stream([count(tag, number)], timeout=WAIT_SECONDS)
            found = [tag_and_number(each) async for each in answers]
            right = found == [(tag, index) for index in range(number)]
            self._ledger.expect(right, f"gRPC count {tag}: {found}")
            return right

        await self._over_grpc("count", ask)

    async def grpc_sequence(self, tag: int) -> None:
        """Steps of one sequence, as far as the connection lasts."""
        for step in range(_STEPS):
            request = message("sums", ("X", "INT64", np.array([[tag + step]])))
            # No other client's: those over REST have positive ones.
            request.parameters["sequence_id"].string_param = f"grpc {tag}"
            request.parameters["sequence_start"].bool_param = step == 0
            request.parameters["sequence_end"].bool_param = step == _STEPS - 1
            expected = sum(tag + each for each in range(step + 1))

            async def ask(request: pb.ModelInferRequest = request, expected: int = expected) -> bool:
                answer = await self._infer(request, timeout=WAIT_SECONDS)
                right = answer.raw_output_contents[0] == np.array([[expected]]).tobytes()
                self._ledger.expect(right, f"gRPC sums {tag}: {answer}, expected {expected}")
                return right

            if not await self._over_grpc("sums", ask):
                return
