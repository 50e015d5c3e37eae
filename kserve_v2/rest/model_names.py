"""Names of models in paths: the slash of a key, `REPOSITORY/MODEL` with `--model-namespacing`, is sent encoded."""

import re

from starlette.convertors import Convertor, register_url_convertor

ENCODED_SLASH = re.compile("%(2f)", re.IGNORECASE)
"""What stays encoded in the path of a request when all else is decoded: it belongs to a name."""


def name_in_path(part: str) -> str:
    """A model's name or key from a part of a decoded path."""
    return ENCODED_SLASH.sub("/", part) if "%" in part else part


class _NameConvertor(Convertor[str]):
    """The same for routes, as `{model_name:model}`."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return name_in_path(value)

    def to_string(self, value: str) -> str:
        return value.replace("/", "%2F")


register_url_convertor("model", _NameConvertor())
