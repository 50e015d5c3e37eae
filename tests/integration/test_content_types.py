"""Handlers that take texts, JSON and images, as clients see them, over both protocols."""

import base64
import json
import textwrap
from collections.abc import Callable
from concurrent.futures import Future
from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from kserve_v2_backends.eager import backend as eager
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.support import json_tensor, statistics

_BATCHES = (
    "max_batch_size: 4 instance_group { kind: KIND_CPU count: 1 } "
    "dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 60000000 } "
)

_ISOLATED = 'parameters { key: "isolation" value { string_value: "process" } }'

# As the README shows it.
_DESCRIBE = """
from typing import Annotated, TypedDict

import numpy as np
from kserve_v2 import FP32, Image, Text


class Answer(TypedDict):
    caption: Text
    brightness: Annotated[np.ndarray, FP32(1)]


class Model:
    def __call__(self, image: Image, language: Text = "en") -> Answer:
        height, width, _ = image.shape
        word = {"en": "by", "de": "mal"}[language]
        return {"caption": f"{width} {word} {height}", "brightness": np.array([image.mean()], np.float32)}
"""

_TURN = """
from kserve_v2 import Image, Json


class Model:
    max_batch_size = 4

    def __call__(self, image: list[Image], options: list[Json]) -> list[Image]:
        return [each[::-1] if wanted.get("flip") else each for each, wanted in zip(image, options, strict=True)]
"""

_SMALL = 'parameters { key: "max_image_pixels" value { string_value: "100" } }'

_COUNTING = """
from kserve_v2 import INT64, Text
from typing import Annotated
import numpy as np

class Model:
    def __call__(self, text: list[Text]) -> Annotated[np.ndarray, INT64(1)]:
        return np.full((len(text), 1), len(text))
"""

_LABELS = """
from collections.abc import Iterator
from kserve_v2 import Text

class Model:
    def __call__(self, prompt: Text) -> Iterator[Text]:
        yield from prompt.split()
"""


_STEPS = """
from collections.abc import Sequence
from kserve_v2 import Request, Text

class Model:
    def load(self, context):
        self.told = {}

    def __call__(self, text: list[Text], requests: Sequence[Request]) -> list[Text]:
        for each, request in zip(text, requests, strict=True):
            number = request.parameters["of"]
            self.told[number] = self.told.get(number, "") + each
        return [self.told[request.parameters["of"]] for request in requests]
"""
_STEPS_CONFIG = """
max_batch_size: 2
instance_group { kind: KIND_CPU count: 1 }
sequence_batching {
  oldest { max_candidate_sequences: 4 preferred_batch_size: 2 max_queue_delay_microseconds: 60000000 }
}
"""


@pytest.fixture(scope="module")
def decoding(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    root = tmp_path_factory.mktemp("decoding")
    write_model(root, "describe", _DESCRIBE)
    write_model(root, "small", _DESCRIBE, _SMALL)
    write_model(root, "turn", _TURN)
    write_model(root, "counting", _COUNTING, _BATCHES)
    write_model(root, "isolated_describe", _DESCRIBE, _ISOLATED)
    write_model(root, "isolated_counting", _COUNTING, _BATCHES + _ISOLATED)
    write_model(root, "words", _LABELS)
    write_model(root, "steps", _STEPS, _STEPS_CONFIG)
    return start_server(root)


def _encoded(array: Any, kind: str = "PNG") -> bytes:
    written = BytesIO()
    PIL.Image.fromarray(array).save(written, kind)
    return written.getvalue()


def _base64_tensor(name: str, shape: list[int], *elements: bytes) -> dict[str, Any]:
    data = [base64.b64encode(each).decode() for each in elements]
    return {**json_tensor(name, "BYTES", shape, data), "parameters": {"content_type": "base64"}}


def test_the_example_is_the_documentation_s() -> None:
    assert eager.__doc__ is not None
    example = _DESCRIBE[_DESCRIBE.index("class Answer") :].replace("\n\n\n", "\n\n")
    assert textwrap.indent(example, "    ") in eager.__doc__


PICTURE = np.full((4, 6, 3), 100, np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("model", ["describe", "isolated_describe"])
def test_an_image_in_json_is_base64(decoding: RunningServer, kind: str, model: str) -> None:
    image = _base64_tensor("image", [1], _encoded(PICTURE, kind))
    answer = decoding.infer(model, {"inputs": [image]}).json()
    assert [(each["name"], each["data"]) for each in answer["outputs"]] == [
        ("caption", ["6 by 4"]), ("brightness", [100.0])
    ]  # fmt: skip
    german = decoding.infer(model, {"inputs": [image, json_tensor("language", "BYTES", [1], ["de"])]})
    assert german.json()["outputs"][0]["data"] == ["6 mal 4"]


def test_metadata_and_configuration_say_what_to_send(decoding: RunningServer) -> None:
    metadata = decoding.get("/v2/models/describe").json()
    assert metadata["inputs"] == [
        {"name": "image", "datatype": "BYTES", "shape": [1]},
        {"name": "language", "datatype": "BYTES", "shape": [1]},
    ]
    assert decoding.get("/v2/models/turn").json()["outputs"] == [
        {"name": "output", "datatype": "BYTES", "shape": [-1, 1]}
    ]
    config = decoding.get("/v2/models/describe/config").json()
    assert json.loads(config["parameters"]["content_types"]["string_value"]) == {
        "inputs": {"image": "image", "language": "text"}, "outputs": {"caption": "text"},
    }  # fmt: skip
    assert [each["optional"] for each in config["input"]] == [False, True]


def test_bytes_come_as_they_are_over_grpc_and_in_binary(decoding: RunningServer) -> None:
    for module, address in (
        (triton_grpc, decoding.grpc),
        (triton_http, decoding.rest.removeprefix("http://")),
    ):
        with module.InferenceServerClient(address) as client:
            given = module.InferInput("image", [1], "BYTES")
            given.set_data_from_numpy(np.array([_encoded(PICTURE)], object))
            assert client.infer("describe", [given]).as_numpy("caption").tolist() == [b"6 by 4"]
            given.set_data_from_numpy(np.array([b"GIF89a"], object))
            with pytest.raises(
                InferenceServerException, match="input 'image': it is neither JPEG nor PNG"
            ) as caught:
                client.infer("describe", [given])
            assert caught.value.status() in ("StatusCode.INVALID_ARGUMENT", "400")


def test_images_go_out_as_png(decoding: RunningServer) -> None:
    rows = [np.full((n, 2, 3), n, np.uint8) for n in (1, 2, 3)]
    rows[2][0] = 99
    body = {
        "inputs": [
            _base64_tensor("image", [3, 1], *map(_encoded, rows)),
            json_tensor("options", "BYTES", [3, 1], ["{}", "{}", '{"flip": true}']),
        ],
        "outputs": [{"name": "output", "parameters": {"content_type": "base64"}}],
    }
    (output,) = decoding.infer("turn", body).json()["outputs"]
    assert (output["shape"], output["parameters"]) == ([3, 1], {"content_type": "base64"})
    found = [np.asarray(PIL.Image.open(BytesIO(base64.b64decode(text)))) for text in output["data"]]
    assert [each.tolist() for each in found] == [rows[0].tolist(), rows[1].tolist(), rows[2][::-1].tolist()]
    del body["outputs"]
    refused = decoding.infer("turn", body)
    assert refused.status_code == 400
    assert 'ask for it with the parameter "content_type": "base64"' in refused.json()["error"]


@pytest.mark.parametrize(
    ("model", "image", "text"),
    [
        ("describe", b"", "input 'image': it is empty, expected a JPEG or PNG image"),
        ("describe", b"\x89PNG\r\n\x1a\n", "input 'image': it cannot be decoded as PNG"),
        ("small", _encoded(np.zeros((11, 10, 3), np.uint8)), "an image of 10 x 11 has 110 pixels, and this model takes up to 100"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_the_client_s_mistake(
    decoding: RunningServer, model: str, image: bytes, text: str
) -> None:
    bad = decoding.infer(model, {"inputs": [_base64_tensor("image", [1], image)]})
    assert bad.status_code == 400
    assert text in bad.json()["error"]
    good = decoding.infer(model, {"inputs": [_base64_tensor("image", [1], _encoded(PICTURE))]})
    assert good.json()["outputs"][0]["data"] == ["6 by 4"]
    assert "Traceback" not in decoding.log


def test_rows_are_named(decoding: RunningServer) -> None:
    body = {
        "inputs": [
            _base64_tensor("image", [2, 1], _encoded(PICTURE), b"x"),
            json_tensor("options", "BYTES", [2, 1], ["{}", "{}"]),
        ]
    }
    assert (
        decoding.infer("turn", body)
        .json()["error"]
        .startswith("input 'image', row 1: it is neither JPEG nor PNG")
    )
    body["inputs"] = [
        _base64_tensor("image", [1, 1], _encoded(PICTURE)),
        json_tensor("options", "BYTES", [1, 1], ["{"]),
    ]
    assert decoding.infer("turn", body).json()["error"].startswith("input 'options': it is no JSON: ")


@pytest.mark.parametrize("model", ["counting", "isolated_counting"])
def test_one_of_a_batch_that_is_wrong_is_refused_and_the_others_share_it(
    decoding: RunningServer, later: Callable[..., Future[Any]], model: str
) -> None:
    bodies = [{"inputs": [_base64_tensor("text", [1, 1], text)]} for text in (b"a", b"\xff", b"c", b"d")]
    first, bad, *others = [each.result() for each in [later(decoding.infer, model, body) for body in bodies]]
    assert [each.json()["outputs"][0]["data"] for each in (first, *others)] == [[3], [3], [3]]
    assert (bad.status_code, bad.json()["error"][:31]) == (400, "input 'text': it is not UTF-8: ")
    counted = statistics(decoding, model)
    assert (counted["execution_count"], counted["inference_count"]) == (1, 3)
    assert counted["inference_stats"]["fail"]["count"] == 1


def test_a_step_that_is_wrong_is_no_step_of_the_others(
    decoding: RunningServer, later: Callable[..., Future[Any]]
) -> None:
    def step(number: int, text: bytes, **flags: bool) -> dict[str, Any]:
        parameters = {"sequence_id": number, "of": number, **flags}
        return {"parameters": parameters, "inputs": [_base64_tensor("text", [1, 1], text)]}

    def both(*bodies: dict[str, Any]) -> list[Any]:
        return [each.result() for each in [later(decoding.infer, "steps", body) for body in bodies]]

    start = {"sequence_start": True}
    both(step(1, b"a", **start), step(2, b"x", **start))
    bad, good = both(step(1, b"\xff"), step(2, b"y"))
    assert (bad.status_code, good.json()["outputs"][0]["data"]) == (400, ["xy"])
    assert bad.json()["error"].startswith("input 'text': it is not UTF-8")
    one, two = both(step(1, b"b", sequence_end=True), step(2, b"z", sequence_end=True))
    assert [each.json()["outputs"][0]["data"] for each in (one, two)] == [["ab"], ["xyz"]]


def test_streams_of_texts(decoding: RunningServer) -> None:
    answer = decoding.post("/v2/models/words/generate_stream", json={"prompt": "three short words"})
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [each["output"] for each in events] == ["three", "short", "words"]
