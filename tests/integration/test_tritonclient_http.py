"""Unmodified tritonclient over HTTP: JSON and mixed encodings, concurrent calls, names that need escaping."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer
from tests.integration.clients import TritonClient
from tests.integration.support import EDGE_VALUES, Array, same

# The http.aio client never reads the answers to health checks.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")

JSON_DATATYPES = [datatype for datatype in EDGE_VALUES if datatype not in ("FP16", "BF16")]


@pytest.fixture(scope="module", params=["http", "http.aio"])
def client(request: pytest.FixtureRequest, server: RunningServer) -> Iterator[TritonClient]:
    made = TritonClient(request.param, server)
    yield made
    made.close()


@pytest.mark.parametrize("datatype", JSON_DATATYPES)
@pytest.mark.parametrize(("sent_binary", "asked_binary"), [(False, False), (False, True), (True, False)])
def test_every_datatype_in_json_either_way(
    client: TritonClient, datatype: str, sent_binary: bool, asked_binary: bool
) -> None:
    sent = EDGE_VALUES[datatype]
    answer = client.infer(
        f"id_{datatype.lower()}",
        [client.input("IN", datatype, sent, binary=sent_binary)],
        outputs=[client.output("OUT", binary=asked_binary)],
    )
    assert ("data" in answer.get_output("OUT")) is not asked_binary
    got = answer.as_numpy("OUT")
    # Out of JSON, the client gives strings.
    if datatype == "BYTES" and not asked_binary:
        assert got.tolist() == [element.decode() for element in sent]
    else:
        assert same(got, sent)


@pytest.mark.parametrize("datatype", sorted(EDGE_VALUES))
@pytest.mark.parametrize("algorithm", [None, "gzip"])
def test_a_tensor_without_elements_as_bytes(
    client: TritonClient, datatype: str, algorithm: str | None
) -> None:
    """Nothing follows the JSON then, and as in Triton, no header says where that ends. Twice, as what comes again is
    answered in fewer steps.
    """
    sent = EDGE_VALUES[datatype][:0]
    for _ in range(3):
        answer = client.infer(
            f"id_{datatype.lower()}",
            [client.input("IN", datatype, sent)],
            outputs=[client.output("OUT")],
            response_compression_algorithm=algorithm,
        )
        assert answer.get_output("OUT")["parameters"]["binary_data_size"] == 0
        assert same(answer.as_numpy("OUT"), sent)


def test_inputs_and_outputs_of_both_encodings_in_one_request(client: TritonClient) -> None:
    a, b = np.array([[5, 7], [9, 11]], np.int32), np.array([[1, 2], [3, 4]], np.int32)
    answer = client.infer(
        "two",
        [client.input("A", "INT32", a, binary=False), client.input("B", "INT32", b)],
        outputs=[client.output("X"), client.output("Y", binary=False)],
    )
    assert "data" not in answer.get_output("X")
    assert "data" in answer.get_output("Y")
    assert same(answer.as_numpy("X"), a + b)
    assert same(answer.as_numpy("Y"), a - b)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_both_ways(client: TritonClient, algorithm: str, binary: bool) -> None:
    sent = np.zeros((4, 3), np.float32)
    answer = client.infer(
        "bat",
        [client.input("IN", "FP32", sent, binary=binary)],
        outputs=[client.output("OUT", binary=binary)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert same(answer.as_numpy("OUT"), sent)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_cannot_be_had_in_json(client: TritonClient, datatype: str) -> None:
    with pytest.raises(
        InferenceServerException, match=f"sending {datatype} data via JSON is not supported"
    ) as caught:
        client.infer(
            f"id_{datatype.lower()}",
            [client.input("IN", datatype, EDGE_VALUES[datatype])],
            outputs=[client.output("OUT", binary=False)],
        )
    assert caught.value.status() == "400"


@pytest.mark.parametrize("name", ["a b", "modèle", "50%"])
def test_names_that_the_client_escapes(client: TritonClient, name: str) -> None:
    sent = np.array([1, 2], np.int32)
    assert client.is_model_ready(name)
    assert client.get_model_metadata(name)["name"] == name
    assert client.get_model_config(name)["name"] == name
    assert [entry["name"] for entry in client.get_inference_statistics(name)["model_stats"]] == [name]
    assert same(client.infer(name, [client.input("IN", "INT32", sent)]).as_numpy("OUT"), sent)


def test_bodies_made_and_parsed_by_hand(server: RunningServer) -> None:
    sent = EDGE_VALUES["FP32"]
    tensor = tritonclient.http.InferInput("IN", [sent.size], "FP32").set_data_from_numpy(sent)
    body, header_length = tritonclient.http.InferenceServerClient.generate_request_body([tensor])
    response = server.post(
        "/v2/models/id_fp32/infer",
        content=body,
        headers={"Inference-Header-Content-Length": str(header_length)},
    )
    answer = tritonclient.http.InferenceServerClient.parse_response_body(
        response.content, header_length=int(response.headers["inference-header-content-length"])
    )
    assert same(answer.as_numpy("OUT"), sent)


@pytest.fixture(scope="module")
def rows() -> list[Array]:
    return [np.full((1 + number % 4, 3), number, np.float32) for number in range(32)]


@pytest.mark.slow
def test_async_infer(server: RunningServer, rows: list[Array]) -> None:
    with tritonclient.http.InferenceServerClient(
        server.rest.removeprefix("http://"), concurrency=8
    ) as client:
        calls = [
            client.async_infer(
                "bat", [tritonclient.http.InferInput("IN", row.shape, "FP32").set_data_from_numpy(row)]
            )
            for row in rows
        ]
        assert all(
            same(call.get_result().as_numpy("OUT"), row) for call, row in zip(calls, rows, strict=True)
        )


def test_an_error_of_async_infer(server: RunningServer) -> None:
    with tritonclient.http.InferenceServerClient(server.rest.removeprefix("http://")) as client:
        wrong = tritonclient.http.InferInput("IN", [1, 2], "FP32").set_data_from_numpy(
            np.zeros((1, 2), np.float32)
        )
        call = client.async_infer("bat", [wrong])
        with pytest.raises(InferenceServerException, match="unexpected shape for input 'IN'"):
            call.get_result()


def test_concurrent_calls_of_the_aio_client(server: RunningServer, rows: list[Array]) -> None:
    async def call_all() -> list[Array]:
        async with tritonclient.http.aio.InferenceServerClient(server.rest.removeprefix("http://")) as client:
            answers = await asyncio.gather(
                *(
                    client.infer(
                        "bat",
                        [tritonclient.http.InferInput("IN", row.shape, "FP32").set_data_from_numpy(row)],
                    )
                    for row in rows
                )
            )
            return [answer.as_numpy("OUT") for answer in answers]

    assert all(same(got, row) for got, row in zip(asyncio.run(call_all()), rows, strict=True))
