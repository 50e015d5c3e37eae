"""The manifests of archives, and the names in them."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version

from kserve_v2.errors import InvalidArgumentError

MODEL_MANIFEST = "MAR-INF/MANIFEST.json"
WORKFLOW_MANIFEST = "WAR-INF/MANIFEST.json"

BUILT_IN_HANDLERS = (
    "base_handler", "text_classifier", "image_classifier", "object_detector", "image_segmenter",
    "dali_image_classifier", "vllm_handler", "trt_llm_handler",
)  # fmt: skip
"""Handlers that TorchServe brings along: an archive names them, and has no file for them."""

RUNTIMES = ("python", "python3", "LSP")
"""What a handler is run by; LSP is TorchServe's backend in C++."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_name(name: str, option: str) -> None:
    """Raises InvalidArgumentError for a name that a model or workflow must not have."""
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"{option}: expected letters, digits, '_', '-' and '.', beginning with a letter or digit, got {name!r}"
        )


def manifest_text(subject: str, entries: Mapping[str, str], runtime: str = "") -> str:
    """The text. `subject`: what it is about, "model" or "workflow"; `runtime`: what a model's handler is run by."""
    document: dict[str, object] = {"createdOn": datetime.now().strftime("%d/%m/%Y %H:%M:%S")}
    if runtime:
        document["runtime"] = runtime
    document[subject] = dict(entries)
    document["archiverVersion"] = f"kserve-v2 {version('kserve-v2')}"
    return json.dumps(document, indent=2)
