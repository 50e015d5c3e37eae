"""Requests over REST: good ones, wrong ones, and those whose client leaves."""

import json
import random
from typing import Any

import numpy as np

from tests.soak.http1 import Connection, post
from tests.soak.ledger import Ledger

ENDLESS = 2**31 - 1
_INFER = "/v2/models/tagged/infer"


def values(tag: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What a request with this tag sends; its answer has the double."""
    return np.array([[tag % 4096, 0.25, -tag % 4096, 1]], np.float32)


def operands(tag: int) -> list[tuple[str, str, np.ndarray[Any, Any]]]:
    """The inputs of a request to `add_sub`."""
    first = np.arange(tag, tag + 16, dtype=np.int32)[None]
    return [("INPUT0", "INT32", first), ("INPUT1", "INT32", first[:, ::-1] * 3)]


def results(tag: int) -> bytes:
    """Sum and difference of the operands."""
    (*_, first), (*_, second) = operands(tag)
    return (first + second).tobytes() + (first - second).tobytes()


def bulk(tag: int, chance: random.Random) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A tensor of 64 KiB to 2 MiB, which no other tag has."""
    return np.arange(tag % 65536, tag % 65536 + chance.randrange(2**14, 2**19), dtype=np.float32)


def infer_object(tag: int) -> dict[str, Any]:
    """The JSON of a request to `tagged` or `moody`."""
    return {
        "id": str(tag),
        "inputs": [
            {"name": "TAG", "datatype": "INT64", "shape": [1, 1], "data": [tag]},
            {"name": "X", "datatype": "FP32", "shape": [1, 4], "data": values(tag).ravel().tolist()},
        ],
    }


def json_request(model: str, tag: int) -> bytes:
    """A request in JSON."""
    return post(f"/v2/models/{model}/infer", json.dumps(infer_object(tag)).encode())


def binary_request(tag: int) -> bytes:
    """A request whose tensors are binary, in both directions."""
    return binary("tagged", [("TAG", "INT64", np.array([[tag]])), ("X", "FP32", values(tag))])


def binary(model: str, tensors: list[tuple[str, str, np.ndarray[Any, Any]]]) -> bytes:
    """Any request with binary tensors, in both directions."""
    head = json.dumps({
        "inputs": [
            {"name": name, "datatype": datatype, "shape": list(array.shape),
             "parameters": {"binary_data_size": array.nbytes}}
            for name, datatype, array in tensors
        ],
        "parameters": {"binary_data_output": True},
    }).encode()  # fmt: skip
    body = head + b"".join(array.tobytes() for *_, array in tensors)
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return post(f"/v2/models/{model}/infer", body, headers)


def _wrong_requests() -> list[tuple[bytes, int]]:
    """Requests that no model sees, and their status."""
    whole = infer_object(0)
    wrong_shape = {"inputs": [{**whole["inputs"][0], "shape": [1, 2]}, whole["inputs"][1]]}
    wrong_type = {"inputs": [{**whole["inputs"][0], "datatype": "INT32"}, whole["inputs"][1]]}
    return [
        (post(_INFER, b'{"inputs":['), 400),
        (post(_INFER, b"[]"), 400),
        (post(_INFER, json.dumps(wrong_shape).encode()), 400),
        (post(_INFER, json.dumps(wrong_type).encode()), 400),
        (post(_INFER, json.dumps({"inputs": whole["inputs"][:1]}).encode()), 400),
        (post("/v2/models/nosuch/infer", json.dumps(whole).encode()), 404),
        (post("/v2/models/tagged/versions/9/infer", json.dumps(whole).encode()), 404),
        (post(_INFER, json.dumps(whole).encode(), {"Inference-Header-Content-Length": "9999"}), 400),
        (post(_INFER, b"no gzip", {"Content-Encoding": "gzip"}), 400),
        (post(_INFER, b"x", {"Content-Encoding": "br"}), 501),
    ]


WRONG_REQUESTS = _wrong_requests()
BROKEN_HTTP = [
    b"nonsense\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\r\n\r\n",
]


class RestTraffic:
    """One client: a connection that is kept, and others for those who leave."""

    def __init__(self, address: str, ledger: Ledger, chance: random.Random) -> None:
        self._address = address
        self._ledger = ledger
        self._chance = chance
        self._kept: Connection | None = None

    async def _connection(self) -> Connection:
        if self._kept is None:
            self._kept = await Connection.open(self._address)
        return self._kept

    async def close(self) -> None:
        """Close what was kept."""
        if self._kept is not None:
            await self._kept.close()

    def _check_json(self, tag: int, answer: tuple[int, dict[str, str], bytes], model: str) -> None:
        status, _, body = answer
        expected = {"TAG": [tag], "Y": (2 * values(tag)).ravel().tolist()}
        found = json.loads(body)
        got = {each["name"]: each["data"] for each in found.get("outputs", ())}
        right = status == 200 and found["id"] == str(tag) and got == expected
        self._ledger.expect(right, f"{model} {tag}: {status} {body!r}")
        self._ledger.account(model).answered += right

    async def json(self, tag: int) -> None:
        """A request in JSON."""
        connection = await self._connection()
        await connection.send(json_request("tagged", tag))
        self._check_json(tag, await connection.answer(), "tagged")

    async def binary(self, tag: int) -> None:
        """A request with binary tensors."""
        connection = await self._connection()
        await connection.send(binary_request(tag))
        status, headers, body = await connection.answer()
        data = np.array([[tag]]).tobytes() + (2 * values(tag)).tobytes()
        right = status == 200 and body[int(headers.get("inference-header-content-length", 0)) :] == data
        self._ledger.expect(right, f"binary {tag}: {status} {body!r}")
        self._ledger.account("tagged").answered += right

    async def pipelined(self, tag: int) -> None:
        """A good request, a wrong one and a good one in one write. The tags are the model's that forgets them."""
        connection = await self._connection()
        even = 2 * tag
        wrong, expected = self._chance.choice(WRONG_REQUESTS)
        await connection.send(json_request("moody", even) + wrong + json_request("moody", even + 2))
        self._check_json(even, await connection.answer(), "moody")
        status, _, body = await connection.answer()
        self._ledger.expect(status == expected, f"{wrong!r}: {status} {body!r}, expected {expected}")
        self._check_json(even + 2, await connection.answer(), "moody")

    async def moody(self, tag: int) -> None:
        """A request that fails if the tag is odd."""
        connection = await self._connection()
        await connection.send(json_request("moody", tag))
        answer = await connection.answer()
        if tag % 2 == 0:
            self._check_json(tag, answer, "moody")
            return
        right = answer[0] == 400 and json.loads(answer[2]) == {"error": "an odd tag"}
        self._ledger.expect(right, f"moody {tag}: {answer}")
        self._ledger.account("moody").failed += right

    async def wrong(self, tag: int) -> None:
        """A request that is refused; the connection stays."""
        connection = await self._connection()
        request, expected = self._chance.choice(WRONG_REQUESTS)
        await connection.send(request)
        status, _, body = await connection.answer()
        right = status == expected and isinstance(json.loads(body)["error"], str)
        self._ledger.expect(right, f"{request!r}: {status} {body!r}, expected {expected}")

    async def broken(self, tag: int) -> None:
        """What is no HTTP; the server closes the connection."""
        connection = await Connection.open(self._address)
        await connection.send(self._chance.choice(BROKEN_HTTP))
        status, _, body = await connection.answer()
        self._ledger.expect(status == 400, f"broken HTTP: {status} {body!r}")
        await connection.close()

    async def part(self, tag: int) -> None:
        """The beginning of a request, and no more."""
        request = json_request("tagged", tag)
        connection = await Connection.open(self._address)
        await connection.send(request[: self._chance.randrange(1, len(request))])
        await (connection.close if self._chance.random() < 0.5 else connection.abort)()

    async def leave(self, tag: int) -> None:
        """A whole request; its answer is not waited for."""
        connection = await Connection.open(self._address)
        await connection.send(json_request("tagged", tag))
        if self._chance.random() < 0.5:
            self._ledger.account("tagged").left += 1
            await connection.close()
        else:
            self._ledger.account("tagged").unsure += 1
            await connection.abort()

    async def add(self, tag: int) -> None:
        """A request that the server may execute in place."""
        connection = await self._connection()
        await connection.send(binary("add_sub", operands(tag)))
        status, headers, body = await connection.answer()
        right = status == 200 and body[int(headers.get("inference-header-content-length", 0)) :] == results(
            tag
        )
        self._ledger.expect(right, f"add_sub {tag}: {status} {body!r}")
        self._ledger.account("add_sub").answered += right

    async def leave_add(self, tag: int) -> None:
        """Two such requests in one write; their answers are not waited for."""
        connection = await Connection.open(self._address)
        await connection.send(2 * binary("add_sub", operands(tag)))
        # The second one is read only if the connection is still there when the first one is answered.
        self._ledger.account("add_sub").unsure += 1
        self._ledger.account("add_sub").left += 1
        await connection.close()

    async def bulk(self, tag: int) -> None:
        """A large tensor there and back."""
        connection = await self._connection()
        array = bulk(tag, self._chance)
        await connection.send(binary("bulk", [("X", "FP32", array)]))
        status, headers, body = await connection.answer()
        data = memoryview(body)[int(headers.get("inference-header-content-length", 0)) :]
        right = status == 200 and data == array.tobytes()
        self._ledger.expect(right, f"bulk {tag}: {status}, {len(body)} bytes")
        self._ledger.account("bulk").answered += right

    async def leave_bulk(self, tag: int) -> None:
        """A large tensor, whose answer is read in part."""
        connection = await Connection.open(self._address)
        await connection.send(binary("bulk", [("X", "FP32", bulk(tag, self._chance))]))
        status, _ = await connection.head()
        self._ledger.expect(status == 200, f"bulk {tag}: {status}")
        self._ledger.account("bulk").answered += 1
        await connection.abort()

    def _generate(self, tag: int, number: int) -> bytes:
        return post("/v2/models/count/generate_stream", json.dumps({"TAG": tag, "N": number}).encode())

    async def generate(self, tag: int) -> None:
        """A stream of server-sent events, to its end."""
        connection = await self._connection()
        number = self._chance.randrange(1, 12)
        await connection.send(self._generate(tag, number))
        status, _ = await connection.head()
        found = [(event["TAG"], event["I"]) async for event in connection.events()]
        right = status == 200 and found == [(tag, index) for index in range(number)]
        self._ledger.expect(right, f"generate_stream {tag}: {status} {found}")
        self._ledger.account("count").answered += right

    async def leave_generate(self, tag: int) -> None:
        """A stream without end, which is left after some events."""
        connection = await Connection.open(self._address)
        await connection.send(self._generate(tag, ENDLESS))
        await connection.head()
        wanted = self._chance.randrange(1, 5)
        async for event in connection.events():
            wanted -= 1
            self._ledger.expect(event["TAG"] == tag, f"generate_stream {tag}: {event}")
            if not wanted:
                break
        self._ledger.account("count").left += 1
        await (connection.close if self._chance.random() < 0.5 else connection.abort)()
