"""From bytes to frames: the preface, whole frames, header blocks with their CONTINUATION frames, and DATA frames as
they come in, however large they are.
"""

from dataclasses import dataclass
from typing import Protocol

from kserve_v2.http2 import frames
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode
from kserve_v2.http2.frames import Kind
from kserve_v2.http2.limits import Http2Limits

_DATA = int(Kind.DATA)
_HEADERS = int(Kind.HEADERS)
_CONTINUATION = int(Kind.CONTINUATION)
_STREAM_ID = 2**31 - 1
_WINDOW_UPDATE = int(Kind.WINDOW_UPDATE)
_WORD_BYTES = frames.WORD.size
# The first word of a WINDOW_UPDATE frame.
_WINDOW_UPDATE_WORD = _WORD_BYTES << 8 | _WINDOW_UPDATE
_HEADERS_FLAGS = frames.END_HEADERS | frames.PADDED | frames.PRIORITY
_unpack = frames.HEAD.unpack_from
_unpack_word = frames.WORD.unpack_from


class Sink(Protocol):
    """Who takes what has been read. All of these may raise ConnectionFaultError."""

    def data(self, stream_id: int, data: bytes, start: int, end: int, ends: bool) -> None:
        """A whole DATA frame, whose payload is `data[start:end]`. `ends`: the last one of its stream."""
        ...

    def data_begins(self, stream_id: int, length: int, padding: int) -> None:
        """A DATA frame of `length` bytes, `padding` of them of no use, which comes in parts."""
        ...

    def data_part(self, stream_id: int, data: bytes, start: int, end: int, ends: bool) -> None:
        """A part of that frame."""
        ...

    def data_placed(self, stream_id: int, size: int, ends: bool) -> None:
        """A part of that frame that was read to where it belongs."""
        ...

    def header_block(self, stream_id: int, block: bytes, ends: bool) -> None:
        """A complete header block."""
        ...

    def request(self, stream_id: int, block: bytes, update: int, data: bytes, start: int, end: int) -> bool:
        """A complete header block, and the only DATA frame of its stream, whose payload is `data[start:end]`. `update`:
        the word of a WINDOW_UPDATE between them, or 0. False: of these, the header block alone has been taken.
        """
        ...

    def window_update(self, stream_id: int, word: int) -> None:
        """A WINDOW_UPDATE frame: the increment, and the reserved bit."""
        ...

    def control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A frame of any other kind, known or not."""
        ...


@dataclass(slots=True)
class PartialData:
    """A DATA frame of which a part is still to come: `left` bytes, and `padding`."""

    stream_id: int
    left: int
    padding: int
    ends: bool


@dataclass(slots=True)
class _Block:
    """A header block of which CONTINUATION frames are still to come."""

    stream_id: int
    fragments: list[bytes]
    size: int
    ends: bool


class FrameReader:
    """Reads one connection. `data`: the DATA frame that comes in parts, None while there is none."""

    def __init__(self, limits: Http2Limits, sink: Sink) -> None:
        self.frames = 0
        self._limits = limits
        self._sink = sink
        self._rest = b""
        self._preface_left = frames.PREFACE
        self._first = True
        self.data: PartialData | None = None
        self._block: _Block | None = None

    def __repr__(self) -> str:
        return f"<FrameReader {self.frames} frames, rest of {len(self._rest)} bytes>"

    @property
    def incomplete(self) -> bool:
        """Whether the client has begun something that it alone can end."""
        return bool(self._first or self._rest or self.data or self._block)

    @property
    def progress(self) -> tuple[int, int]:
        """Something that changes when the client completes a frame, or sends more of its data."""
        return self.frames, self.data.left if self.data else 0

    def feed(self, data: bytes) -> None:
        """Take what has come over the socket. Raises ConnectionFaultError."""
        position = 0
        if self._rest or self._preface_left or self.data is not None:
            data, position = self._resume(data)
        sink, end = self._sink, len(data)
        while end - position >= frames.HEADER_BYTES:
            word, flags, stream_id = _unpack(data, position)
            kind = word & 0xFF
            start = position + frames.HEADER_BYTES
            stop = start + (word >> 8)
            if self._first or self._block is not None or stop - start > frames.DEFAULT_MAX_FRAME_BYTES:
                self._check(kind, flags, stop - start)
            if kind == _DATA and (stop > end or flags & frames.PADDED):
                if flags & frames.PADDED and start == end < stop:
                    # The next byte says how much padding there is.
                    break
                position = self._read_data_in_parts(flags, stream_id & _STREAM_ID, stop - start, data, start)
                continue
            if stop > end:
                break
            self.frames += 1
            if kind == _DATA:
                sink.data(stream_id & _STREAM_ID, data, start, stop, flags & frames.END_STREAM != 0)
            elif kind == _HEADERS and flags & _HEADERS_FLAGS == frames.END_HEADERS:
                stop = self._read_headers(flags, stream_id & _STREAM_ID, data, start, stop)
            elif kind == _WINDOW_UPDATE and stop - start == _WORD_BYTES:
                sink.window_update(stream_id & _STREAM_ID, _unpack_word(data, start)[0])
            else:
                self._hand_on(kind, flags, stream_id & _STREAM_ID, data[start:stop])
            position = stop
        if position < end:
            self._rest = data[position:]

    def _resume(self, data: bytes) -> tuple[bytes, int]:
        """Go on with what had begun before `data` came. Returns all that is there, and where the next frame begins."""
        data, self._rest = self._rest + data, b""
        if self._preface_left:
            return data, self._read_preface(data)
        if self.data is not None:
            return data, self._read_data(self.data, data, 0)
        return data, 0

    def _read_headers(self, flags: int, stream_id: int, data: bytes, start: int, stop: int) -> int:
        """A complete header block. If the rest of its request is there, in one DATA frame, both are handed on together;
        there may be a WINDOW_UPDATE for the stream in between, as grpcio sends it. Returns where that ends.
        """
        block, update = data[start:stop], 0
        position: int = stop
        while flags == frames.END_HEADERS and len(data) - position >= frames.HEADER_BYTES:
            word, next_flags, next_id = _unpack(data, position)
            start = position + frames.HEADER_BYTES
            position = start + (word >> 8)
            if word == _WINDOW_UPDATE_WORD and next_id == stream_id and position <= len(data) and not update:
                update = _unpack_word(data, start)[0]
                if update:
                    continue
            whole = (
                word & 0xFF == _DATA
                and next_flags == frames.END_STREAM
                and next_id == stream_id
                and position <= len(data)
                and position - start <= frames.DEFAULT_MAX_FRAME_BYTES
            )
            if not whole:
                break
            if not self._sink.request(stream_id, block, update, data, start, position):
                return stop
            self.frames += 2 if update else 1
            return position
        self._sink.header_block(stream_id, block, flags & frames.END_STREAM != 0)
        return stop

    def _hand_on(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A whole frame that is not one of the usual ones."""
        if kind == _HEADERS:
            block = frames.header_fragment(flags, payload)
            if flags & frames.END_HEADERS:
                self._sink.header_block(stream_id, block, flags & frames.END_STREAM != 0)
            else:
                self._block = _Block(stream_id, [block], len(block), flags & frames.END_STREAM != 0)
        elif kind == _CONTINUATION:
            self._continue_block(flags, stream_id, payload)
        else:
            self._sink.control(kind, flags, stream_id, payload)

    def _read_preface(self, data: bytes) -> int:
        """Check the preface, which may come in parts; returns where it ends."""
        expected = self._preface_left[: len(data)]
        if not data.startswith(expected):
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "not a client of HTTP/2")
        self._preface_left = self._preface_left[len(expected) :]
        return len(expected)

    def _check(self, kind: int, flags: int, length: int) -> None:
        """What has to hold of a frame as soon as its head is there. Raises ConnectionFaultError."""
        limits = self._limits
        if self._first and (kind != Kind.SETTINGS or flags & frames.ACK):
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self._first = False
        if self._block is not None and kind != Kind.CONTINUATION:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "a frame amid a header block")
        if length > limits.max_frame_bytes:
            raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if kind in (Kind.HEADERS, Kind.CONTINUATION):
            if length > limits.max_header_block_bytes:
                raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, "the header block is too large")
        elif kind != Kind.DATA and length > limits.max_control_frame_bytes:
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, f"a control frame of {length} bytes")

    # --- DATA in parts --------------------------------------------------------------------------------------------

    def _read_data_in_parts(self, flags: int, stream_id: int, length: int, data: bytes, start: int) -> int:
        """Begin a frame that has padding, or is not whole yet; returns where what is there of it ends."""
        self.frames += 1
        padding = overhead = 0
        if flags & frames.PADDED:
            padding = data[start] if length else 0
            overhead = padding + 1
            if overhead > length:
                raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "the padding is longer than the frame")
            start += 1
        self._sink.data_begins(stream_id, length, overhead)
        ends = flags & frames.END_STREAM != 0
        if length == overhead:
            # Only padding is missing.
            self._sink.data_part(stream_id, b"", 0, 0, ends)
        return self._read_data(PartialData(stream_id, length - overhead, padding, ends), data, start)

    def _read_data(self, part: PartialData, data: bytes, start: int) -> int:
        """More of a frame; returns where what is there of it ends."""
        stop = min(len(data), start + part.left)
        if stop > start:
            part.left -= stop - start
            self._sink.data_part(part.stream_id, data, start, stop, part.ends and not part.left)
        skipped = min(len(data) - stop, part.padding) if not part.left else 0
        part.padding -= skipped
        self.data = part if part.left or part.padding else None
        return stop + skipped

    def placed(self, size: int) -> None:
        """So much of what was missing of a DATA frame has been read elsewhere. Raises ConnectionFaultError."""
        part = self.data
        assert part is not None  # noqa: S101 - bytes of it were missing
        part.left -= size
        if not part.left and not part.padding:
            self.data = None
        self._sink.data_placed(part.stream_id, size, part.ends and not part.left)

    # --- header blocks in parts -----------------------------------------------------------------------------------

    def _continue_block(self, flags: int, stream_id: int, fragment: bytes) -> None:
        block = self._block
        if block is None or block.stream_id != stream_id:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS before it")
        block.fragments.append(fragment)
        block.size += len(fragment)
        if len(block.fragments) > self._limits.max_continuations + 1:
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, "too many CONTINUATION frames")
        if block.size > self._limits.max_header_block_bytes:
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, "the header block is too large")
        if flags & frames.END_HEADERS:
            self._block = None
            self._sink.header_block(stream_id, b"".join(block.fragments), block.ends)
