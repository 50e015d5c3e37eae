"""Large requests of kinds that are seldom sent: broken somewhere, with escapes and blanks, of very many small parts;
and such whose answers are large whatever was asked. With the models that they are for.
"""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from google.protobuf.message import Message

from benchmarks.request import METHOD, Request, as_json, handler
from kserve_v2._generated import grpc_service_pb2 as pb

_TENSORS = _STEPS = 1000
_WIDE = {f"X{number}": ("FP32", [-1]) for number in range(_TENSORS)}
_CLASSES = 1000
_SCORES = {"X": ("FP32", [_CLASSES])}


def write_odd_models(repository: Path) -> None:
    """Write a model of very many tensors, one whose outputs are scores, and an ensemble of very many steps."""
    for name, inputs, batch in (("wide", _WIDE, 0), ("scores-of-classes", _SCORES, 1_000_000)):
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "1" / "model.py").write_text(handler(inputs, batch))
    steps = [
        f'step {{ model_name: "flat" model_version: -1 input_map {{ key: "X" value: "x{number}" }} '
        f'output_map {{ key: "YX" value: "x{number + 1}" }} }}'
        for number in range(_STEPS)
    ]
    ends = [f'{{ name: "{name}" data_type: TYPE_FP32 dims: [ -1 ] }}' for name in ("x0", f"x{_STEPS}")]
    (repository / "chain" / "1").mkdir(parents=True)
    (repository / "chain" / "config.pbtxt").write_text(
        f'platform: "ensemble" input {ends[0]} output {ends[1]} ensemble_scheduling {{ {" ".join(steps)} }}'
    )


def odd_requests(size: int, numbers: list[float]) -> dict[str, Request]:
    """All of them by what they are, with so much of text, or of tensors."""
    found = dict(_broken(size, numbers))
    found |= _escaped(size)
    found |= _of_many_parts(size)
    found |= _of_many_parts_over_grpc(size)
    found |= _classified(size)
    found |= {
        "metadata of 1,000 tensors": Request("/v2/models/wide", b""),
        "configuration of 1,000 tensors": Request("/v2/models/wide/config", b""),
        "configuration of 1,000 steps": Request("/v2/models/chain/config", b""),
        "v1 metadata of 1,000 tensors": Request("/v1/models/wide/metadata", b""),
        "metadata of 1,000 tensors, gRPC": _call("ModelMetadata", pb.ModelMetadataRequest(name="wide")),
        "configuration of 1,000 steps, gRPC": _call("ModelConfig", pb.ModelConfigRequest(name="chain")),
    }
    return found


def _call(method: str, message: Message, status: int = 200) -> Request:
    return Request(METHOD + method, message.SerializeToString(), status=status, server="gRPC")


def _broken(size: int, numbers: list[float]) -> Iterator[tuple[str, Request]]:
    """In the middle, or at the end."""
    item = {"name": "X", "datatype": "FP32", "shape": [len(numbers)], "data": numbers}
    texts = [f"word {number}" for number in range(size // 14)]
    rows = [{"X": [number], "N": [1]} for number in numbers[: size // 16]]
    image = [{"b64": base64.b64encode(os.urandom(size * 3 // 4)).decode()}]
    documents: dict[str, tuple[str, object]] = {
        "infer": ("/v2/models/flat-short/infer", {"inputs": [item]}),
        "generate": ("/v2/models/flat-short/generate", {"X": numbers}),
        "generate, texts": ("/v2/models/texts-short/generate", {"X": texts}),
        "generate, an image": ("/v2/models/texts-short/generate", {"X": image}),
        "v1 inputs": ("/v1/models/flat-short:predict", {"inputs": numbers}),
        "v1 rows": ("/v1/models/rows-short:predict", {"instances": rows}),
    }
    for name, (path, document) in documents.items():
        text = orjson.dumps(document)
        half = text.rfind(b",", 0, len(text) // 2) + 1 or len(text) // 2
        for what, body in {
            "cut off in the middle": text[:half],
            "cut off at the end": text[:-3],
            "a bracket too many": text[:half] + b"}" + text[half:],
            "a zero too many": text[:half] + b"01," + text[half:],
            "a comma too many": text[:-2] + b"," + text[-2:],
            "a bad escape": text[:half] + b'"\\x",' + text[half:],
        }.items():
            yield f"{name}: {what}", Request(path, body, status=400)
    path = "/v2/models/flat-short/infer"
    for what, body in {
        "blanks": b" " * size,
        "brackets": b"[" * size,
        "braces": b'{"a":' * (size // 5),
    }.items():
        yield f"infer: {what}", Request(path, body, status=400)


def _escaped(size: int) -> Iterator[tuple[str, Request]]:
    """Long texts as encoders of other languages write them."""
    plain = base64.b64encode(os.urandom(size * 3 // 4)).decode()
    lines = "\r\n".join(plain[at : at + 76] for at in range(0, len(plain), 76))
    sentence = 'She said "yes", or\n"no": é \\ /'
    prose = sentence * (size // len(sentence.encode()))
    for what, text in {
        "base64 in lines": orjson.dumps(lines),
        "base64, escaped": orjson.dumps(plain).replace(b"/", b"\\/"),
        "prose": orjson.dumps(prose),
        "prose, escaped": orjson.dumps(prose).replace("é".encode(), b"\\u00e9"),
    }.items():
        coded = "base64" in what
        value = b'{"b64":%b}' % text if coded else text
        form = b',"parameters":{"content_type":"base64"}' if coded else b""
        item = b'{"name":"X","datatype":"BYTES","shape":[1],"data":[%b]%b}' % (text, form)
        wanted = b',"outputs":[{"name":"YX"%b}]' % form
        yield f"infer: {what}", Request("/v2/models/texts-short/infer", b'{"inputs":[%b]%b}' % (item, wanted))
        yield f"generate: {what}", Request("/v2/models/texts-short/generate", b'{"X":[%b]}' % value)
        yield f"generate: {what}, alone", Request("/v2/models/texts-short/generate", b'{"X":%b}' % value)
        instances = b'{"instances":[%b]}' % value
        yield f"v1 instances: {what}", Request("/v1/models/texts-short:predict", instances)

    wrong = b'{"b64":"%b"}' % (plain[:-4] + "!AAA").encode()
    path = "/v2/models/texts-short/generate"
    yield "generate: wrong base64 at the end", Request(path, b'{"X":[%b]}' % wrong, status=400)
    text = b'{"X":"a","p":"%b"}' % plain.encode()
    yield "generate: a long parameter", Request(path, text)


def _of_many_parts(size: int) -> Iterator[tuple[str, Request]]:
    path = "/v2/models/flat-short/infer"
    one = {"name": "X", "datatype": "FP32", "shape": [1], "data": [1]}
    yield (
        "infer: 1,000 inputs",
        as_json("/v2/models/wide/infer", {"inputs": [{**one, "name": each} for each in _WIDE]}),
    )
    yield "generate: 1,000 inputs", as_json("/v2/models/wide/generate", dict.fromkeys(_WIDE, 1))
    parameters = {f"p{number}": number for number in range(size // 16)}
    documents: dict[str, tuple[dict[str, Any], int]] = {
        "inputs": ({"inputs": [{**one, "name": f"X{number}"} for number in range(size // 60)]}, 400),
        "outputs": (
            {"inputs": [one], "outputs": [{"name": f"Y{number}"} for number in range(size // 16)]},
            400,
        ),
        "parameters": ({"inputs": [one], "parameters": parameters}, 400),
        "unknown members": ({"inputs": [one], "others": [{} for _ in range(size // 3)]}, 400),
        "lists of one number": ({"inputs": [{**one, "data": [[[[1]]]] * (size // 10)}]}, 400),
        "empty lists": ({"inputs": [{**one, "data": [[]] * (size // 3)}]}, 400),
    }
    for what, (document, status) in documents.items():
        yield f"infer: very many {what}", as_json(path, document)._replace(status=status)
    yield "infer: a long id", as_json(path, {"inputs": [one], "id": "i" * size})._replace(status=400)
    text = orjson.dumps({"inputs": [one]})
    yield "infer: blanks in it", Request(path, text[:-1] + b" " * size + text[-1:])
    yield (
        "generate: very many parameters",
        as_json("/v2/models/flat-short/generate", {"X": [1], **parameters})._replace(status=400),
    )
    for what, where in {"index": "/v2/repository/index", "load": "/v2/repository/models/flat/load"}.items():
        yield f"{what}: very many members", as_json(where, {"parameters": parameters})._replace(status=400)


def _of_many_parts_over_grpc(size: int) -> Iterator[tuple[str, Request]]:
    one = pb.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=[1])
    one.contents.fp32_contents.append(1)

    def message(**more: Any) -> pb.ModelInferRequest:
        return pb.ModelInferRequest(model_name="flat-short", **{"inputs": [one], **more})

    asked = pb.ModelInferRequest.InferRequestedOutputTensor
    parameter = pb.InferParameter(int64_param=1)
    names = range(size // 16)
    yield "ModelInfer: very many inputs", _call("ModelInfer", message(inputs=[one] * (size // 32)), 400)
    yield (
        "ModelInfer: very many outputs",
        _call("ModelInfer", message(outputs=[asked(name=f"Y{n}") for n in names]), 400),
    )
    yield (
        "ModelInfer: very many parameters",
        _call("ModelInfer", message(parameters={f"p{n}": parameter for n in names}), 400),
    )
    yield "ModelInfer: a long id", _call("ModelInfer", message(id="i" * size), 400)
    load = pb.RepositoryModelLoadRequest(model_name="given")
    load.parameters["config"].string_param = '{"backend": "python"}'
    load.parameters["file:1/model.py"].bytes_param = b"#" * size + b"\n" + handler(_SCORES).encode()
    yield "load, with a file, gRPC", _call("RepositoryModelLoad", load)


def _classified(size: int) -> Iterator[tuple[str, Request]]:
    data = os.urandom(size // 8) * 8
    data = data[: len(data) // (4 * _CLASSES) * 4 * _CLASSES]
    for model, shape in {
        "flat": [len(data) // 4],
        "scores-of-classes": [len(data) // 4 // _CLASSES, _CLASSES],
    }.items():
        item = {
            "name": "X",
            "datatype": "FP32",
            "shape": shape,
            "parameters": {"binary_data_size": len(data)},
        }
        wanted = {"name": "YX", "parameters": {"classification": 5}}
        head = orjson.dumps({"inputs": [item], "outputs": [wanted]})
        length = {"inference-header-content-length": str(len(head))}
        yield f"infer: classes, {model}", Request(f"/v2/models/{model}/infer", head + data, length)
        tensor = pb.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=shape)
        output = pb.ModelInferRequest.InferRequestedOutputTensor(name="YX")
        output.parameters["classification"].int64_param = 5
        message = pb.ModelInferRequest(
            model_name=model, inputs=[tensor], outputs=[output], raw_input_contents=[data]
        )
        yield f"ModelInfer: classes, {model}", _call("ModelInfer", message)
