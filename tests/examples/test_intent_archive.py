"""The intent classifier as an archive of TorchServe's: its clients' command lines, over REST and gRPC."""

import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from examples.intent import handler, load_phrases
from examples.intent_archive import make
from examples.source import MODEL_REPOSITORY
from kserve_v2._generated import torchserve_inference_pb2 as inference_pb
from kserve_v2._generated import torchserve_management_pb2 as management_pb
from kserve_v2.client.sync import Client
from tests.conftest import RunningServer, launch

pytestmark = pytest.mark.slow

PROPERTIES = """
inference_address=http://127.0.0.1:0
management_address=http://127.0.0.1:0
metrics_address=http://127.0.0.1:0
grpc_inference_port=0
grpc_management_port=0
default_workers_per_model=1
enable_model_api=true
"""
PHRASE = "could you wake me at half past seven?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intent")
    assert make(folder / "model_store").is_file()
    (folder / "config.properties").write_text(PROPERTIES)
    (folder / "phrase.txt").write_text(PHRASE)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RunningServer]:
    flags = ["--torchserve", "--model-store", str(folder / "model_store"), "--models", "all"]
    running = launch(folder, None, *flags, "--ts-config", str(folder / "config.properties"))
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize(
    "options",
    [
        ["-T", "phrase.txt"],
        ["-F", "data=@phrase.txt"],
        ["-F", f"data={PHRASE}"],
        ["-X", "POST", "-H", "Content-Type: application/json", "-d", json.dumps({"data": PHRASE})],
        ["-X", "POST", "-H", "Content-Type: text/plain", "--data", PHRASE],
    ],
)
def test_what_people_type_with_curl(server: RunningServer, folder: Path, options: list[str]) -> None:
    url = f"{server.urls['TorchServe inference']}/predictions/intent"
    said = subprocess.run(
        ["curl", "-sS", url, *options], cwd=folder, check=True, capture_output=True, text=True
    )
    # What TorchServe 0.12 answers, to the letter, but for the last digits of a sum.
    assert said.stdout.startswith('{\n  "predict_res": "alarm",\n  "score": 0.75')
    assert said.stdout.endswith("\n}")


def grpcurl(address: str, service: str, rpc: str, pb: Any, answer: Any, **data: Any) -> dict[str, Any]:
    """`grpcurl -plaintext -proto … -d DATA ADDRESS org.pytorch.serve.grpc.…`: JSON in and out."""
    request = ParseDict(data, pb())
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            f"/org.pytorch.serve.grpc.{service}/{rpc}", pb.SerializeToString, answer.FromString
        )
        return dict(MessageToDict(call(request, timeout=60)))


def test_what_people_type_with_grpcurl(server: RunningServer) -> None:
    """Registered under another name, scaled and asked, as a program in front of TorchServe does it."""
    inference, management = (server.urls[f"TorchServe gRPC {name}"] for name in ("inference", "management"))
    for rpc, pb, data in (
        ("RegisterModel", management_pb.RegisterModelRequest, {"url": "intent.mar", "model_name": "intent_80bf0da", "synchronous": True}),
        ("ScaleWorker", management_pb.ScaleWorkerRequest, {"model_name": "intent_80bf0da", "min_worker": 1, "synchronous": True}),
    ):  # fmt: skip
        said = grpcurl(
            management, "management.ManagementAPIsService", rpc, pb, management_pb.ManagementResponse, **data
        )
        assert "intent_80bf0da" in said["msg"]
    answer = grpcurl(
        inference,
        "inference.InferenceAPIsService",
        "Predictions",
        inference_pb.PredictionsRequest,
        inference_pb.PredictionResponse,
        model_name="intent_80bf0da",
        input={"data": b64encode(PHRASE.encode()).decode()},
    )
    assert b64encode(b'{\n  "predict_res": "alarm",').decode()[:-4] in answer["prediction"]


def test_it_answers_as_the_plain_model_does(server: RunningServer) -> None:
    plain = handler.Model()
    plain.load(SimpleNamespace(path=MODEL_REPOSITORY / "intent" / "1", device="cpu"))
    phrases = [phrase.text.encode() for phrase in load_phrases() if phrase.held_out][:40]
    rows = np.array([[phrase] for phrase in phrases], object)
    expected = plain({"text": rows})
    with Client(server.rest) as client:
        # Batches of up to 8 rows, as its model-config.yaml says.
        answers = [
            json.loads(body)
            for start in range(0, len(rows), 8)
            for body in client.infer("intent", {"body": rows[start : start + 8]})["prediction"].ravel()
        ]
    assert [each["predict_res"].encode() for each in answers] == expected["intent"].ravel().tolist()
    np.testing.assert_allclose([each["score"] for each in answers], expected["score"].ravel(), atol=1e-4)
