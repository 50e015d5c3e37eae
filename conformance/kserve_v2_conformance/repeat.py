"""The command that sends a request again: curl for REST, grpcurl for gRPC."""

import base64
import json
import shlex
from collections.abc import Iterable, Mapping

from google.protobuf import json_format
from google.protobuf.message import Message

LONGEST_BODY = 4096
"""Bytes of a body that are put on a command line; a longer one is only described."""

_GRPCURL = "grpcurl -plaintext -import-path protos -proto grpc_service.proto"


def curl(url: str, method: str, headers: Mapping[str, str], body: bytes) -> str:
    """The curl line of a request; bytes that are no text come through a pipe."""
    if len(body) > LONGEST_BODY:
        return f"# its body of {len(body)} bytes is too long for a command line"
    words = ["curl", "-i", *([] if method == "GET" else ["-X", method])]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    source, data = "", []
    if body:
        try:
            data = ["--data-binary", _text(body)]
        except UnicodeDecodeError:
            source = f"echo {base64.b64encode(body).decode()} | base64 -d | "
            data = ["--data-binary", "@-"]
    return source + shlex.join([*words, *data, url])


def _text(body: bytes) -> str:
    text = body.decode()
    if "\0" in text or text.startswith("@"):  # an argument has no NUL, and curl reads a file after @
        raise UnicodeDecodeError("utf-8", body, 0, 1, "not for a command line")
    return text


def grpcurl(address: str, method: str, messages: Iterable[Message]) -> str:
    """The grpcurl line of a call; `protos` is the folder of that name in this suite's repository."""
    messages = list(messages)
    size = sum(each.ByteSize() for each in messages)
    if size > LONGEST_BODY:
        return f"# its messages of {size} bytes are too long for a command line"
    texts = (
        json.dumps(json_format.MessageToDict(each, preserving_proto_field_name=True), ensure_ascii=False)
        for each in messages
    )
    return f"{_GRPCURL} -d {shlex.quote(' '.join(texts))} {shlex.quote(address)} {method}"
