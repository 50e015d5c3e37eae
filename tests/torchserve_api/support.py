"""Archives and servers for the tests of TorchServe's APIs. The handlers need no torch."""

import json
import zipfile
from pathlib import Path
from typing import Any

PROPERTIES = """
inference_address=http://127.0.0.1:0
management_address=http://127.0.0.1:0
metrics_address=http://127.0.0.1:0
grpc_inference_port=0
grpc_management_port=0
"""

ECHO = """
import json

def handle(data, context):
    if data is None:
        return
    return [dict((k, v.decode() if isinstance(v, (bytes, bytearray)) else v) for k, v in row.items()) for row in data]

def again(data, context):
    return ["again"] * len(data or ())
"""

LAB = """
import os
from ts.metrics.metric_cache_errors import MetricsCacheKeyError
from ts.metrics.metric_type_enum import MetricTypes
from ts.utils.util import PredictionException

def handle(data, context):
    if data is None:
        return
    if context.get_request_header(0, "describe") == "True":
        return [{"kind": "lab", "nothing": None, "inner": {"a": [1]}}]
    answers = []
    for index, row in enumerate(data):
        body = row.get("body") or b""
        word = body if isinstance(body, str) else bytes(body).decode()
        if word == "raise":
            raise ValueError("secret /etc/passwd")
        if word == "refuse":
            raise PredictionException("not this", 418)
        if word == "wrong length":
            return []
        if word == "no list":
            return {}
        if word.startswith("refuse "):
            raise PredictionException("not this", int(word[7:]))
        if word.startswith("status "):
            context.set_response_status(code=int(word[7:]), idx=index)
        if word == "odd headers":
            context.set_response_header(index, "X-Own", "yes")
            context.set_response_header(index, "X:Odd", "1")
            context.set_response_header(index, "Content-Length" + chr(9), "1")
            context.set_response_header(index, "X-Bell", "a" + chr(7))
            context.set_response_content_type(index, "text/" + chr(1))
        if word == "status":
            context.set_response_status(code=429, idx=index)
        if word == "header":
            context.set_response_header(index, "X-Own", "yes")
            context.set_response_header(index, "X-Bad", "a" + chr(13) + chr(10) + "X-Injected: 1")
            context.set_response_content_type(index, "text/csv")
        if word == "unlisted":
            try:
                context.metrics.get_metric("Nowhere", MetricTypes.GAUGE)
            except MetricsCacheKeyError:
                word = "missed"
        if word == "listed":
            context.metrics.get_metric("Listed", MetricTypes.GAUGE).add_or_update(3, ["here"])
        if word == "large":
            answers.append("x" * 300000)
        elif word == "headers":
            answers.append({key: context.get_request_header(index, key) for key in ("X-User", "x-user", "url_path", "explain")})
        elif word == "name":
            answers.append(context.model_name)
        elif word == "id":
            answers.append(context.get_request_id(index))
        elif word == "die":
            os._exit(1)
        else:
            answers.append(word)
        context.metrics.add_counter("Words", 1, idx=index)
    return answers
"""

PARTS = """
from ts.handler_utils.utils import send_intermediate_predict_response

def handle(data, context):
    if data is None:
        return
    if data[0].get("body") == b"event":
        context.set_response_content_type(0, "text/event-stream")
        context.set_response_header(0, "X-Own", "yes")
        context.set_response_status(code=207, idx=0)
    for part in ("a", "b"):
        send_intermediate_predict_response([part], context.request_ids, "Intermediate", 200, context)
    return ["end"]
"""


def mar(
    store: Path,
    name: str,
    handler: str = ECHO,
    *,
    version: str = "1.0",
    file: str = "",
    yaml: str = "",
    **files: str,
) -> Path:
    """An archive as torch-model-archiver makes it. `file`: its name, if that is not the model's; `files`: further ones."""
    model: dict[str, Any] = {"modelName": name, "handler": "handler.py", "modelVersion": version}
    if yaml:
        model["configFile"] = "model-config.yaml"
        files["model-config__yaml"] = yaml
    manifest = {
        "createdOn": "28/11/2026 01:01:34", "runtime": "python", "model": model, "archiverVersion": "0.12.0",
    }  # fmt: skip
    store.mkdir(parents=True, exist_ok=True)
    path = store / (file or f"{name}.mar")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("handler.py", handler)
        for other, text in files.items():
            archive.writestr(other.replace("__", "."), text)
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    return path
