"""Scripts for several connections over HTTP/1.1: requests that are sent again and again, and requests that are nearly
the same but for what decides what they mean.

Every script is made from its number alone.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

Step = tuple[int, bytes]
"""A connection, and what is sent on it in one go."""

LAST = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""What is sent on every connection in the end. It is longer than what a request here may lack of its body."""

# So that requests with different bodies have one head.
_JSON_BYTES = 200

_CONNECTIONS = 3


@dataclass(frozen=True)
class Request:
    """One request. `length` and `json_length` are its headers, None for right ones; `before`: what precedes it."""

    body: bytes
    path: bytes = b"/v2/models/now/infer"
    json_bytes: int | None = None
    length: int | None = None
    json_length: int | None = None
    before: bytes = b""
    method: bytes = b"POST"
    version: bytes = b"HTTP/1.1"
    headers: tuple[bytes, ...] = (b"Host: x",)
    line_end: bytes = b"\r\n"
    chunked: bool = False
    cuts: tuple[int, ...] = field(default=())

    def encoded(self) -> bytes:
        """The request as bytes."""
        lines = [b"%b %b %b" % (self.method, self.path, self.version), *self.headers]
        body = self.body
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        else:
            lines.append(b"Content-Length: %d" % (len(body) if self.length is None else self.length))
        if self.json_bytes is not None:
            size = self.json_bytes if self.json_length is None else self.json_length
            lines.append(b"Inference-Header-Content-Length: %d" % size)
        return self.before + self.line_end.join([*lines, b"", b""]) + body


# --- requests as clients send them --------------------------------------------------------------------------------


def numbers(values: random.Random, count: int) -> bytes:
    """Elements that hardly any other request has."""
    return b",".join(b"%d" % values.randint(-999, 999) for _ in range(count))


def in_json(rng: random.Random, values: random.Random) -> Request:
    """Numbers in JSON, some padded so that the head is always the same."""
    kind, size = rng.randint(0, 4), rng.choice([_JSON_BYTES, 0])
    if kind == 0:
        a, b = numbers(values, 2), numbers(values, 2)
        inputs = (
            b'{"name":"A","shape":[1,2],"datatype":"INT32","data":[%b]},'
            b'{"name":"B","shape":[1,2],"datatype":"INT32","data":[%b]}' % (a, b)
        )
        return Request((b'{"inputs":[%b]}' % inputs).ljust(size), b"/v2/models/two/infer")
    rows = 1 + (kind == 1)
    start = b'{"id":"r%d",' % values.randint(0, 999) if kind == 2 else b"{"
    data = numbers(values, 3 * rows)
    body = start + b'"inputs":[{"name":"IN","shape":[%d,3],"datatype":"FP32","data":[%b]}]}' % (rows, data)
    return Request(
        body.ljust(size), rng.choice([b"/v2/models/now/infer", b"/v2/models/now/versions/1/infer"])
    )


def in_bytes(rng: random.Random, values: random.Random) -> Request:
    """Numbers as bytes behind the JSON."""
    rows = rng.randint(1, 2)
    raw = np.array([values.randint(-999, 999) for _ in range(3 * rows)], np.float32).tobytes()
    text = (
        b'{"inputs":[{"name":"IN","shape":[%d,3],"datatype":"FP32","parameters":{"binary_data_size":%d}}]%b}'
        % (
            rows,
            len(raw),
            rng.choice(
                [
                    b"",
                    b',"parameters":{"binary_data_output":true}',
                    b',"outputs":[{"name":"OUT","parameters":{"binary_data":true}}]',
                    b',"id":"r%d"' % values.randint(0, 999),
                ]
            ),
        )
    )
    return Request(text + raw, json_bytes=len(text))


def raw_only(rng: random.Random, values: random.Random) -> Request:
    """A body without JSON."""
    return Request(np.array([values.randint(-9, 9) for _ in range(3)], np.float32).tobytes(), json_bytes=0)


def large(rng: random.Random, values: random.Random) -> Request:
    """More than comes in one read, so that it is read to where it is used."""
    small = in_json(rng, values)
    return replace(
        small, body=small.body.ljust(rng.choice([70_000, 300_000])), cuts=(rng.choice([0, 100, 250, 66_000]),)
    )


def other_route(rng: random.Random, values: random.Random) -> Request:
    """What is for no model's `infer`."""
    path, method = rng.choice(
        [
            (b"/v2/health/live", b"GET"),
            (b"/v2/models/now", b"GET"),
            (b"/v2", b"HEAD"),
            (b"/v2/models/nosuch/infer", b"POST"),
        ]
    )
    return Request(b"", path, method=method)


KINDS: tuple[Callable[[random.Random, random.Random], Request], ...] = (
    in_json,
    in_json,
    in_json,
    in_bytes,
    in_bytes,
    raw_only,
    large,
    other_route,
)


# --- and what is done to them -------------------------------------------------------------------------------------


def _edit_json(rng: random.Random, request: Request) -> Request:
    """Change the JSON, to what means the same, something else, or nothing."""
    size = len(request.body) if request.json_bytes is None else request.json_bytes
    text, tail = request.body[:size], request.body[size:]
    more = numbers(rng, 3)
    found = rng.choice(
        [
            (b'"data":[', b'"data":[%b],"data":[' % more),
            (b'"data":[', b'"d\\u0061ta":[%b],"data":[' % more),
            (b'"data":[', b'"d\\u0061ta":['),
            (b']}]', b'],"data":[%b]}]' % more),
            (b']}]', b'],"d\\u0061ta":[%b]}]' % more),
            (b']}]', b'],"data":null}]'),
            (b'{"inputs"', b'{"inputs":[],"inputs"'),
            (b'"shape"', b'"shape":[3,1],"shape"'),
            (b'"name"', b'"n\\u0061me"'),
            (b'"name"', b'"name":"X","name"'),
            (b'"FP32"', b'"FP64"'),
            (b'"FP32"', b'"FP32","datatype":"INT32"'),
            (b'"inputs"', b'"id":null,"parameters":null,"outputs":null,"inputs"'),
            (b'"inputs"', b'"id":"\\u00e9","inputs"'),
            (b'"inputs"', b'"parameters":{"p":1},"inputs"'),
            (b'"inputs"', b'"x":"\\"data\\":[1,2,3]","inputs"'),
            (b"[1,3]", b"[3]"),
            (b"[1,3]", b"[2,3]"),
            (b"[1,3]", b"[0,3]"),
            (b'"data":[', b'"data":[[1],'),
            (b'"data":[', b'"data":[NaN,'),
            (b'"data":[', b'"data":[1e39,'),
            (b'"data":[', b'"data":[1e999,'),
            (b"{", b" {"),
            (b"{", b"\xef\xbb\xbf{"),
            (b"binary_data_size", b"binary_data\\u005fsize"),
            (b'"binary_data_size":', b'"binary_data_size":0,"binary_data_size":'),
        ]
    )  # fmt: skip
    text = text.replace(*found, 1)
    if rng.random() < 0.1:
        text = text.decode("latin-1").encode(rng.choice(["utf-16", "utf-32-le"]))
    if rng.random() < 0.2:
        place = rng.randrange(len(text) or 1)
        text = text[:place] + bytes([rng.randrange(256)]) + text[place + 1 :]
    if request.json_bytes is None:
        return replace(request, body=text.strip(b" ").ljust(len(request.body)) + tail)
    return replace(request, body=text + tail, json_bytes=len(text))


def _edit_tail(rng: random.Random, request: Request) -> Request:
    """Other bytes behind the JSON, more or fewer of them, and headers that say something else."""
    kind = rng.randint(0, 4)
    if kind == 0:
        return replace(request, body=request.body + bytes(rng.randint(1, 12)))
    if kind == 1:
        return replace(request, body=request.body[: -rng.randint(1, 12)])
    if kind == 2 and request.json_bytes is not None:
        return replace(request, json_length=request.json_bytes + rng.choice([-1, 1, 4, -4, 10**6]))
    if kind == 3:
        return replace(request, json_bytes=None, json_length=None)
    return replace(request, length=max(0, len(request.body) + rng.choice([-40, -4, -1, 1, 4, 40])))


ODD_HEADERS = (
    b"X:a", b"X:  a", b"X:\ta", b"X: a ", b"X:", b"X: ", b"X : a", b": a", b"X", b"X: a\r\n b", b"X: a\rb", b"X: a\nb: c",
    b"X: \xc3\xa4", b"X: \x80", b"X: a\0", b"\xc3: a", b"X(: a", b"Connection: Keep-Alive", b"Connection: CLOSE",
    b"connection:close", b"Connection: keep-alive, te", b"Connection: close, x", b"Proxy-Connection: close", b"TE: trailers",
    b"Upgrade: h2c", b"Trailer: X", b"Keep-Alive: timeout=5", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip",
    b"Transfer-Encoding:\x0bchunked", b"Expect: x", b"Accept-Encoding: gzip\r\nAccept-Encoding: br", b"Content-Length : 5",
    b"Content-Length: 1, 1", b"Content-Length: +5", b"Content-Length: 05", b"Authorization: Bearer " + b"x" * 800,
    b"X: " + b"y" * 9000, b"\r\n".join(b"X-%d: a" % number for number in range(70)),
)  # fmt: skip
"""Lines that only some parsers take, and lines that nobody has to look at."""


def _trace(rng: random.Random) -> bytes:
    return b"traceparent: 00-%032x-%016x-01" % (rng.getrandbits(128), rng.getrandbits(64))


def _edit_head(rng: random.Random, request: Request) -> Request:
    """Another head, some of which mean the same."""
    return rng.choice(
        [
            lambda: replace(request, before=b"\r\n\r\n"),
            lambda: replace(request, before=b"\r\n\r\n"),
            lambda: replace(request, before=b"\r\n" * rng.randint(1, 3)),
            lambda: replace(request, before=b"\n"),
            lambda: replace(request, line_end=b"\n"),
            lambda: replace(request, headers=()),
            lambda: replace(request, headers=(b"Host: x", b"Host: x")),
            lambda: replace(request, headers=(b"host:x",)),
            lambda: replace(request, headers=(b"Host: x", b"Connection: close")),
            lambda: replace(request, headers=(b"Host: x", b"Content-Encoding: gzip")),
            lambda: replace(request, headers=(b"Host: x", b"Content-Encoding: identity")),
            lambda: replace(request, headers=(b"Host: x", b"Accept-Encoding: gzip;q=0")),
            lambda: replace(request, headers=(b"Host: x", b"Expect: 100-continue")),
            lambda: replace(request, headers=(b"Host: x", b"Connection: upgrade", b"Upgrade: h2c")),
            lambda: replace(request, headers=(b"Host: x", b"X-Token: %d" % rng.randint(0, 10**9))),
            lambda: replace(
                request, headers=(b"Host: x", _trace(rng), b"X-Request-Id: %d" % rng.randint(0, 10**9))
            ),
            lambda: replace(request, headers=(b"Host: x", _trace(rng))),
            lambda: replace(request, headers=(b"Host: x", _trace(rng), rng.choice(ODD_HEADERS))),
            lambda: replace(request, headers=(b"Host: x", rng.choice(ODD_HEADERS))),
            lambda: replace(request, headers=(rng.choice(ODD_HEADERS), b"Host: x")),
            lambda: replace(request, headers=(b"Host: x", b"Content-Length: 5")),
            lambda: replace(request, version=b"HTTP/1.0"),
            lambda: replace(request, method=rng.choice([b"GET", b"PUT", b"HEAD", b"post"])),
            lambda: replace(request, path=request.path.replace(b"/now/", b"/now%2F")),
            lambda: replace(request, path=request.path.replace(b"/now/", b"/%6eow/")),
            lambda: replace(request, path=b"http://x" + request.path),
            lambda: replace(request, path=request.path + b"?q=1"),
            lambda: replace(request, chunked=True),
        ]
    )()


EDITS = (_edit_json, _edit_json, _edit_tail, _edit_head, _edit_head)


# --- scripts ------------------------------------------------------------------------------------------------------


def script(number: int) -> list[Step]:
    """The script with this number."""
    rng = random.Random(number)  # noqa: S311 - nothing secret
    pending: list[list[bytes]] = [[] for _ in range(_CONNECTIONS)]
    for _ in range(rng.randint(3, 7)):
        pending[rng.randrange(_CONNECTIONS)] += _visit(rng)
    # What one connection sends comes in order, and between what the others send.
    steps: list[Step] = []
    while any(pending):
        connection = rng.choice([index for index in range(_CONNECTIONS) if pending[index]])
        steps.append((connection, pending[connection].pop(0)))
    return steps


def _visit(rng: random.Random) -> Iterator[bytes]:
    """A few requests of one client, as they come: one that is repeated, with others that resemble it."""
    kind = rng.choice(KINDS)
    seed = rng.randrange(10**9)
    requests = []
    for _ in range(rng.randint(2, 5)):
        # The same decisions, so the same head and form, but other numbers.
        request = kind(random.Random(seed), rng)  # noqa: S311 - nothing secret
        if rng.random() < 0.5:
            request = rng.choice(EDITS)(rng, request)
        requests.append(request)
    while requests:
        pipelined = requests[: rng.choice([1, 1, 1, 2, 3])]
        del requests[: len(pipelined)]
        data = b"".join(request.encoded() for request in pipelined)
        cuts = {0, len(data)} | {min(cut, len(data)) for cut in pipelined[0].cuts}
        if rng.random() < 0.3:
            cuts |= {rng.randint(0, len(data)) for _ in range(rng.randint(1, 3))}
        elif rng.random() < 0.03 and len(data) < 1000:
            cuts |= set(range(len(data)))
        places = sorted(cuts)
        yield from (data[start:end] for start, end in pairwise(places) if end > start)
