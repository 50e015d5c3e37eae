"""What is sent: read from files, made up, written down for both protocols. The servers' own parsers read it back."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.bench.document import document_of, read_documents
from kserve_v2.bench.encoding import Form, prepare
from kserve_v2.bench.errors import BenchUsageError
from kserve_v2.bench.made_up import Wishes, made_up
from kserve_v2.bench.model_view import ModelView, TensorView
from kserve_v2.bench.requests import Source, Vary, documents_of, prepare_all, stream
from kserve_v2.bench.target import parse_target
from kserve_v2.tensors.datatypes import BF16, BOOL, BYTES, FP16, FP32, INT64, UINT8

REST, GRPC = parse_target("http://h:1"), parse_target("grpc://h:1")
IDENT = b"0123456789abcdef"
VIEW = ModelView(
    "m",
    (
        TensorView("x", FP32, (-1, 4)),
        TensorView("ids", INT64, (-1, -1)),
        TensorView("text", BYTES, (-1, 1)),
        TensorView("flag", BOOL, (-1, 1)),
        TensorView("half", BF16, (-1, 2)),
    ),
    batches=True,
)
IDS = Wishes(3, {"ids": (7,)})


def test_made_up_tensors_are_as_the_metadata_says() -> None:
    random = np.random.default_rng(0)
    found = {each.name: each for each in made_up(VIEW, IDS, random).inputs}
    assert {name: (each.datatype, each.array.shape) for name, each in found.items()} == {
        "x": ("FP32", (3, 4)),
        "ids": ("INT64", (3, 7)),
        "text": ("BYTES", (3, 1)),
        "flag": ("BOOL", (3, 1)),
        "half": ("BF16", (3, 2)),
    }
    # Whatever integers are the indices of has at least two elements.
    assert set(found["ids"].array.ravel()) == {0, 1}
    assert all(len(each) == 16 and each.isascii() for each in found["text"].array.ravel())


def test_a_dimension_that_varies_has_to_be_said_unless_the_model_is_warmed_up_with_one() -> None:
    with pytest.raises(BenchUsageError, match=r"'ids'.*--shape ids:8"):
        made_up(VIEW, Wishes(), np.random.default_rng(0))
    warmed = ModelView("m", VIEW.inputs[1:2], batches=True, warm_up={"ids": (5,)})
    assert made_up(warmed, Wishes(2), np.random.default_rng(0)).inputs[0].array.shape == (2, 5)


@pytest.mark.parametrize(
    ("wishes", "text"),
    [
        (Wishes(shapes={"nix": (1,)}), "--shape: model 'm' has no input 'nix', but x, ids, text"),
        (Wishes(values={"nix": "1"}), "value of an input: model 'm' has no input 'nix'"),
        (Wishes(shapes={"ids": (1,), "x": (5,)}), r"--shape x:5: expected one like \[4\]"),
        (Wishes(shapes={"ids": (1, 2)}), r"--shape ids:1,2: expected one like \[-1\]"),
        (Wishes(values={"ids": "[[1.5]]"}), "value of an input: ids=.*: no INT64"),
        (
            Wishes(values={"ids": "[[1]]", "x": "[1, 2]"}),
            r"value of an input: x=.*: expected the shape \[-1, 4\], got",
        ),
        (Wishes(values={"ids": "@/no/such.npy"}), "value of an input: ids=@/no/such.npy: No such file"),
        (Wishes(values={"ids": "abc"}), "value of an input: ids=abc: no INT64"),
    ],
)
def test_what_does_not_fit_names_the_option_and_what_was_expected(wishes: Wishes, text: str) -> None:
    with pytest.raises(BenchUsageError, match=text):
        documents_of(VIEW, Source(wishes))


def test_images_are_made_up_and_json_is_not() -> None:
    image = pytest.importorskip("PIL.Image")
    view = ModelView("m", (TensorView("image", BYTES, (1,)),), contents={"image": "image"})
    [tensor] = made_up(view, Wishes(), np.random.default_rng(0)).inputs
    from io import BytesIO  # noqa: PLC0415

    assert image.open(BytesIO(tensor.array[0])).size == (64, 64)
    view = ModelView("m", (TensorView("x", BYTES, (1,)),), contents={"x": "json"})
    with pytest.raises(BenchUsageError, match=r"takes json.*or a value, x="):
        made_up(view, Wishes(), np.random.default_rng(0))


def test_given_values_are_sent_as_they_are(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(4, dtype=np.float64))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    values = {
        "x": f"@{tmp_path / 'x.npy'}", "ids": "[[1, 2], [3, 4]]", "text": f"@{tmp_path / 'photo.jpg'}",
        "flag": "[[true], [false]]", "half": "[[1, 2], [3, 4]]",
    }  # fmt: skip
    [document] = documents_of(VIEW, Source(Wishes(2, values=values)))
    found = {each.name: each.array.tolist() for each in document.inputs}
    assert found["x"] == [[0, 1, 2, 3]] * 2  # one row, which is sent as often as --batch says
    assert found["ids"] == [[1, 2], [3, 4]]
    assert found["text"] == [[b"\xff\xd8"]] * 2  # and so is one value
    assert found["flag"] == [[True], [False]]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('{"inputs": []}', 1),
        ('[{"inputs": []}, {"inputs": []}]', 2),
        ('{"inputs": []}\n\n{"inputs": []}\n{"inputs": []}\n', 3),
    ],
)
def test_a_file_has_one_request_or_several(tmp_path: Path, text: str, number: int) -> None:
    path = tmp_path / "request.json"
    path.write_text(text)
    assert len(read_documents(path)) == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no request in it"),
        ("{", "not JSON"),
        ("[]", "there is no request in it"),
        ("{}", "expected a request as"),
        ('{"inputs": [{"name": "x"}]}', "expected inputs with name, datatype, shape and data"),
        (
            '{"inputs": [{"name": "x", "datatype": "FP33", "shape": [1], "data": [1]}]}',
            "'x': unknown datatype",
        ),
        (
            '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1]}]}',
            "'x': 1 elements in 'data' do not make",
        ),
        (
            '{"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [1.5]}]}',
            "'x' takes INT8, got",
        ),
        ('[{"inputs": []}, {}]', "request 2: expected"),
    ],
)
def test_a_file_without_requests_says_what_is_wrong_with_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "request.json"
    path.write_text(text)
    with pytest.raises(BenchUsageError, match=message):
        read_documents(path)


REQUEST = {
    "id": "mine",
    "parameters": {"priority": 2},
    "inputs": [
        {"name": "x", "datatype": "FP16", "shape": [1, 2], "data": [[0.5, 2]]},
        {
            "name": "t",
            "datatype": "BYTES",
            "shape": [2],
            "data": ["a", "ü"],
            "parameters": {"content_type": "str"},
        },
    ],
    "outputs": [{"name": "y", "parameters": {"classification": 3}}],
}


def test_a_request_of_ones_own_goes_over_rest_in_json_but_for_its_id() -> None:
    sent = prepare(document_of(REQUEST, "file"), Form(REST, "m", binary=False, batches=True))
    head, _, body = sent.bytes(IDENT).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h:1\r\n")
    assert f"\r\nContent-Length: {len(body)}".encode() in head
    tensors = [{**REQUEST["inputs"][0], "data": [0.5, 2]}, {**REQUEST["inputs"][1]}]  # type: ignore[index]
    tensors[1].pop("parameters")
    assert json.loads(body) == {**REQUEST, "id": IDENT.decode(), "inputs": tensors}
    assert sent.rows == 1
    assert sent.size == len(head) + 4 + len(body)


def test_headers_are_those_of_each_request() -> None:
    target = replace(REST, headers=(("authorization", "Bearer x"),))
    sent = prepare(document_of(REQUEST, "file"), Form(target, "m")).bytes(IDENT)
    assert b"\r\nauthorization: Bearer x\r\n" in sent.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert "Bearer" not in repr(target)


def test_binary_tensors_stand_behind_their_header() -> None:
    sent = prepare(document_of(REQUEST, "file"), Form(REST, "m", "PROD", binary=True)).bytes(IDENT)
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/m/versions/PROD/infer ")
    [length] = [line for line in head.split(b"\r\n") if line.startswith(b"Inference-Header-Content-Length: ")]
    size = int(length.rpartition(b" ")[2])
    told = json.loads(body[:size])
    assert [each["parameters"]["binary_data_size"] for each in told["inputs"]] == [4, 4 + 1 + 4 + 2]
    assert body[size:] == np.array([0.5, 2], np.float16).tobytes() + b"\1\0\0\0a\2\0\0\0\xc3\xbc"
    assert told["parameters"] == {"binary_data_output": True, "priority": 2}


def test_the_same_over_grpc() -> None:
    sent = prepare(document_of(REQUEST, "file"), Form(GRPC, "m", "2"))
    message = pb.ModelInferRequest.FromString(sent.bytes(IDENT))
    assert (message.model_name, message.model_version, message.id) == ("m", "2", IDENT.decode())
    assert [(each.name, each.datatype, [*each.shape]) for each in message.inputs] == [
        ("x", "FP16", [1, 2]),
        ("t", "BYTES", [2]),
    ]
    assert message.raw_input_contents[0] == np.array([0.5, 2], np.float16).tobytes()
    assert message.parameters["priority"].int64_param == 2
    assert message.outputs[0].parameters["classification"].int64_param == 3


@pytest.mark.parametrize("target", [REST, GRPC])
def test_requests_of_a_model_with_sequences_are_sequences_of_their_own(target: object) -> None:
    assert target in (REST, GRPC)
    form = Form(target, "m", binary=False, sequences=True)  # type: ignore[arg-type]
    content = prepare(document_of(REQUEST, "file"), form).bytes(IDENT)
    if target is REST:
        parameters = json.loads(content.partition(b"\r\n\r\n")[2])["parameters"]
    else:
        found = pb.ModelInferRequest.FromString(content).parameters
        parameters = {
            name: getattr(each, each.WhichOneof("parameter_choice")) for name, each in found.items()
        }
    assert parameters == {
        "sequence_id": IDENT.decode(), "sequence_start": True, "sequence_end": True, "priority": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("vary", "documents", "different"),
    [(Vary.VALUES, 128, 300), (Vary.IDS, 1, 300), (Vary.NOTHING, 1, 1)],
)
def test_what_varies(vary: Vary, documents: int, different: int) -> None:
    found = documents_of(VIEW, Source(IDS, vary=vary))
    assert len(found) == documents
    assert len({each.inputs[0].array.tobytes() for each in found}) == documents
    sent = [*islice(stream(prepare_all(found, Form(GRPC, "m")), vary), 300)]
    assert len({content for _, content in sent}) == different
    assert len({len(content) for _, content in sent}) == 1


def test_large_requests_are_not_kept_a_hundred_times() -> None:
    view = ModelView("m", (TensorView("x", UINT8, (5 * 2**20,)),))
    assert len(documents_of(view, Source(Wishes()))) == 64 // 5


def test_bytes_that_are_no_text_are_base64_in_json() -> None:
    view = ModelView("m", (TensorView("t", BYTES, (1,)), TensorView("h", FP16, (1,))))
    [document] = documents_of(view, Source(Wishes(values={"t": '"a"', "h": "[0.1]"})))
    document.inputs[0].array[0] = b"\xff"
    body = prepare(document, Form(REST, "m", binary=False)).bytes(IDENT).partition(b"\r\n\r\n")[2]
    tensor = json.loads(body)["inputs"][0]
    assert (tensor["data"], tensor["parameters"]) == (["/w=="], {"content_type": "base64"})
