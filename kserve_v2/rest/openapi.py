"""What the OpenAPI document says beyond the routes themselves: examples that work when pasted."""

from typing import Any

Json = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]

DESCRIPTION = (
    "A model server that speaks the KServe v2 / Open Inference Protocol. "
    "`POST /v2/repository/index` lists the models, `GET /v2/models/{model_name}` says what one takes and gives."
)


def _content(example: Any) -> Json:
    return {"content": {"application/json": {"example": example}}}


def answer(description: str, example: Any) -> Json:
    """What a route may answer, but for its status."""
    return {"description": description, **_content(example)}


def error(description: str, text: str) -> Json:
    """As `answer`, for the error of that text."""
    return answer(description, {"error": text})


_NOT_FOUND = error("Unknown model or version", "Request for unknown model: 'nosuch' is not found")
_NOT_READY = error(
    "Known, but not ready", "Request for unknown model: 'add_sub' version 1 is not at ready state"
)
_INVALID = error(
    "The request does not fit the protocol or the model", "unexpected inference input 'X' for model 'add_sub'"
)
_LOOKUP_ERRORS: Responses = {404: _NOT_FOUND, 503: _NOT_READY}

_DURATION = {"count": 12, "ns": 3456789}
_METADATA_EXAMPLE = {
    "name": "add_sub",
    "versions": ["1"],
    "platform": "onnxruntime_onnx",
    "inputs": [
        {"name": "INPUT0", "datatype": "INT32", "shape": [-1, 16]},
        {"name": "INPUT1", "datatype": "INT32", "shape": [-1, 16]},
    ],
    "outputs": [
        {"name": "OUTPUT0", "datatype": "INT32", "shape": [-1, 16]},
        {"name": "OUTPUT1", "datatype": "INT32", "shape": [-1, 16]},
    ],
}

LIVE: Responses = {200: {"description": "Live", **_content({"live": True})}}
READY: Responses = {
    200: {"description": "Ready", **_content({"live": True, "ready": True})},
    400: {"description": "Not ready", **_content({"live": True, "ready": False})},
}
MODEL_READY: Responses = {
    200: {"description": "Ready", **_content({"name": "add_sub", "ready": True})},
    400: error("Not ready, or unknown", "Model version not ready"),
    404: error("The version is no number", "Not Found"),
}
SERVER_METADATA: Responses = {
    200: {
        "description": "Server metadata",
        **_content(
            {"name": "kserve-v2", "version": "0.1.0", "extensions": ["binary_tensor_data", "statistics"]}
        ),
    }
}
MODEL_METADATA: Responses = {
    200: {"description": "Model metadata", **_content(_METADATA_EXAMPLE)},
    **_LOOKUP_ERRORS,
}
MODEL_CONFIG: Responses = {
    200: {
        "description": "Model configuration",
        **_content(
            {"name": "add_sub", "platform": "onnxruntime_onnx", "backend": "onnxruntime", "max_batch_size": 8}
        ),
    },
    **_LOOKUP_ERRORS,
}
STATISTICS: Responses = {
    200: {
        "description": "Statistics",
        **_content({
            "model_stats": [{
                "name": "add_sub",
                "version": "1",
                "inference_count": 12,
                "execution_count": 3,
                "inference_stats": {"success": _DURATION, "queue": _DURATION, "compute_infer": _DURATION},
            }]
        }),
    },
    400: error("Unknown, or not ready", "requested model 'nosuch' is not available"),
    404: error("The version is no number", "Not Found"),
}  # fmt: skip


def body(example: Any, *, required: bool = False) -> Json:
    """What a route takes, to be given to its decorator."""
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"openapi_extra": {"requestBody": {"required": required, "content": content}}}


_EXPLICIT_ONLY = error(
    "The server does not run with --model-control-mode=explicit",
    "explicit model load / unload is not allowed: start the server with --model-control-mode=explicit",
)
INDEX: Json = {
    "responses": {
        200: {"description": "Index", **_content([{"name": "add_sub", "version": "1", "state": "READY"}])},
        400: error("Malformed body", "Invalid value for 'ready': expected a boolean"),
    },
    **body({"ready": False}),
}
LOAD: Json = {
    "responses": {
        200: {"description": "Loaded and ready"},
        400: error(
            "The model cannot be loaded",
            "load failed for model 'add_sub': version 1 is at UNAVAILABLE state: …",
        ),
        404: error("No such directory", "failed to load 'nosuch', failed to poll from model repository: …"),
        501: error(
            "Not supported", "load parameter 'file:1/model.py': uploading model files is not supported"
        ),
        503: _EXPLICIT_ONLY,
    },
    **body({}),
}
UNLOAD: Json = {
    "responses": {
        200: {"description": "Unloaded, or about to be"},
        400: INDEX["responses"][400],
        503: _EXPLICIT_ONLY,
    },
    **body({}),
}

_NUMBERS = list(range(16))
_TENSOR_SCHEMA: Json = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {
            "type": "string",
            "description": "BOOL, INT8…INT64, UINT8…UINT64, FP16, FP32, FP64, BF16 or BYTES",
        },
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "data": {
            "type": "array",
            "description": "Elements in row-major order, nested in any way",
            "items": {},
        },
        "parameters": {"type": "object"},
    },
}
_INFER_REQUEST: Json = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": _TENSOR_SCHEMA},
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
    },
}
_INFER_EXAMPLE = {
    "id": "42",
    "inputs": [
        {"name": "INPUT0", "datatype": "INT32", "shape": [1, 16], "data": _NUMBERS},
        {"name": "INPUT1", "datatype": "INT32", "shape": [1, 16], "data": [1] * 16},
    ],
}
_INFER_ANSWER = {
    "id": "42",
    "model_name": "add_sub",
    "model_version": "1",
    "outputs": [
        {
            "name": "OUTPUT0",
            "datatype": "INT32",
            "shape": [1, 16],
            "data": [number + 1 for number in _NUMBERS],
        },
        {
            "name": "OUTPUT1",
            "datatype": "INT32",
            "shape": [1, 16],
            "data": [number - 1 for number in _NUMBERS],
        },
    ],
}


_GENERATE_EXAMPLE = {"text": "wake me up at seven", "id": "42"}
_GENERATE_ANSWER = {
    "id": "42",
    "intent": "alarm",
    "model_name": "intent",
    "model_version": "1",
    "score": 0.9964,
}
_GENERATE_REQUEST: Json = {
    "type": "object",
    "description": "A member that is called like an input is that input: a value, or a flat list of them. All "
    "others, and those of the object `parameters`, are parameters of the request.",
    "properties": {"id": {"type": "string"}, "parameters": {"type": "object"}},
    "additionalProperties": True,
}

# What infer and generate answer when they do not answer a result.
_FAILURES: Json = {
    "400": _INVALID,
    "404": _NOT_FOUND,
    "413": error(
        "The body is too large", "request of 100000000 bytes exceeds the maximum allowed input size …"
    ),
    "500": error("The model failed", "Failed to process the request(s) for model 'add_sub_0', message: …"),
    "501": error("Not supported", "Unsupported compression type"),
    "503": error("Not ready, or overloaded", "Exceeds maximum queue size"),
}

_BINARY: Json = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_INFER: Json = {
    "tags": ["inference"],
    "summary": "Infer",
    "description": "Answers one inference request. With the header Inference-Header-Content-Length, raw "
    "tensors follow the JSON (binary tensor data extension).",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _INFER_REQUEST, "example": _INFER_EXAMPLE},
            **_BINARY,
        },
    },
    "responses": {
        "200": {
            "description": "The outputs",
            "content": {"application/json": {"example": _INFER_ANSWER}, **_BINARY},
        },
        **_FAILURES,
    },
}
_GENERATE_BODY = {
    "required": True,
    "content": {"application/json": {"schema": _GENERATE_REQUEST, "example": _GENERATE_EXAMPLE}},
}
_GENERATE: Json = {
    "tags": ["inference"],
    "summary": "Generate",
    "description": "Answers a request in flat JSON with one object, for models that give one response to it.",
    "requestBody": _GENERATE_BODY,
    "responses": {"200": {"description": "The outputs", **_content(_GENERATE_ANSWER)}, **_FAILURES},
}
_GENERATE_STREAM: Json = {
    "tags": ["inference"],
    "summary": "Generate a stream",
    "description": "Answers a request in flat JSON with a server-sent event for each response of the model. An "
    "error of the model is an event, too; if it comes first, it is also the status of the answer.",
    "requestBody": _GENERATE_BODY,
    "responses": {
        "200": {
            "description": "The responses, in the order in which they were made",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": "data: {…}\n\n"}},
        },
        **_FAILURES,
    },
}


def _model_paths(name: str, operation: Json, model: str) -> Json:
    """The operation `name` of a model, with and without a version in its path; `model`: one that takes the example."""
    examples = {"model_name": model, "version": "1"}
    paths = {}
    for parameters in (["model_name"], ["model_name", "version"]):
        version = "/versions/{version}" if "version" in parameters else ""
        described = [
            {
                "name": each,
                "in": "path",
                "required": True,
                "schema": {"type": "string"},
                "example": examples[each],
            }
            for each in parameters
        ]
        paths[f"/v2/models/{{model_name}}{version}/{name}"] = {
            "post": {**operation, "operationId": "_".join((name, *parameters)), "parameters": described}
        }
    return paths


_MODEL_PATHS: Json = {
    **_model_paths("infer", _INFER, "add_sub"),
    **_model_paths("generate", _GENERATE, "intent"),
    **_model_paths("generate_stream", _GENERATE_STREAM, "intent"),
}
_PATH_EXAMPLES = {"model_name": "add_sub", "version": "1", "region_name": "images"}


def complete(document: Json) -> None:
    """Add to FastAPI's description of its routes what it does not know: examples, and the operations of models."""
    # FastAPI's answer to parameters that it refuses. Those of our paths are texts, and any text passes.
    document.pop("components", None)
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            for response in operation["responses"].values():
                if response.get("content") == {"application/json": {"schema": {}}}:
                    del response["content"]  # the body is empty
            # A default, where a route has no such part, is no parameter of a query.
            parameters = [each for each in operation.pop("parameters", []) if each["in"] == "path"]
            if parameters:
                operation["parameters"] = parameters
            for parameter in parameters:
                parameter["example"] = _PATH_EXAMPLES[parameter["name"]]
    document["paths"].update(_MODEL_PATHS)
