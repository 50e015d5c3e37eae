"""The example models through the running server: held-out accuracy, agreement, sample requests."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import httpx
import numpy as np
import pytest

from examples import typeahead_client
from examples.digit_drawings import Hand, draw, png
from examples.digits import Digits, load_data
from examples.intent import Phrase, load_phrases
from examples.source import MODEL_REPOSITORY
from kserve_v2.tensors.datatypes import Array

pytestmark = pytest.mark.slow

MODELS = (
    "add_sub",
    "digits_eager",
    "digits_export",
    "digits_onnx",
    "digits_photo",
    "digits_prepare",
    "digits_scan",
    "digits_torchscript",
    "intent",
    "typeahead",
)
DIGITS = ("digits_eager", "digits_export", "digits_onnx", "digits_torchscript")
BATCH_ROWS = 50


class Server(Protocol):
    """What these tests use of a running server."""

    rest: str

    def get(self, path: str) -> httpx.Response: ...
    def post(self, path: str, **options: object) -> httpx.Response: ...
    def infer(self, model: str, body: object) -> httpx.Response: ...


class StartServer(Protocol):
    def __call__(self, *arguments: object) -> Server: ...


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server(MODEL_REPOSITORY)


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_data()


def batches(count: int) -> Iterator[slice]:
    """Slices of `BATCH_ROWS` that cover `count` rows."""
    return (slice(start, start + BATCH_ROWS) for start in range(0, count, BATCH_ROWS))


def infer_binary(server: Server, model: str, images: Array) -> Array:
    """The probabilities of some images, both ways as binary tensors."""
    content = images.astype("<f4").tobytes()
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "FP32",
                    "shape": images.shape,
                    "parameters": {"binary_data_size": len(content)},
                }
            ],
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
        }
    ).encode()
    response = server.post(
        f"/v2/models/{model}/infer",
        content=header + content,
        headers={"Inference-Header-Content-Length": str(len(header))},
    )
    assert response.status_code == 200, response.text
    length = int(response.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(response.content[:length])["outputs"]
    assert output["name"] == "probabilities"
    return np.frombuffer(response.content[length:], "<f4").reshape(output["shape"])


def infer_json(server: Server, model: str, images: Array) -> Array:
    """The probabilities of some images, both ways as JSON."""
    tensor = {
        "name": "image",
        "datatype": "FP32",
        "shape": images.shape,
        "data": images.reshape(-1).tolist(),
    }
    response = server.infer(model, {"inputs": [tensor]})
    assert response.status_code == 200, response.text
    (output,) = response.json()["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


@pytest.fixture(scope="module")
def answers(server: Server, digits: Digits) -> dict[str, Array]:
    """The probabilities of all held-out images, by model."""
    images = digits.held_out_images
    return {
        model: np.concatenate([infer_binary(server, model, images[rows]) for rows in batches(len(images))])
        for model in DIGITS
    }


@pytest.mark.parametrize("model", DIGITS)
def test_held_out_digits_are_read(answers: dict[str, Array], digits: Digits, model: str) -> None:
    assert answers[model].shape == (450, 10)
    np.testing.assert_allclose(answers[model].sum(axis=1), 1, atol=1e-5)
    assert (answers[model].argmax(axis=1) == digits.held_out_labels).mean() >= 0.97


def test_the_four_formats_agree(answers: dict[str, Array]) -> None:
    for model in DIGITS:
        np.testing.assert_allclose(answers[model], answers["digits_onnx"], atol=1e-4, err_msg=model)


@pytest.mark.parametrize("size", [(16, 16), (37, 24)])
def test_scans_of_any_size_are_read_by_an_ensemble(
    server: Server, digits: Digits, size: tuple[int, int]
) -> None:
    read: list[int] = []
    rows, columns = (np.arange(pixels) * 8 // pixels for pixels in size)
    for part in batches(len(digits.held_out_images)):
        ink = digits.held_out_images[part][:, 0][:, rows][:, :, columns]
        scans = (255 * (1 - ink)).round().astype(np.uint8)
        tensor = {
            "name": "scan",
            "datatype": "UINT8",
            "shape": scans.shape,
            "data": scans.reshape(-1).tolist(),
        }
        response = server.infer("digits_scan", {"inputs": [tensor]})
        assert response.status_code == 200, response.text
        (output,) = response.json()["outputs"]
        read += np.array(output["data"]).reshape(output["shape"]).argmax(axis=1).tolist()
    assert (np.array(read) == digits.held_out_labels).mean() >= 0.97


def test_a_drawing_is_read_as_it_is(server: Server) -> None:
    """As the README has it."""
    file = (MODEL_REPOSITORY / "digits_photo" / "seven.png").read_bytes()
    url = "/v2/models/digits_photo/generate"
    answer = server.post(url, content=file, headers={"Content-Type": "image/png"}).json()
    assert (answer["digit"], len(answer["probabilities"])) == (7, 10)
    form = server.post(f"{url}?classes=2", files={"image": file}).json()
    assert [each["label"] for each in form["probabilities"]][:1] == ["seven"]
    assert form["probabilities"][0]["value"] > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_drawings_of_all_digits_are_read(server: Server, seed: int) -> None:
    """Thin and thick lines, light on dark, leaning, and not in the middle."""
    hands = {
        "thin": Hand(pen=5, seed=seed),
        "thick": Hand(pen=16, slant=0, offset=(60, 15), seed=seed),
        "light": Hand(pen=9, slant=0.2, width=0.75, offset=(-70, -20), seed=seed, ink=230, paper=60),
    }
    read: dict[str, list[int]] = {}
    for name, hand in hands.items():
        files = [("image", png(draw(digit, hand))) for digit in range(10)]
        rows = server.post("/v2/models/digits_photo/generate", files=files).json()["digit"]
        read[name] = [row[0] for row in rows]
    assert sum(found == digit for row in read.values() for digit, found in enumerate(row)) >= 27, read


def test_a_page_without_a_digit_is_the_clients_mistake(server: Server) -> None:
    blank = png(np.full((50, 80), 200, np.uint8))
    response = server.post("/v2/models/digits_photo/generate", files={"image": blank})
    assert response.status_code == 400
    expected = "input 'image': there is no digit to be seen: its greatest contrast is 0 of 255"
    assert expected in response.json()["error"]


def test_a_scan_that_is_too_small_is_the_clients_mistake(server: Server) -> None:
    tensor = {"name": "scan", "datatype": "UINT8", "shape": [1, 7, 9], "data": [0] * 63}
    response = server.infer("digits_scan", {"inputs": [tensor]})
    assert response.status_code == 400
    expected = "in ensemble 'digits_scan', input 'scan': expected at least 8 x 8 pixels, got 7 x 9"
    assert response.json()["error"] == expected


@pytest.mark.parametrize("model", DIGITS)
def test_json_and_binary_tensors_give_the_same(
    server: Server, answers: dict[str, Array], digits: Digits, model: str
) -> None:
    probabilities = infer_json(server, model, digits.held_out_images[:BATCH_ROWS])
    np.testing.assert_allclose(probabilities, answers[model][:BATCH_ROWS], atol=1e-6)


def ask_intents(server: Server, phrases: list[Phrase]) -> tuple[list[str], list[float]]:
    texts = [phrase.text for phrase in phrases]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts), 1], "data": texts}
    response = server.infer("intent", {"inputs": [tensor]})
    assert response.status_code == 200, response.text
    outputs = {output["name"]: output for output in response.json()["outputs"]}
    assert outputs["intent"]["shape"] == outputs["score"]["shape"] == [len(texts), 1]
    return outputs["intent"]["data"], outputs["score"]["data"]


def test_held_out_phrases_are_understood(server: Server) -> None:
    phrases = [phrase for phrase in load_phrases() if phrase.held_out]
    hits: list[bool] = []
    for rows in batches(len(phrases)):
        intents, scores = ask_intents(server, phrases[rows])
        assert all(0 < score <= 1 for score in scores)
        hits += [intent == phrase.intent for intent, phrase in zip(intents, phrases[rows], strict=True)]
    assert len(hits) == len(phrases) >= 200
    assert sum(hits) / len(hits) >= 0.9


def test_a_text_that_is_not_utf8_is_refused_and_the_next_is_answered(server: Server) -> None:
    element = b"caf\xe9"
    content = len(element).to_bytes(4, "little") + element
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "text",
                    "datatype": "BYTES",
                    "shape": [1, 1],
                    "parameters": {"binary_data_size": len(content)},
                }
            ]
        }
    ).encode()
    response = server.post(
        "/v2/models/intent/infer",
        content=header + content,
        headers={"Inference-Header-Content-Length": str(len(header))},
    )
    assert response.status_code == 400
    assert "input 'text': expected UTF-8" in response.json()["error"]
    assert ask_intents(server, [Phrase("play some music", "music", held_out=False)])[0] == ["music"]


def test_add_sub_adds_and_subtracts(server: Server) -> None:
    first = np.arange(48).reshape(3, 16)
    second = np.full((3, 16), 7)
    tensors = [
        {"name": name, "datatype": "INT32", "shape": [3, 16], "data": array.reshape(-1).tolist()}
        for name, array in (("INPUT0", first), ("INPUT1", second))
    ]
    response = server.infer("add_sub", {"inputs": tensors})
    assert response.status_code == 200, response.text
    outputs = {output["name"]: output["data"] for output in response.json()["outputs"]}
    assert outputs == {
        "OUTPUT0": (first + second).reshape(-1).tolist(),
        "OUTPUT1": (first - second).reshape(-1).tolist(),
    }


@pytest.mark.parametrize("model", MODELS)
def test_the_sample_request_is_answered(server: Server, model: str) -> None:
    # As `curl -d @file` sends it: without line ends, and with a content type that is not JSON.
    body = (MODEL_REPOSITORY / model / "sample_request.json").read_text().replace("\n", "")
    response = server.post(
        f"/v2/models/{model}/infer",
        content=body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 200, response.text
    outputs = {output["name"]: output["data"] for output in response.json()["outputs"]}
    if model == "digits_prepare":
        assert len(outputs["image"]) == 64
    elif model in (*DIGITS, "digits_photo", "digits_scan"):
        best = outputs["probabilities"][0].split(":")
        assert best[1:] == (["7"] if model == "digits_export" else ["7", "seven"])
        assert len(outputs["probabilities"]) == 3
    elif model == "intent":
        assert outputs["intent"] == ["alarm"]
    elif model == "typeahead":
        # The value of the expr…
        assert next(entry.split(":")[2] for entry in outputs["next"]) == "e"
    else:
        assert outputs["OUTPUT0"] == list(range(1, 17))


@pytest.mark.parametrize(
    ("model", "inputs", "outputs", "max_batch_size"),
    [
        ("add_sub", {"INPUT0": [-1, 16], "INPUT1": [-1, 16]}, {"OUTPUT0": [-1, 16], "OUTPUT1": [-1, 16]}, 8),
        ("digits_eager", {"image": [-1, 1, 8, 8]}, {"probabilities": [-1, 10]}, 64),
        ("digits_export", {"image": [-1, 1, 8, 8]}, {"probabilities": [-1, 10]}, 4),
        ("digits_onnx", {"image": [-1, 1, 8, 8]}, {"probabilities": [-1, 10]}, 64),
        ("digits_torchscript", {"image": [-1, 1, 8, 8]}, {"probabilities": [-1, 10]}, 64),
        ("intent", {"text": [-1, 1]}, {"intent": [-1, 1], "score": [-1, 1]}, 64),
        ("typeahead", {"text": [-1, -1]}, {"next": [-1, 128], "bits": [-1, -1]}, 16),
    ],
)
def test_metadata_is_complete(
    server: Server,
    model: str,
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int]],
    max_batch_size: int,
) -> None:
    """Also of the models whose configuration leaves their tensors to the model file."""
    metadata = server.get(f"/v2/models/{model}").json()
    assert {tensor["name"]: tensor["shape"] for tensor in metadata["inputs"]} == inputs
    assert {tensor["name"]: tensor["shape"] for tensor in metadata["outputs"]} == outputs
    assert server.get(f"/v2/models/{model}/config").json()["max_batch_size"] == max_batch_size


# --- typeahead --------------------------------------------------------------------------------------------------------

TYPED = b"The value of the expression is evaluated; if it is false, the statement raises an exception.\n"


def read_piece(
    server: Server, piece: bytes, sequence: int, *, start: bool, end: bool
) -> tuple[list[float], list[float]]:
    """What comes next, and how surprising each character was."""
    tensor = {"name": "text", "datatype": "UINT8", "shape": [1, len(piece)], "data": list(piece)}
    parameters = {"sequence_id": sequence, "sequence_start": start, "sequence_end": end}
    response = server.infer("typeahead", {"inputs": [tensor], "parameters": parameters})
    assert response.status_code == 200, response.text
    outputs = {output["name"]: output["data"] for output in response.json()["outputs"]}
    assert sorted(outputs) == ["bits", "next"]
    return outputs["next"], outputs["bits"]


def type_text(server: Server, sequence: int, length: int) -> tuple[list[float], list[float]]:
    """The text in pieces of one length; the last may be shorter."""
    starts = range(0, len(TYPED), length)
    bits: list[float] = []
    for index, start in enumerate(starts):
        first, last = index == 0, index == len(starts) - 1
        following, told = read_piece(server, TYPED[start : start + length], sequence, start=first, end=last)
        bits += told
    return following, bits


def test_a_text_that_is_typed_is_read_as_the_whole(server: Server) -> None:
    """By several clients at a time, in pieces of several sizes: their texts are batched, and never mixed up."""
    lengths = [1, 2, 3, 5, 8, 13, 64, 1, 1, 1]
    whole_next, whole_bits = type_text(server, 100, len(TYPED))
    with ThreadPoolExecutor(len(lengths)) as clients:
        answers = list(clients.map(lambda job: type_text(server, *job), enumerate(lengths, start=1)))
    for following, bits in answers:
        np.testing.assert_allclose(following, whole_next, atol=1e-5)
        np.testing.assert_allclose(bits, whole_bits, atol=1e-3)
    # It knows what it reads.
    assert np.mean(whole_bits) < 2


def test_a_piece_of_nothing_is_answered(server: Server) -> None:
    first, _ = read_piece(server, b"The value of the expr", 200, start=True, end=False)
    nothing, bits = read_piece(server, b"", 200, start=False, end=True)
    np.testing.assert_allclose(nothing, first, atol=1e-5)
    assert bits == []


def test_the_client_of_typeahead(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    url = server.rest.removeprefix("http://")
    assert (
        typeahead_client.main(
            ["--url", url, "--sequence-id", "77", "The value of the expr", "ession is eval"]
        )
        == 0
    )
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[-6] == "e"
    assert second.split()[-6] == "u"


def test_the_client_of_typeahead_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert typeahead_client.main(["--url", "127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
