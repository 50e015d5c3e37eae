"""What Triton's example clients for sequences do, `simple_*_sequence_*`, through tritonclient as it is published.

Each sends three sequences, the ids of two of which are numbers and the third's a text, to the models that it names.
"""

import asyncio
import queue
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio

from tests.conftest import RunningServer, StartServer
from tests.interop.sequence_models import write_sequence_models

pytestmark = pytest.mark.slow

VALUES = [11, 7, 5, 3, 2, 0, 1]
Step = dict[str, Any]
Sums = list[list[int]]


@pytest.fixture(scope="module")
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    root = tmp_path_factory.mktemp("sequences")
    write_sequence_models(root)
    return start_server(root)


@pytest.fixture(params=[False, True], ids=["sequence", "dyna_sequence"])
def sequences(request: pytest.FixtureRequest) -> list[tuple[str, int | str, list[int]]]:
    """Model, id and values of each sequence."""
    numbers, texts = ("simple_dyna_sequence", "simple_string_dyna_sequence") if request.param else ("", "")
    text = "1002" if request.param else str(uuid.uuid4())
    negative = [-value for value in VALUES]
    return [
        (numbers or "simple_sequence", 1000, [0, *VALUES]),
        (numbers or "simple_sequence", 1001, [100, *negative]),
        (texts or "simple_sequence", text, [20, *negative]),
    ]


def steps(module: Any, model: str, sequence: int | str, values: list[int]) -> Iterator[Step]:
    """The arguments of a client's `infer` for each request of a sequence."""
    for position, value in enumerate(values):
        tensor = module.InferInput("INPUT", [1, 1], "INT32")
        tensor.set_data_from_numpy(np.full([1, 1], value, np.int32))
        yield {
            "model_name": model,
            "inputs": [tensor],
            "outputs": [module.InferRequestedOutput("OUTPUT")],
            "request_id": f"{sequence}_{position}",
            "sequence_id": sequence,
            "sequence_start": position == 0,
            "sequence_end": position == len(values) - 1,
        }


def expected(sequences: list[tuple[str, int | str, list[int]]]) -> Sums:
    """As in the example clients: the model for texts adds up, and the dynamic ones add the id at the end."""
    answers = []
    for model, sequence, values in sequences:
        if model == "simple_string_dyna_sequence":
            outputs = [int(total) for total in np.cumsum(values)]
        else:
            outputs = [values[0] + 1, *values[1:]]
        if model != "simple_sequence":
            outputs[-1] += int(sequence)
        answers.append(outputs)
    return answers


def value_of(result: Any) -> int:
    array = result.as_numpy("OUTPUT")
    assert array.shape == (1, 1)
    return int(array[0][0])


def address(server: RunningServer, module: Any) -> str:
    return server.grpc if "grpc" in module.__name__ else httpx.URL(server.rest).netloc.decode()


@pytest.mark.parametrize("module", [tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])
def test_one_request_after_the_other(server: RunningServer, sequences: Any, module: Any) -> None:
    """simple_http_sequence_sync_infer_client.py, simple_grpc_sequence_sync_infer_client.py"""
    with module.InferenceServerClient(address(server, module)) as client:
        answers = [
            [value_of(client.infer(**step)) for step in steps(module, *sequence)] for sequence in sequences
        ]
    assert answers == expected(sequences)


@pytest.mark.parametrize("module", [tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])
def test_sequences_in_turns(server: RunningServer, sequences: Any, module: Any) -> None:
    """As the example clients in C++: the requests of all sequences alternate."""
    with module.InferenceServerClient(address(server, module)) as client:
        turns = zip(*(steps(module, *sequence) for sequence in sequences), strict=True)
        answers = [[value_of(client.infer(**step)) for step in turn] for turn in turns]
    assert [list(column) for column in zip(*answers, strict=True)] == expected(sequences)


@pytest.mark.parametrize("module", [tritonclient.http.aio, tritonclient.grpc.aio], ids=["http", "grpc"])
def test_sequences_at_the_same_time(server: RunningServer, sequences: Any, module: Any) -> None:
    async def one(client: Any, sequence: tuple[str, int | str, list[int]]) -> list[int]:
        return [value_of(await client.infer(**step)) for step in steps(module, *sequence)]

    async def all_of_them() -> Sums:
        async with module.InferenceServerClient(address(server, module)) as client:
            return await asyncio.gather(*(one(client, sequence) for sequence in sequences))

    assert asyncio.run(all_of_them()) == expected(sequences)


def by_sequence(sequences: Any, results: Iterable[Any]) -> Sums:
    """The values of each sequence, whose answers on one stream come in the order of its requests."""
    answers: dict[str, list[int]] = {str(sequence): [] for _, sequence, _ in sequences}
    for result in results:
        sequence, position = result.get_response().id.split("_")
        assert int(position) == len(answers[sequence])
        answers[sequence].append(value_of(result))
    return list(answers.values())


def test_a_stream_with_callbacks(server: RunningServer, sequences: Any) -> None:
    """simple_grpc_sequence_stream_infer_client.py"""
    outcomes: queue.Queue[tuple[Any, Any]] = queue.Queue()
    results = []
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(callback=lambda result, error: outcomes.put((result, error)))
        for sequence in sequences:
            for step in steps(tritonclient.grpc, *sequence):
                client.async_stream_infer(**step)
        for _ in range(3 * (len(VALUES) + 1)):
            result, error = outcomes.get(timeout=60)
            assert error is None
            results.append(result)
        client.stop_stream()
    assert by_sequence(sequences, results) == expected(sequences)


def test_an_asynchronous_stream(server: RunningServer, sequences: Any) -> None:
    """simple_grpc_aio_sequence_stream_infer_client.py"""

    async def requests() -> AsyncIterator[Step]:
        for sequence in sequences:
            for step in steps(tritonclient.grpc.aio, *sequence):
                yield step

    async def answered() -> list[Any]:
        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc) as client:
            outcomes = [outcome async for outcome in client.stream_infer(inputs_iterator=requests())]
        assert [error for _, error in outcomes if error is not None] == []
        return [result for result, _ in outcomes]

    assert by_sequence(sequences, asyncio.run(answered())) == expected(sequences)
