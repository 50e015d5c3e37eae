"""The REST side of the deliberately wrong server: http.server, and JSON by the standard library."""

import gzip
import json
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import numpy as np
from wrongserver.changes import RestAnswer, rest_changes
from wrongserver.engine import DTYPES, Engine
from wrongserver.raw_tensors import check_count, check_shape, decode_bytes, encode_bytes
from wrongserver.requests import Input, Output, Pretended, Refused, Request, Response

_STATUS = {"INVALID": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503, "UNIMPLEMENTED": 501, "INTERNAL": 500}
_RANGES = {name: np.iinfo(dtype) for name, dtype in DTYPES.items() if dtype.kind in "iu" and name != "BF16"}


class RestFront:
    """Answers requests; `start` serves them on a port of the system's choice."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = front.answer(
                    self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body
                )
                if answer.status == 0:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_DELETE = do_PUT = _serve

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> RestAnswer:
        """The answer to a request, with the changes that the switched-on defects make."""
        if "ends-at-model-ready" in self.engine.defects and path.endswith("/ready") and "/models/" in path:
            self.stop()
            return RestAnswer(0)
        try:
            answer = self._route(method, path.partition("?")[0], headers, body)
        except Refused as error:
            answer = _json({"error": str(error)}, _STATUS[error.kind])
        except Pretended:
            answer = _json({"model_name": "pretended", "outputs": []})
        for change in rest_changes(self.engine.defects, method, path):
            answer = change(answer)
        return answer

    def _route(self, method: str, path: str, headers: dict[str, str], body: bytes) -> RestAnswer:
        for pattern, wanted, view in self._routes():
            if match := re.fullmatch(pattern, path):
                if method not in wanted:
                    return _json({"error": "Method Not Allowed"}, 405)
                found = {name: unquote(value or "") for name, value in match.groupdict().items()}
                return view(found, method, headers, body)
        return _json({"error": "Not Found"}, 404)

    def _routes(self) -> Iterator[tuple[str, str, Callable[..., RestAnswer]]]:
        model, version = "/v2/models/(?P<model>[^/]+)", "(/versions/(?P<version>[^/]+))?"
        region = "/v2/systemsharedmemory(/region/(?P<region>[^/]+))?"
        yield "/v2/?", "GET", self._server
        yield "/v2/health/live", "GET", lambda *_: _json({"live": True})
        yield "/v2/health/ready", "GET", self._ready
        yield "/v2/models/stats", "GET", self._statistics
        yield (
            f"{model}{version}",
            "GET",
            lambda found, *_: _json(self.engine.metadata(found["model"], found["version"])),
        )
        yield f"{model}{version}/ready", "GET", self._model_ready
        yield (
            f"{model}{version}/config",
            "GET",
            lambda found, *_: _json(self.engine.configuration(found["model"], found["version"])),
        )
        yield f"{model}{version}/stats", "GET", self._statistics
        yield f"{model}{version}/infer", "POST", self._infer
        yield f"{model}{version}/generate(?P<stream>_stream)?", "POST", self._generate
        yield "/v2/repository/index", "POST", self._index
        yield "/v2/repository/models/(?P<model>[^/]+)/(?P<verb>load|unload)", "POST", self._repository
        yield f"{region}/status", "GET", self._region_status
        cuda = "/v2/cudasharedmemory(/region/(?P<region>[^/]+))?"
        yield f"{cuda}/status", "GET", self._cuda_status
        yield f"{cuda}/(?P<verb>register|unregister)", "POST", self._cuda_region
        yield f"{region}/(?P<verb>register|unregister)", "POST", self._region
        yield "/v2/trace/setting", "GET POST", self._trace
        yield f"{model}/trace/setting", "GET POST", self._trace
        yield "/v2/logging", "GET POST", self._log

    def _server(self, *_: Any) -> RestAnswer:
        return _json({"name": "wrong", "version": "1.0", "extensions": self.engine.extensions})

    def _ready(self, *_: Any) -> RestAnswer:
        ready = self.engine.server_ready()
        return _json({"live": True, "ready": ready}, 200 if ready else 400)

    def _model_ready(self, found: dict[str, str], *_: Any) -> RestAnswer:
        ready = self.engine.ready(found["model"], found["version"])
        return _json({"name": found["model"], "ready": ready}, 200 if ready else 400)

    def _statistics(self, found: dict[str, str], *_: Any) -> RestAnswer:
        entries = self.engine.statistics(found.get("model", ""), found.get("version", ""))
        return _json({"model_stats": entries})

    def _index(
        self, _found: dict[str, str], _method: str, _headers: dict[str, str], body: bytes
    ) -> RestAnswer:
        return _json(self.engine.index(bool(json.loads(body or b"{}").get("ready"))))

    def _repository(
        self, found: dict[str, str], _method: str, _headers: dict[str, str], body: bytes
    ) -> RestAnswer:
        if found["verb"] == "load":
            self.engine.load(found["model"], self._parse(body or b"{}").get("parameters", {}))
        else:
            self.engine.unload(found["model"])
        return _nothing()

    def _region_status(self, found: dict[str, str], *_: Any) -> RestAnswer:
        members = ("key", "offset", "byte_size")
        regions = self.engine.region_named(found["region"]).items()
        return _json([{"name": name, **dict(zip(members, each, strict=True))} for name, each in regions])

    def _region(
        self, found: dict[str, str], _method: str, _headers: dict[str, str], body: bytes
    ) -> RestAnswer:
        if found["verb"] == "register":
            wanted = self._parse(body)
            if "key" not in wanted:
                raise Refused("the request has no 'key'")
            self.engine.register(found["region"], wanted["key"], wanted.get("offset", 0), wanted["byte_size"])
        else:
            self.engine.unregister(found["region"])
        return _nothing()

    def _cuda_status(self, found: dict[str, str], *_: Any) -> RestAnswer:
        self.engine.cuda_region(found["region"])
        return _json([])

    def _cuda_region(self, found: dict[str, str], *_: Any) -> RestAnswer:
        if found["verb"] == "register":
            self.engine.refuse("cuda-handle", "there is no device")
        return _nothing()

    def _trace(self, found: dict[str, str], method: str, _headers: dict[str, str], body: bytes) -> RestAnswer:
        changes = self._parse(body) if method == "POST" else {}
        return _json(self.engine.trace_setting(found.get("model", ""), changes))

    def _log(self, _found: dict[str, str], method: str, _headers: dict[str, str], body: bytes) -> RestAnswer:
        return _json(self.engine.log_setting(self._parse(body) if method == "POST" else {}))

    # inference

    def _infer(self, found: dict[str, str], _method: str, headers: dict[str, str], body: bytes) -> RestAnswer:
        engine = self.engine
        coding = headers.get("content-encoding", "identity")
        if coding != "identity":
            body = gzip.decompress(body) if coding == "gzip" else zlib.decompress(body)
        length = headers.get("inference-header-content-length")
        if length is not None and int(length) > len(body):
            engine.refuse("header-beyond-body", "the header length is beyond the body")
        if length == "0":
            return self._raw(found, body)
        text = body if length is None else body[: int(length)]
        document = self._parse(text)
        if coding != "identity" and "compressed-misread" in engine.defects:
            for each in document["inputs"]:
                each["data"].reverse()
        request, all_binary = self._request(found, document, body[len(text) :])
        response = engine.infer(request)
        return self._encode(response, all_binary, {name for name, _ in request.outputs or ()})

    def _parse(self, text: bytes) -> dict[str, Any]:
        try:
            document = json.loads(text)
        except ValueError as error:
            self.engine.refuse("json", f"failed to parse the request: {error}")
        if not isinstance(document, dict):
            self.engine.refuse("object", "the request is no object")
        if (
            "member-order" in self.engine.defects
            and "inputs" in document
            and list(document) != sorted(document, key=["id", "inputs", "outputs", "parameters"].index)
        ):
            raise Refused("members out of order")
        return document  # type: ignore[no-any-return]

    def _member(self, document: Any, name: str, kind: type, check: str, default: Any = ...) -> Any:
        value = document.get(name, default) if isinstance(document, dict) else ...
        if value is ... or (
            value is not default
            and (not isinstance(value, kind) or isinstance(value, bool) != (kind is bool))
        ):
            self.engine.refuse(check, f"'{name}' has to be {kind.__name__}")
        return value

    def _request(
        self, found: dict[str, str], document: dict[str, Any], binary: bytes
    ) -> tuple[Request, bool | None]:
        engine = self.engine
        if "unknown-members-refused" in engine.defects and document.keys() - {
            "id",
            "inputs",
            "outputs",
            "parameters",
        }:
            raise Refused("unknown members")
        identifier = self._member(document, "id", str, "id", "")
        parameters = self._member(document, "parameters", dict, "parameters", {})
        if any(not isinstance(value, str | int | float) for value in parameters.values()):
            engine.refuse("parameter-value", "the value of a parameter is no scalar")
        if "empty-parameters-refused" in engine.defects and document.get("parameters") == {}:
            raise Refused("parameters are empty")
        inputs = []
        for entry in self._member(document, "inputs", list, "inputs"):
            if not isinstance(entry, dict):
                engine.refuse("inputs", "an input has to be an object")
            each, binary = self._input(entry, binary)
            inputs.append(each)
        if binary:
            engine.refuse("bytes-left", f"{len(binary)} bytes belong to no tensor")
        outputs = None
        if "outputs" in document:
            listed = self._member(document, "outputs", list, "outputs")
            outputs = [
                (self._member(each, "name", str, "outputs"), each.get("parameters", {})) for each in listed
            ]
        if "positions" in engine.defects and found["model"] in engine.models:
            for each, spec in zip(inputs, engine.models[found["model"]].inputs, strict=False):
                each.name = spec.name
        request = Request(found["model"], found["version"], identifier, parameters, inputs, outputs)
        return request, parameters.get("binary_data_output")

    def _input(self, entry: dict[str, Any], binary: bytes) -> tuple[Input, bytes]:
        engine = self.engine
        name = self._member(entry, "name", str, "name")
        datatype = self._member(entry, "datatype", str, "datatype")
        if datatype not in DTYPES:
            engine.refuse("unknown-datatype", f"invalid datatype '{datatype}'")
        listed = self._member(entry, "shape", list, "shape")
        if any(not isinstance(size, int) for size in listed):
            engine.refuse("shape", "a dimension has to be an integer")
        shape = tuple(listed)
        check_shape(engine, name, shape)
        parameters = entry.get("parameters", {})
        engine.check_place(parameters)
        if "tensor-parameters-refused" in engine.defects and parameters.keys() - {"binary_data_size"}:
            raise Refused("unknown parameters of an input")
        if "shared_memory_region" in parameters:
            if "data" in entry:
                engine.refuse("region-and-data", "an input has either a region or data")
            data = engine.read_region(parameters)
            return Input(name, datatype, shape, decode_bytes(engine, name, datatype, shape, data)), binary
        if "binary_data_size" in parameters:
            size = parameters["binary_data_size"]
            if size > len(binary):
                engine.refuse("bytes-missing", f"{size - len(binary)} bytes of input '{name}' are missing")
            data, binary = binary[:size], binary[size:]
            if "big-endian" in engine.defects and datatype == "INT32":
                data = np.frombuffer(data, ">i4").astype("<i4").tobytes()
            return Input(name, datatype, shape, decode_bytes(engine, name, datatype, shape, data)), binary
        data = self._member(entry, "data", list, "data")
        return Input(name, datatype, shape, self._json_values(name, datatype, shape, data)), binary

    def _json_values(self, name: str, datatype: str, shape: tuple[int, ...], data: list[Any]) -> Any:
        engine = self.engine
        if datatype in ("FP16", "BF16"):
            engine.refuse("half-precision", f"{datatype} has no form in JSON")
        if "nested-refused" in engine.defects and any(isinstance(each, list) for each in data):
            raise Refused("data are nested")
        if (
            "flat-refused" in engine.defects
            and len(shape) > 1
            and not any(isinstance(each, list) for each in data)
        ):
            raise Refused("data are flat")
        flat = _flat(data)
        for each in flat:
            self._check_element(datatype, each)
        if datatype == "BYTES":
            values = np.empty(len(flat), np.object_)
            values[:] = [each.encode() for each in flat]
        else:
            values = np.array(flat, DTYPES[datatype])
        check_count(
            engine, name, len(flat), int(np.prod([int(size) for size in shape], dtype=object)), "json-size"
        )
        if "structure-misread" in engine.defects and len(data) not in (len(flat), shape[0]):
            values = values[::-1]
        if "column-major" in engine.defects and len(shape) == 2:
            values = values.reshape(shape[::-1]).T.reshape(-1)
        return values

    def _check_element(self, datatype: str, each: Any) -> None:
        good = {"BOOL": isinstance(each, bool), "BYTES": isinstance(each, str)}.get(
            datatype,
            isinstance(each, int if datatype in _RANGES else int | float) and not isinstance(each, bool),
        )
        if (
            "whole-numbers-refused" in self.engine.defects
            and datatype.startswith("FP")
            and isinstance(each, int)
        ):
            good = False
        if not good:
            self.engine.refuse("element", f"{each!r} is no {datatype}")
        if datatype in _RANGES and not _RANGES[datatype].min <= each <= _RANGES[datatype].max:
            self.engine.refuse("range", f"{each} is out of the range of {datatype}")

    def _raw(self, found: dict[str, str], body: bytes) -> RestAnswer:
        engine = self.engine
        model, _ = engine.find(found["model"], found["version"], "infer")
        if len(model.inputs) != 1:
            engine.refuse("raw-inputs", "a raw request is for models with one input")
        if "raw-refused" in engine.defects:
            raise Refused("raw requests are not supported")
        spec = model.inputs[0]
        if spec.datatype == "BYTES" and "raw-text-refused" not in engine.defects:
            body = len(body).to_bytes(4, "little") + body
        count = 1 if spec.datatype == "BYTES" else len(body) // DTYPES[spec.datatype].itemsize
        dims = tuple(count if size == -1 else size for size in spec.dims)
        shape = ((1,) if model.max_batch_size else ()) + dims
        values = decode_bytes(engine, spec.name, spec.datatype, shape, body)
        request = Request(
            model.name, found["version"], "", {}, [Input(spec.name, spec.datatype, shape, values)], None
        )
        return self._encode(engine.infer(request), True, set())

    def _encode(self, response: Response, all_binary: bool | None, named: set[str]) -> RestAnswer:
        engine = self.engine
        blobs: list[bytes] = []
        entries = [self._encode_output(each, all_binary, named, blobs) for each in response.outputs]
        document: dict[str, Any] = {"model_name": response.model, "model_version": response.version}
        document |= {"id": response.id} if response.id else {}
        document |= {"parameters": response.parameters} if response.parameters else {}
        text = json.dumps({**document, "outputs": entries}).encode()
        if not blobs:
            return RestAnswer(200, {"Content-Type": "application/json"}, text)
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(text)),
        }
        if "blobs-reversed" in engine.defects:
            blobs.reverse()
        return RestAnswer(200, headers, text + b"".join(blobs))

    def _encode_output(
        self, output: Output, all_binary: bool | None, named: set[str], blobs: list[bytes]
    ) -> dict[str, Any]:
        engine = self.engine
        entry: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.values.shape),
        }
        if "shared_memory_region" in output.parameters:
            engine.write_region(output.parameters, encode_bytes(output))
            return entry | ({"data": []} if "region-data-kept" in engine.defects else {})
        chosen = output.parameters.get("binary_data")
        if "binary-false-outweighs" in engine.defects and all_binary is False:
            chosen = False
        if "classes-never-bytes" in engine.defects and "classification" in output.parameters:
            chosen = False
        if chosen is None or "binary-choice-ignored" in engine.defects:
            chosen = (
                all_binary and "binary-output-ignored" not in engine.defects
            ) or "always-binary" in engine.defects
        if "never-binary" in engine.defects or (
            "binary-data-ignored" in engine.defects and output.name in named
        ):
            chosen = False
        if chosen:
            blobs.append(encode_bytes(output))
            return entry | {"parameters": {"binary_data_size": len(blobs[-1])}}
        if output.datatype in ("FP16", "BF16"):
            engine.refuse("half-precision", f"{output.datatype} has no form in JSON")
        flat = output.values.ravel().tolist()
        if "integers-as-fractions" in engine.defects and output.values.dtype.kind in "iu":
            flat = [float(each) for each in flat]
        return entry | {"data": [each.decode() for each in flat] if output.datatype == "BYTES" else flat}

    # generate

    def _generate(
        self, found: dict[str, str], _method: str, _headers: dict[str, str], body: bytes
    ) -> RestAnswer:
        engine = self.engine
        model, version = engine.find(
            found["model"],
            "" if "generate-version-ignored" in engine.defects else found["version"],
            "generate",
        )
        document = self._parse(body)
        inputs = []
        for spec in model.inputs:
            if spec.name not in document:
                engine.refuse("generate", f"'{spec.name}' is missing")
            value = document[spec.name]
            listed = value if isinstance(value, list) else [value]
            inputs.append(
                Input(
                    spec.name, spec.datatype, (1,), self._json_values(spec.name, spec.datatype, (1,), listed)
                )
            )
        if "further-members-refused" in engine.defects and document.keys() - {"id", "text_input", "count"}:
            raise Refused("unknown members")
        request = Request(model.name, version, document.get("id", ""), {}, inputs, None)
        return self._events(request) if found["stream"] else self._only(request)

    def _only(self, request: Request) -> RestAnswer:
        responses = list(self.engine.stream(request))
        if len(responses) != 1:
            self.engine.refuse("generate-count", "generate expects exactly one response")
        return _json(_flattened(responses[0]))

    def _events(self, request: Request) -> RestAnswer:
        events: list[dict[str, Any]] = []
        try:
            events += (_flattened(each) for each in self.engine.stream(request))
        except Refused as error:
            if not events:
                raise
            if "error-event-lost" not in self.engine.defects:
                events.append({"error": str(error)})
        return _event_stream(events)


def _event_stream(events: list[dict[str, Any]]) -> RestAnswer:
    body = "".join(f"data: {json.dumps(each)}\n\n" for each in events)
    return RestAnswer(200, {"Content-Type": "text/event-stream; charset=utf-8"}, body.encode())


def _flattened(response: Response) -> dict[str, Any]:
    members: dict[str, Any] = {"id": response.id} if response.id else {}
    members |= {"model_name": response.model, "model_version": response.version}
    for output in response.outputs:
        values = [
            each.decode() if isinstance(each, bytes) else each for each in output.values.ravel().tolist()
        ]
        members[output.name] = values[0] if len(values) == 1 else values
    return members


def _flat(data: list[Any]) -> list[Any]:
    return [inner for each in data for inner in (_flat(each) if isinstance(each, list) else [each])]


def _nothing() -> RestAnswer:
    return RestAnswer(200, {"Content-Type": "application/json"}, b"")


def _json(document: object, status: int = 200) -> RestAnswer:
    return RestAnswer(status, {"Content-Type": "application/json"}, json.dumps(document).encode())
