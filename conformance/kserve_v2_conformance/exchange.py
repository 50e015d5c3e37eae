"""What went over the wire, for the report: one request and its answer, as text."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf import text_format
from google.protobuf.message import Message

LONGEST = 700
"""Characters of a request or an answer that are kept."""


@dataclass(slots=True)
class Exchange:
    """One request and what came back, both shortened. `command`: makes the command that sends it again."""

    protocol: str
    request: str
    command: Callable[[], str]
    answer: str = "(no answer)"

    @property
    def headline(self) -> str:
        """What was called, in one line."""
        return self.request.partition("\n")[0]

    def as_json(self) -> dict[str, str]:
        """The exchange as a JSON object."""
        return {
            "protocol": self.protocol,
            "request": self.request,
            "answer": self.answer,
            "command": self.command(),
        }


def shorten(text: str, longest: int = LONGEST) -> str:
    """The beginning and the end of a long text."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} … ({len(text) - 2 * half} more characters) … {text[-half:]}"


def show_body(body: bytes, header_length: int | None = None) -> str:
    """A body as text: its JSON part, and how many bytes follow it."""
    if header_length is not None and header_length < len(body):
        rest = body[header_length:]
        return f"{show_body(body[:header_length])}\n<{len(rest)} bytes: {_hexadecimal(rest)}>"
    try:
        return shorten(body[: 4 * LONGEST].decode() if len(body) > 4 * LONGEST else body.decode())
    except UnicodeDecodeError:
        return f"<{len(body)} bytes: {_hexadecimal(body)}>"


def _hexadecimal(data: bytes, longest: int = 32) -> str:
    return data[:longest].hex(" ") + (" …" if len(data) > longest else "")


def show_message(message: Message) -> str:
    """A protobuf message as text."""
    if message.ByteSize() > 16 * LONGEST:
        return f"<{type(message).__name__} of {message.ByteSize()} bytes>"
    text = text_format.MessageToString(message, as_utf8=True)
    return shorten(text.strip() or "(empty message)")


def show_json(value: object) -> str:
    """A JSON value, or whatever it is, as text."""
    try:
        return shorten(json.dumps(value, ensure_ascii=False), 400)
    except TypeError:
        return shorten(repr(value), 400)
