"""Large requests in each of the ways that there are, and the models that they are for."""

import base64
import gzip
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.odd_requests import odd_requests, write_odd_models
from benchmarks.request import METHOD, Request, as_json, handler
from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.tensors.datatypes import BY_NAME

_ROW = 784
_BACK = ", there and back"

# Datatypes and dims of inputs, by model, and the largest batch. Each gives back its inputs as they are, and there is
# another one, with `-short` to its name, that gives back the beginning of each.
_MODELS: dict[str, tuple[dict[str, tuple[str, list[int]]], int]] = {
    "flat": ({"X": ("FP32", [-1])}, 0),
    "grid": ({"X": ("FP32", [-1, _ROW])}, 0),
    "texts": ({"X": ("BYTES", [-1])}, 0),
    "flags": ({"X": ("BOOL", [-1])}, 0),
    "rows": ({"X": ("FP32", [_ROW]), "N": ("INT32", [1])}, 1_000_000),
    "scores": ({"X": ("FP32", [1])}, 10_000_000),
    "halves": ({"X": ("FP16", [-1])}, 0),
    "integers": ({"X": ("INT32", [-1])}, 0),
    "longs": ({"X": ("INT64", [-1])}, 0),
}
_MANY_MODELS = 1000
_ARCHIVED = """
def handle(data, context):
    return [row["body"] if context.model_name == "flat" else "done" for row in data or ()]
"""
_PROPERTIES = """
inference_address=http://127.0.0.1:0
management_address=http://127.0.0.1:0
metrics_address=http://127.0.0.1:0
grpc_inference_port=0
grpc_management_port=0
load_models=all
max_request_size=1000000000
max_response_size=1000000000
models={"flat": {"1.0": {"minWorkers": 1}}, "flat-short": {"1.0": {"minWorkers": 1}}}
"""


def write_models(repository: Path) -> None:
    """Write all of them."""
    for name, (inputs, batch) in _MODELS.items():
        for model, part in ((name, ""), (f"{name}-short", "" if batch else "[:1]")):
            (repository / model / "1").mkdir(parents=True)
            code = handler(inputs, batch, part)
            (repository / model / "1" / "model.py").write_text(code)
    write_odd_models(repository)


def write_many_models(repository: Path) -> None:
    """Write very many small ones."""
    for number in range(_MANY_MODELS):
        folder = repository / f"model{number}"
        (folder / "1").mkdir(parents=True)
        code = handler(_MODELS["flat"][0])
        (folder / "1" / "model.py").write_text(code)


def write_archives(store: Path) -> Path:
    """Write those of TorchServe. Returns its config.properties."""
    store.mkdir()
    for name in ("flat", "flat-short"):
        manifest = {"model": {"modelName": name, "handler": "handler.py", "modelVersion": "1.0"}}
        with zipfile.ZipFile(store / f"{name}.mar", "w") as archive:
            archive.writestr("handler.py", _ARCHIVED)
            archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    properties = store.parent / "config.properties"
    properties.write_text(_PROPERTIES)
    return properties


def requests(mib: float) -> dict[str, Request]:
    """All of them by what they are, with so much of text, or of tensors."""
    size = int(mib * 2**20)
    values = np.random.default_rng(1).random(size // 4, np.float32)
    numbers = values[: size // 10].astype(float).round(7).tolist()
    found = dict(_in_json(size, numbers))
    found |= _broken(size, numbers)
    for name in ("infer", "v1 inputs"):
        plain = found[f"{name}: flat"]
        coded = plain._replace(body=gzip.compress(plain.body, 1), headers={"content-encoding": "gzip"})
        found[f"{name}: flat, gzip"] = coded
    for name in ("infer", "v1 inputs"):
        back = found[f"{name}: flat{_BACK}"]
        found[f"{name}: flat, gzip back"] = back._replace(headers={"accept-encoding": "gzip"})
    found |= _files(size, numbers)
    found |= _halves(values[: size // 8].astype(np.float16).astype(float).tolist())
    found |= _binary(
        "flat", "FP32", values.size, values.tobytes(), pb.InferTensorContents(fp32_contents=values)
    )
    words = [word.encode() for word in _words(size)]
    raw = b"".join(len(word).to_bytes(4, "little") + word for word in words)
    found |= _binary("texts", "BYTES", len(words), raw, pb.InferTensorContents(bytes_contents=words))
    found |= dict(_integers(size))
    found |= _odd_texts(size, len(words), raw)
    for model in ("flat-short", "flat"):
        where, what = f"/predictions/{model}", "TorchServe" + (_BACK if model == "flat" else "")
        kind = {"content-type": "application/json"}
        found[what] = Request(where, orjson.dumps(numbers), kind, server="TorchServe inference")
    return found | odd_requests(size, numbers) | _of_many_models()


def _halves(numbers: list[float]) -> Iterator[tuple[str, Request]]:
    for model, what in _both("halves"):
        yield f"generate: {what}", as_json(f"/v2/models/{model}/generate", {"X": numbers})
        yield f"v1 inputs: {what}", as_json(f"/v1/models/{model}:predict", {"inputs": numbers})


def _integers(size: int) -> Iterator[tuple[str, Request]]:
    """In typed contents, and booleans: small ones take a byte each, negative ones ten."""
    draw = np.random.default_rng(2).integers
    limits = np.iinfo(np.int64)
    given = {
        "integers": ("integers", "INT32", draw(100, size=size)),
        "integers, negative": ("integers", "INT32", draw(-(2**31), 0, size // 10)),
        "integers, mixed": ("integers", "INT32", 1 << draw(31, size=size // 3)),
        "integers, INT64": ("longs", "INT64", draw(limits.min, limits.max, size // 10)),
        "integers, small INT64": ("longs", "INT64", draw(100, size=size)),
        "flags": ("flags", "BOOL", draw(2, size=size)),
    }
    for what, (model, datatype, values) in given.items():
        message = pb.ModelInferRequest(model_name=f"{model}-short")
        tensor = message.inputs.add(name="X", datatype=datatype, shape=[values.size])
        getattr(tensor.contents, BY_NAME[datatype].contents_field).extend(values.tolist())
        for method in ("ModelInfer", "ModelStreamInfer"):
            request = Request(METHOD + method, message.SerializeToString(), server="gRPC")
            yield f"{method}, typed: {what}", request


def _odd_texts(size: int, count: int, raw: bytes) -> Iterator[tuple[str, Request]]:
    """Of other lengths, in more than one list, with commas in them, or what is none."""
    short = [b"%02d" % (number % 100) for number in range(size // 6)]
    packed = b"".join(b"\2\0\0\0" + each for each in short)
    sentences = [f"Number {number}, {number + 1}, and so on" for number in range(size // 40)]
    pairs = [sentences[at : at + 2] for at in range(0, len(sentences) - 1, 2)]
    item = {"name": "X", "datatype": "BYTES"}
    for model, back in (("texts-short", ""), ("texts", _BACK)):
        path = f"/v2/models/{model}/infer"
        yield f"infer, binary: short texts{back}", _raw_texts(path, len(short), packed)
        yield f"infer, binary: empty texts{back}", _raw_texts(path, size // 4, bytes(size // 4 * 4))
        document = {"inputs": [{**item, "shape": [len(sentences)], "data": sentences}]}
        yield f"infer: sentences{back}", as_json(path, document)
        nested = {"inputs": [{**item, "shape": [2 * len(pairs)], "data": pairs}]}
        yield f"infer: pairs of sentences{back}", as_json(path, nested)
    for what, data in (("cut off", raw[:-1]), ("too many", raw + bytes(4))):
        wrong = _raw_texts("/v2/models/texts-short/infer", count, data)
        yield f"infer, binary: texts, {what}", wrong._replace(status=400)


def _raw_texts(path: str, count: int, data: bytes) -> Request:
    parameters = {"binary_data_size": len(data)}
    item = {"name": "X", "datatype": "BYTES", "shape": [count], "parameters": parameters}
    head = orjson.dumps({"inputs": [item], "parameters": {"binary_data_output": True}})
    return Request(path, head + data, {"inference-header-content-length": str(len(head))})


def _words(size: int) -> list[str]:
    return [f"word {number}" for number in range(size // 14)]


def _both(name: str) -> Iterator[tuple[str, str]]:
    """The models of a name, and what is said of requests to them."""
    yield f"{name}-short", name
    yield name, name + _BACK


def _in_json(size: int, numbers: list[float]) -> Iterator[tuple[str, Request]]:
    rows = [numbers[at : at + _ROW] for at in range(0, len(numbers) - _ROW, _ROW)]
    flags = [number % 3 == 0 for number in range(size // 6)]
    given: dict[str, list[Any]] = {"flat": numbers, "grid": rows, "texts": _words(size), "flags": flags}
    for name, data in given.items():
        shape = [len(rows), _ROW] if name == "grid" else [len(data)]
        for model, what in _both(name):
            item = {"name": "X", "datatype": _MODELS[name][0]["X"][0], "shape": shape, "data": data}
            for verb in ("infer", "infer_stream"):
                yield f"{verb}: {what}", as_json(f"/v2/models/{model}/{verb}", {"inputs": [item]})
            for verb in ("generate", "generate_stream"):
                yield f"{verb}: {what}", as_json(f"/v2/models/{model}/{verb}", {"X": data})
            for form in ("inputs", "instances"):
                yield f"v1 {form}: {what}", as_json(f"/v1/models/{model}:predict", {form: data})
    numbered = [[number] for number in range(len(rows))]
    named = [{"X": row, "N": number} for row, number in zip(rows, numbered, strict=True)]
    yield "generate: rows", as_json("/v2/models/rows/generate", {"X": rows, "N": numbered})
    yield "v1 inputs: rows", as_json("/v1/models/rows:predict", {"inputs": {"X": rows, "N": numbered}})
    yield "v1 instances: rows", as_json("/v1/models/rows:predict", {"instances": named})
    examples = [{"X": number} for number in numbers[: size // 16]]
    yield "v1 regress", as_json("/v1/models/scores:regress", {"examples": examples})


def _broken(size: int, numbers: list[float]) -> Iterator[tuple[str, Request]]:
    """With what only few parsers know, or what is wrong."""
    item = {"name": "X", "datatype": "FP32", "shape": [len(numbers)]}
    for what, last, status in (("NaN in it", float("nan"), 200), ("a text in it", "1", 400)):
        data = [*numbers[:-1], last]
        documents: dict[str, tuple[str, object]] = {
            "infer": ("/v2/models/flat-short/infer", {"inputs": [{**item, "data": data}]}),
            "generate": ("/v2/models/flat-short/generate", {"X": data}),
            "v1 inputs": ("/v1/models/flat-short:predict", {"inputs": data}),
        }
        for name, (path, document) in documents.items():
            yield f"{name}: {what}", as_json(path, document)._replace(status=status)
            if status != 200:
                yield f"{name}: cut off", Request(path, orjson.dumps(document)[:-2], status=status)
                yield f"{name}: no JSON", Request(path, b"\xff" * size, status=status)


def _files(size: int, numbers: list[float]) -> Iterator[tuple[str, Request]]:
    """What is in base64, or in forms."""
    small = size // 100
    for what, images in {"an image": [size * 3 // 4], "images": [small * 3 // 4] * 100}.items():
        data = [base64.b64encode(os.urandom(each)).decode() for each in images]
        coded = [{"b64": each} for each in data]
        item = {"name": "X", "datatype": "BYTES", "shape": [len(data)], "data": data}
        yield f"generate: {what}", as_json("/v2/models/texts-short/generate", {"X": coded})
        yield f"v1 instances: {what}", as_json("/v1/models/texts-short:predict", {"instances": coded})
        yield f"infer: {what}", as_json("/v2/models/texts-short/infer", {"inputs": [item]})
        said = {**item, "parameters": {"content_type": "base64"}}
        wanted = [{"name": "YX", "parameters": {"content_type": "base64"}}]
        document = {"inputs": [said], "outputs": wanted}
        yield f"infer, base64: {what}", as_json("/v2/models/texts-short/infer", document)
        yield f"infer, base64: {what}{_BACK}", as_json("/v2/models/texts/infer", document)
        yield f"generate: {what}{_BACK}", as_json("/v2/models/texts/generate", {"X": coded})
        yield f"v1 instances: {what}{_BACK}", as_json("/v1/models/texts:predict", {"instances": coded})
    kind = {"content-type": "multipart/form-data; boundary=b"}
    for what, model, data_ in (
        ("a file", "texts", os.urandom(size)),
        ("numbers", "flat", orjson.dumps(numbers)),
    ):
        head = b'--b\r\ncontent-disposition: form-data; name="X"; filename="f"\r\n\r\n'
        body = head + data_ + b"\r\n--b--\r\n"
        yield f"generate: a form, {what}", Request(f"/v2/models/{model}-short/generate", body, kind)
        where = "/predictions/flat-short"
        yield f"TorchServe: a form, {what}", Request(where, body, kind, server="TorchServe inference")
    image = Request("/v2/models/texts-short/generate", os.urandom(size), {"content-type": "image/png"})
    yield "generate: the body", image
    where, coded_kind = "/predictions/flat-short", {"content-type": "image/png"}
    yield "TorchServe: the body", Request(where, image.body, coded_kind, server="TorchServe inference")
    code = b"#" * (size * 3 // 4) + b"\n" + handler(_MODELS["flat"][0]).encode()
    file = base64.b64encode(code).decode()
    config = orjson.dumps({"backend": "python"}).decode()
    document = {"parameters": {"config": config, "file:1/model.py": file}}
    yield "load, with a file", as_json("/v2/repository/models/given/load", document)


def _binary(
    name: str, datatype: str, count: int, data: bytes, contents: pb.InferTensorContents
) -> Iterator[tuple[str, Request]]:
    item = {
        "name": "X",
        "datatype": datatype,
        "shape": [count],
        "parameters": {"binary_data_size": len(data)},
    }
    tensor = pb.ModelInferRequest.InferInputTensor(name="X", datatype=datatype, shape=[count])
    head = orjson.dumps({"inputs": [item], "parameters": {"binary_data_output": True}})
    for model, what in _both(name):
        length = {"inference-header-content-length": str(len(head))}
        yield f"infer, binary: {what}", Request(f"/v2/models/{model}/infer", head + data, length)
        message = pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[data])
        for method in ("ModelInfer", "ModelStreamInfer"):
            request = Request(METHOD + method, message.SerializeToString(), server="gRPC")
            yield f"{method}: {what}", request
            if name == "flat":
                yield f"{method}: {what}, gzip", request._replace(server="compressed gRPC", gzip=True)
    message = pb.ModelInferRequest(model_name=f"{name}-short", inputs=[tensor])
    message.inputs[0].contents.CopyFrom(contents)
    yield (
        f"ModelInfer, typed: {name}",
        Request(f"{METHOD}ModelInfer", message.SerializeToString(), server="gRPC"),
    )


def _of_many_models() -> dict[str, Request]:
    """What is asked a server that has very many models."""
    rest, rpc = "many REST", "many gRPC"
    return {
        "1,000 models: index": Request("/v2/repository/index", b"{}", server=rest),
        "1,000 models: statistics": Request("/v2/models/stats", b"", server=rest),
        "1,000 models: v1": Request("/v1/models", b"", server=rest),
        "1,000 models: index, gRPC": Request(f"{METHOD}RepositoryIndex", b"", server=rpc),
        "1,000 models: statistics, gRPC": Request(f"{METHOD}ModelStatistics", b"", server=rpc),
        "1,000 models: metrics": Request("/metrics", b"", server="many Metrics"),
    }
