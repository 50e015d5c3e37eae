"""The request that lies beside a model, `sample_request.json`: what the page, and the description of the API, show
first.
"""

import os
import stat
from pathlib import Path
from typing import Any

import orjson

from kserve_v2.errors import InvalidArgumentError, NotFoundError
from kserve_v2.logs.example_request import SAMPLE_REQUEST

MAX_SAMPLE_BYTES = 4 * 1024 * 1024


def read_sample(folder: Path, model_name: str) -> dict[str, Any]:
    """The sample request of a model whose directory is `folder`. Blocks.

    Raises NotFoundError where there is none, also where it is a link that leads out of the directory, and
    InvalidArgumentError for one that is too large, or no JSON object.
    """
    none = NotFoundError(f"model '{model_name}' has no {SAMPLE_REQUEST}")
    try:
        inside = folder.resolve(strict=True)
        path = (inside / SAMPLE_REQUEST).resolve(strict=True)
        if not path.is_relative_to(inside):
            raise none
        # It does not wait for whoever writes into a pipe of that name, and it is no link any more.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise none
            text = file.read(MAX_SAMPLE_BYTES + 1)
    except OSError:
        raise none from None
    if len(text) > MAX_SAMPLE_BYTES:
        raise InvalidArgumentError(
            f"{SAMPLE_REQUEST} of model '{model_name}' is larger than {MAX_SAMPLE_BYTES} bytes"
        )
    try:
        document = orjson.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"{SAMPLE_REQUEST} of model '{model_name}' is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgumentError(f"{SAMPLE_REQUEST} of model '{model_name}' is no JSON object")
    return document
