"""What stands for the codec of data frames where pandas is not installed: to pass its content type over would give a
model something else than what its client meant.
"""

from typing import Any, NoReturn

from ..errors import MLServerError
from ..types import InferenceRequest, InferenceResponse
from .base import RequestCodec, register_request_codec

_UNSUPPORTED = 501


@register_request_codec
class WithoutPandas(RequestCodec):
    """Refuses."""

    ContentType = "pd"

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> NoReturn:
        """There is no data frame."""
        raise _error()

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> NoReturn:
        """There is no data frame."""
        raise _error()

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> NoReturn:
        """There is no data frame."""
        raise _error()


def _error() -> MLServerError:
    return MLServerError(
        "content type 'pd' needs pandas, which is not installed where the model runs: pip install pandas",
        _UNSUPPORTED,
    )
