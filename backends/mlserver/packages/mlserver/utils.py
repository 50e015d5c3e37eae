"""What models use beside codecs."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse

from .errors import InvalidModelURI
from .settings import ModelSettings
from .types import InferenceRequest, InferenceResponse, Parameters


async def get_model_uri(settings: ModelSettings, wellknown_filenames: Sequence[str] = ()) -> str:
    """Where a model's file is: `parameters.uri`, from the folder of its settings; in a folder, the first of the
    well-known names that is there. Raises InvalidModelURI.
    """
    uri = settings.parameters.uri if settings.parameters is not None else None
    if not uri:
        raise InvalidModelURI(settings.name)
    parsed = urlparse(uri, scheme="file")
    if parsed.scheme != "file":
        return uri
    path = Path(to_absolute_path(settings, parsed.path))
    if path.is_dir():
        named = (path / name for name in wellknown_filenames)
        return str(next((each for each in named if each.is_file()), path))
    if path.is_file():
        return str(path)
    raise InvalidModelURI(settings.name, str(path))


def to_absolute_path(model_settings: ModelSettings, uri: str) -> str:
    """A path of a model's settings, from the folder of these."""
    source = model_settings._source
    if source is None:
        return uri
    # Without `resolve`: a link is what it is called.
    import os.path  # noqa: PLC0415 - Path has no normpath

    return os.path.normpath(Path(source).parent / uri)


def generate_uuid() -> str:
    """A new identifier."""
    return str(uuid.uuid4())


def insert_headers(inference_request: InferenceRequest, headers: dict[str, str]) -> InferenceRequest:
    """Have the headers of a call in the request's parameters."""
    if inference_request.parameters is None:
        inference_request.parameters = Parameters()
    inference_request.parameters.headers = headers
    return inference_request


def extract_headers(inference_response: InferenceResponse) -> dict[str, str] | None:
    """Take the headers for the answer out of a response's parameters."""
    parameters = inference_response.parameters
    if parameters is None or parameters.headers is None:
        return None
    headers, parameters.headers = parameters.headers, None
    return headers
