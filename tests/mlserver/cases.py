"""Requests to the models beside this, for our server and a real MLServer; see `compare`."""

from typing import Any

Json = dict[str, Any]
Case = tuple[str, str, str | Json | None]


def tensor(name: str, shape: list[int], data: Any, datatype: str = "FP32", **parameters: Any) -> Json:
    said = {"parameters": parameters} if parameters else {}
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **said}


def infer(model: str, *inputs: Json, operation: str = "infer", **more: Any) -> Case:
    return "POST", f"/v2/models/{model}/{operation}", {"id": "1", "inputs": list(inputs), **more}


def ask(what: str, *inputs: Json) -> Case:
    return infer("codecs", *(inputs or [tensor("x", [1], [1])]), parameters={"ask": what})


def texts(name: str, *data: Any, **parameters: Any) -> Json:
    return tensor(name, [len(data)], list(data), "BYTES", **parameters)


SAME: dict[str, Case] = {
    "flat": infer("echo", tensor("x", [1, 2], [0.5, 1])),
    "not exact in FP32": infer("echo", tensor("x", [1, 2], [0.1, 1e30])),
    "one dimension": infer("echo", tensor("x", [2], [0.5, 1])),
    "nested, with null": infer("echo", tensor("x", [1, 2], [[0.5, None]])),
    "INT64": infer("echo", tensor("x", [2, 2], [[1, 2], [3, 4]], "INT64")),
    "UINT8": infer("echo", tensor("x", [2, 2], [1, 2, 3, 200], "UINT8")),
    "FP16": infer("echo", tensor("x", [1, 2], [1.5, 2.5], "FP16")),
    "BOOL": infer("echo", tensor("x", [1, 2], [True, False], "BOOL")),
    "undeclared name": infer("echo", tensor("y", [1, 2], [1, 2], "INT32")),
    "unknown content type": infer("echo", tensor("x", [1, 2], [1, 2], content_type="nosuch")),
    "parameters of any kind": infer(
        "echo", tensor("x", [1, 2], [1, 2]), parameters={"content_type": "np", "other": [1, 2]}
    ),
    "an error for the client": infer("echo", tensor("bad", [1, 2], [1, 2])),
    "by version": (
        "POST",
        "/v2/models/echo/versions/v2/infer",
        infer("echo", tensor("x", [1, 2], [1, 2]))[2],
    ),
    "generate": infer("echo", tensor("x", [1, 2], [1, 2]), operation="generate"),
    "one event": infer("echo", tensor("x", [1, 2], [1, 2]), operation="infer_stream"),
    "predict of a model that streams": infer("words", texts("x", "a b")),
    "events": infer("words", texts("x", "a b c"), operation="infer_stream"),
    "generate_stream": infer("words", texts("x", "a b c"), operation="generate_stream"),
    "one request of a batch": infer("rows", tensor("x", [2, 2], [1, 2, 3, 4])),
    "a route": ("GET", "/hello/bob?times=2", None),
    "a route's argument": ("GET", "/hello/bob?times=z", None),
    "by the model's content type": infer("codecs", tensor("x", [1, 2], [1, 2], "INT32")),
    "by the declared content type": infer("codecs", texts("declared", "a", "ü")),
    "str": infer("codecs", texts("x", "a", "ü", content_type="str"), parameters={"content_type": "str"}),
    "base64": infer("codecs", texts("x", "AP8=", "no base64!", content_type="base64")),
    "datetime": infer(
        "codecs",
        texts("x", "2024-05-06T07:08:09", content_type="datetime"),
        parameters={"content_type": "nosuch"},
    ),
    "BYTES as an array": infer("codecs", tensor("x", [2, 1], ["a", "bc"], "BYTES", content_type="np")),
    "pd": infer(
        "codecs",
        tensor("a", [2, 1], [1, 2], "INT64"),
        tensor("b", [2, 1], ["x", "y"], "BYTES", content_type="str"),
        tensor("c", [2], [0.5, None], "FP64"),
        tensor("d", [2, 1], ['{"k":1}', "[2]"], "BYTES", content_type="pd_json"),
        tensor("e", [2, 1], [[1], [2]], "FP32", content_type="np"),
        parameters={"content_type": "pd"},
    ),
    "two tensors for a codec of one": infer("codecs", tensor("a", [1], [1]), tensor("b", [1], [1])),
    "a frame": ask("frame"),
    "texts": ask("texts"),
    "several": ask("several"),
    "what no codec is for": ask("unencodable"),
    "decode_args": ask("typed", texts("when", "2024-05-06T07:08:09"), texts("data", "AP8=")),
    "decode_args, and a frame of the rest": ask(
        "typed", texts("when", "2024-05-06"), tensor("p", [2, 1], [1, 2], "INT32"), texts("q", "x", "y")
    ),
}
"""What both answer alike, in status, headers of the model's, and JSON."""

DIFFERENT: dict[str, tuple[Case, int, str]] = {
    "no JSON": (
        ("POST", "/v2/models/echo/infer", '{"inputs":['),
        400,
        "failed to parse the request JSON buffer: ",
    ),
    "no object": (("POST", "/v2/models/echo/infer", "[]"), 400, "the request: Input should be a valid "),
    "members missing": (
        ("POST", "/v2/models/echo/infer", {"inputs": [{"name": "x", "shape": [1]}]}),
        400,
        "inputs[0].datatype: Field required; inputs[0].data: Field required",
    ),
    "no datatype": (
        infer("echo", tensor("x", [1], [1], "FP33")),
        400,
        "inputs[0].datatype: Input should be 'BOOL'",
    ),
    "an error of the model's": (
        infer("echo", tensor("boom", [1, 2], [1, 2])),
        500,
        "Failed to process the request(s) for model 'echo_0', message: ValueError: oops (request_id=",
    ),
    "an argument missing": (
        ask("typed", texts("data", "AP8=")),
        500,
        "Failed to process the request(s) for model 'codecs_0', message: TypeError: ",
    ),
    "unknown model": (
        ("POST", "/v2/models/nosuch/infer", {"inputs": []}),
        404,
        "Request for unknown model: 'nosuch' ",
    ),
    "unknown version": (
        ("POST", "/v2/models/echo/versions/v9/infer", {"inputs": []}),
        404,
        "Request for unknown model: 'echo' has no version 'v9', which is neither a number nor a label of this model: its labels are v2, ",
    ),
}
"""What ours answers, by status and the beginning of its error: as it does for models of every other kind."""
