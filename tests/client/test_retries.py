"""Requests that are refused and sent again: by real servers, and how long is waited for what."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from kserve_v2.client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InvalidArgumentError,
    RequestCancelledError,
    UnavailableError,
)
from kserve_v2.client.errors import InvitedError
from kserve_v2.client.exchange import Pause
from kserve_v2.client.retries import Retries
from tests.client.conftest import make_client
from tests.client.scripted import Scripted
from tests.conftest import RunningServer
from tests.integration.support import blocked, executed_tags, new_tag, pending, wait_until


@pytest.mark.parametrize(
    ("after_s", "before", "left_s", "pause_s"),
    [
        (1, 0, None, 1.125),
        (1, 2, None, 1.125),
        (0, 0, None, 0.1125),
        (0, 1, None, 0.225),
        (0, 2, None, 0.45),
        (1, 3, None, None),
        (1, 0, 60, 1.125),
        (1, 0, 1.125, None),
        (30, 0, 10, None),
    ],
)
def test_how_long_is_waited(after_s: float, before: int, left_s: float | None, pause_s: float | None) -> None:
    refused = InvitedError(UnavailableError("not now"), after_s)
    found = Retries(3, lambda: 0.5).pause_s(refused, before, left_s)
    assert found == (pause_s if pause_s is None else pytest.approx(pause_s))


@pytest.mark.slow
def test_what_a_model_refuses_is_sent_again(server: RunningServer, kind: str) -> None:
    client = make_client(server, kind)
    assert client.infer("refuses", key=kind, times=1)["asked"].tolist() == [2]
    client.close()


def test_what_is_refused_for_good_is_told(server: RunningServer, kind: str) -> None:
    client = make_client(server, kind, retries=0)
    with pytest.raises(UnavailableError, match="not now"):
        client.infer("refuses", key=f"{kind}, once", times=1)
    client.close()


@pytest.mark.slow
def test_a_full_queue(server: RunningServer, kind: str) -> None:
    client = make_client(server, kind, retries=30)
    tags = [new_tag() for _ in range(2)]
    with blocked(server, "gated_short_queue") as release, make_client(server, "rest", retries=0) as other:
        waiting = _in_thread(lambda: other.infer("gated_short_queue", PORT=[[0]], TAG=[[tags[0]]]))
        wait_until(lambda: pending(server, "gated_short_queue") == 1)
        with (
            pytest.raises(UnavailableError, match="Exceeds maximum queue size"),
            make_client(server, kind.removesuffix("-async"), retries=0) as impatient,
        ):
            impatient.infer("gated_short_queue", PORT=[[0]], TAG=[[new_tag()]])
        refused = _in_thread(lambda: client.infer("gated_short_queue", PORT=[[0]], TAG=[[tags[1]]]))
        release()
        waiting()
        refused()
    client.close()
    # Each once.
    executed = executed_tags(server, "gated_short_queue")
    assert [executed.count(tag) for tag in tags] == [1, 1]


def _in_thread(do: Callable[[], Any]) -> Callable[[], Any]:
    """Begin; what is returned waits for the end."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    pool = ThreadPoolExecutor(1)
    outcome = pool.submit(do)
    pool.shutdown(wait=False)
    return lambda: outcome.result(60)


METADATA = {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}], "outputs": []}


@pytest.fixture
def refusing(scripted: Scripted) -> Scripted:
    scripted.answer("/v2", {"extensions": []})
    scripted.answer("/v2/models/m", METADATA)
    return scripted


def steps_of(client: Client, **options: Any) -> tuple[list[float], Any]:
    """The pauses of one request, which are not waited for, and what comes of it."""
    pauses: list[float] = []
    done = client._do

    def do(step: Any, headers: dict[str, str], deadline: Any) -> Any:
        if isinstance(step, Pause):
            pauses.append(step.seconds)
            return None
        return done(step, headers, deadline)

    client._do = do  # type: ignore[method-assign]
    try:
        return pauses, client.infer("m", x=1, **options)
    except UnavailableError as error:
        return pauses, error


def test_as_often_and_as_late_as_is_said(refusing: Scripted) -> None:
    refusing.answer("/v2/models/m/infer", {"error": "loading"}, status=503, retry_after="5")
    with Client(refusing.url, timeout=None, retries=2) as client:
        pauses, outcome = steps_of(client)
    assert refusing.paths().count("/v2/models/m/infer") == 3
    assert [5 <= pause <= 6.25 for pause in pauses] == [True, True]
    assert outcome.message == "loading"


@pytest.mark.parametrize(
    "headers", [{}, {"retry_after": "Fri, 31 Dec 1999 23:59:59 GMT"}, {"retry_after": "-1"}]
)
def test_who_does_not_say_when_is_not_asked_again(refusing: Scripted, headers: dict[str, str]) -> None:
    refusing.answer("/v2/models/m/infer", {"error": "the process was killed"}, status=503, **headers)
    with Client(refusing.url) as client:
        pauses, outcome = steps_of(client)
    assert (pauses, outcome.message) == ([], "the process was killed")
    assert refusing.paths().count("/v2/models/m/infer") == 1


def test_control_calls_are_sent_once(refusing: Scripted) -> None:
    path = "/v2/repository/models/m/load"
    refusing.answer(path, {"error": "not explicit"}, status=503, retry_after="0")
    with Client(refusing.url) as client, pytest.raises(UnavailableError, match="not explicit"):
        client.load("m")
    assert refusing.paths() == [path]


def test_a_client_that_is_closed_waits_no_longer(refusing: Scripted) -> None:
    refusing.answer("/v2/models/m/infer", {"error": "later"}, status=503, retry_after="3000")
    client = Client(refusing.url, timeout=None)
    waiting = _in_thread(lambda: client.infer("m", x=1))
    wait_until(lambda: "/v2/models/m/infer" in refusing.paths())
    client.close()
    with pytest.raises(RequestCancelledError, match="the client is closed"):
        waiting()


# --- models that change -------------------------------------------------------------------------------------------


def tensor(datatype: str) -> dict[str, Any]:
    return {"name": "m", "inputs": [{"name": "x", "datatype": datatype, "shape": [1]}], "outputs": []}


def test_what_is_known_of_a_model_is_read_again_when_the_server_refuses(scripted: Scripted) -> None:
    scripted.answer("/v2", {"extensions": []})
    scripted.answer("/v2/models/m", tensor("FP32"), tensor("INT32"))
    scripted.answer("/v2/models/m/infer", {"model_version": "1"})
    with Client(scripted.url) as client:
        client.infer("m", x=1)
        scripted.answers["/v2/models/m/infer"].clear()
        scripted.answer("/v2/models/m/infer", {"error": "unexpected datatype"}, status=400)
        scripted.answer("/v2/models/m/infer", {"model_version": "1"})
        client.infer("m", x=1)
        sent = [
            asked.json["inputs"][0]["datatype"] for asked in scripted.asked if asked.path.endswith("infer")
        ]
        assert sent == ["FP32", "FP32", "INT32"]
        # It is what it was: the refusal is the outcome.
        scripted.answers["/v2/models/m/infer"].clear()
        scripted.answer("/v2/models/m/infer", {"error": "it is the value"}, status=400)
        asked = len(scripted.asked)
        with pytest.raises(InvalidArgumentError, match="it is the value"):
            client.infer("m", x=1)
        assert scripted.paths()[asked:] == ["/v2/models/m/infer", "/v2/models/m"]


def test_and_when_a_value_does_not_fit_any_more(scripted: Scripted) -> None:
    scripted.answer("/v2", {"extensions": []})
    scripted.answer("/v2/models/m", tensor("INT32"), tensor("FP32"))
    scripted.answer("/v2/models/m/infer", {"model_version": "1"})
    with Client(scripted.url) as client:
        client.infer("m", x=1)
        client.infer("m", x=1.5)
        with pytest.raises(InvalidArgumentError, match="takes FP32, got 'a'"):
            client.infer("m", x="a")
    assert scripted.paths().count("/v2/models/m") == 3


def test_and_when_another_version_answers_for_the_first_time(scripted: Scripted) -> None:
    scripted.answer("/v2", {"extensions": []})
    scripted.answer("/v2/models/m", tensor("INT32"))
    versions = ["1", "1", "2", "1", "2", "1", "2", "3", "3"]
    scripted.answer("/v2/models/m/infer", *({"model_version": version} for version in versions))
    read = []
    with Client(scripted.url) as client:
        for _ in versions:
            client.infer("m", x=1)
            read.append(scripted.paths().count("/v2/models/m"))
    assert read == [1, 1, 1, 2, 2, 2, 2, 2, 3]


@pytest.mark.slow
def test_a_model_that_is_loaded_with_other_tensors(server: RunningServer, kind: str) -> None:
    client = make_client(server, kind)
    config = {"max_batch_size": 2, "backend": "python"}
    tensors = {"data_type": "TYPE_FP64", "dims": [2]}
    code = "class Model:\n    def __call__(self, inputs):\n        return {'OUT': inputs['IN']}\n"

    def load(datatype: str, dims: list[int]) -> None:
        tensors.update(data_type=datatype, dims=dims)
        whole = {**config, "input": [{"name": "IN", **tensors}], "output": [{"name": "OUT", **tensors}]}
        client.load("changing", config=whole, files={"1/model.py": code.encode()})

    load("TYPE_FP64", [2])
    assert client.infer("changing", IN=[1, 2])["OUT"].dtype == np.float64
    load("TYPE_INT16", [3])
    assert client.infer("changing", IN=[1, 2, 3])["OUT"].dtype == np.int16
    client.unload("changing")
    client.close()


def test_what_is_asked_on_the_way_is_asked_again_too(scripted: Scripted) -> None:
    for path, content in (
        ("/v2", {"extensions": []}),
        ("/v2/models/m", METADATA),
        ("/v2/models/m/infer", {"model_version": "1"}),
    ):
        scripted.answer(path, {"error": "loading"}, status=503, retry_after="1")
        scripted.answer(path, content)
    with Client(scripted.url) as client:
        pauses, outcome = steps_of(client)
    assert (len(pauses), outcome.model_version) == (3, "1")
    assert scripted.paths() == [
        path for path in ("/v2/models/m", "/v2", "/v2/models/m/infer") for _ in range(2)
    ]


def test_a_time_without_an_end(scripted: Scripted) -> None:
    scripted.answer("/v2/health/live", {})
    with Client(scripted.url, timeout=float("inf")) as client:
        assert client.live()
        assert client.live(timeout=None)


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1500\r\n"


def _drip(listener: socket.socket, start: bytes, piece: bytes, end: threading.Event) -> None:
    """Answer one request, in pieces each of which comes soon enough, for a minute at the most."""
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        connection.recv(65536)
        connection.sendall(start)
        for _ in range(1498):
            connection.sendall(piece)
            if end.wait(0.04):
                return
        connection.sendall(b"\r\n")


async def _ask_async(port: int) -> None:
    async with AsyncClient(f"http://127.0.0.1:{port}", timeout=0.3) as client:
        await client.metadata("m")


def _ask(port: int) -> None:
    with Client(f"http://127.0.0.1:{port}", timeout=0.3) as client:
        client.metadata("m")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "piece"), [(_HEAD + b"\r\n", b" "), (_HEAD, b"x: y\r\n")], ids=["body", "head"]
)
@pytest.mark.parametrize("ask", [_ask, lambda port: asyncio.run(_ask_async(port))], ids=["sync", "async"])
def test_an_answer_in_many_pieces_has_one_time_for_all(
    start: bytes, piece: bytes, ask: Callable[[int], None]
) -> None:
    end = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=_drip, args=(listener, start, piece, end))
        serving.start()
        try:
            with pytest.raises(DeadlineExceededError, match=r"has not answered within 0\.3 s"):
                ask(listener.getsockname()[1])
        finally:
            end.set()
            serving.join()
