"""Names in paths, of models and regions. The slash of a key, `REPOSITORY/MODEL` with `--model-namespacing`, is sent
encoded.
"""

import re
from urllib.parse import unquote

from starlette.convertors import Convertor, register_url_convertor

# A slash, encoded any number of times. Once decoded, it could not be told from what is between the parts of a path, nor
# `%2F` in a name from a slash.
_SLASH = re.compile("%((?:25)*)(2f)", re.IGNORECASE)


def decode_path(raw: bytes) -> str:
    """The path of a request without its percent-encoding, `raw` is ASCII. A slash that is encoded stays so: it belongs
    to a name, see `name_in_path`.
    """
    text = raw.decode("ascii")
    return unquote(_SLASH.sub(r"%25\1\2", text)) if "%" in text else text


def name_in_path(part: str) -> str:
    """A name or key from a part of a decoded path."""
    return _SLASH.sub(_decoded, part) if "%" in part else part


def _decoded(slash: re.Match[str]) -> str:
    percent, code = slash.groups()
    return f"%{percent[2:]}{code}" if percent else "/"


class _NameConvertor(Convertor[str]):
    """The same for routes, as `{model_name:model}` and `{region_name:region}`."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return name_in_path(value)


register_url_convertor("model", _NameConvertor())
register_url_convertor("region", _NameConvertor())
