"""Strings in the Huffman code of HPACK (RFC 7541, section 5.2 and appendix B), decoded a byte at a time."""

from collections.abc import Sequence

# Symbols by the length of their codes. The code is canonical: this order is that of the codes, so it says all of them.
# The end of a string, which comes last, has one too, of 30 ones, but none may hold it.
_SYMBOLS = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: bytes.fromhex("5cc3d0"),
    20: bytes.fromhex("808283a2b8c2e0e2"),
    21: bytes.fromhex("99a1a7acb0b1b3d1d8d9e3e5e6"),
    22: bytes.fromhex("8184858688929a9ca0a3a4a9aaadb2b5b9babbbdbec4c6e4e8e9"),
    23: bytes.fromhex("0187898a8b8c8d8f93959697989b9d9ea5a6a8aeafb4b6b7bcbfc5e7ef"),
    24: bytes.fromhex("098e9091949fabced7e1eced"),
    25: bytes.fromhex("c7cfeaeb"),
    26: bytes.fromhex("c0c1c8c9cacdd2d5dadbeef0f2f3ff"),
    27: bytes.fromhex("cbccd3d4d6dddedff1f4f5f6f7f8fafbfcfdfe"),
    28: bytes.fromhex("020304050607080b0c0e0f1011121314151718191a1b1c1d1e1f7fdcf9"),
    30: bytes.fromhex("0a0d16"),
}
_MAX_PADDING_BITS = 7


class _State(dict[int, "tuple[bytes, _State]"]):
    """A beginning of a code. By the byte that comes next: the symbols that are complete with it, and the state then.
    That is worked out when it is first asked for: usual text comes to know a few dozen states, and all 257 of them take
    8 MB.
    """

    __slots__ = ("children", "may_end")

    def __init__(self, children: "Sequence[_State | bytes]", may_end: bool) -> None:
        """`children`: the state, or the whole symbol, after a 0 and after a 1. `may_end`: whether this is padding."""
        self.children = children
        self.may_end = may_end

    def __missing__(self, byte: int) -> "tuple[bytes, _State]":
        self.update(enumerate(_after(self, 8)))
        return self[byte]


def _after(state: _State, nbits: int) -> "list[tuple[bytes, _State]]":
    """The symbols that the strings of so many bits complete, in their order, and the states that they lead to."""
    if not nbits:
        return [(b"", state)]
    found = []
    for child in state.children:
        if isinstance(child, bytes):
            found += [(child + more, end) for more, end in _after(_START, nbits - 1)]
        else:
            found += _after(child, nbits - 1)
    return found


def _tree() -> _State:
    """The state in which a string begins."""
    wrong = _State((), may_end=False)
    wrong.children = (wrong, wrong)
    level: list[_State | bytes] = [wrong]
    for length in range(max(_SYMBOLS), -1, -1):
        # Symbols come first on each level, then the pairs of the level below. The last ones are codes of ones alone.
        symbols = [bytes((symbol,)) for symbol in _SYMBOLS.get(length, b"")]
        level = [*symbols, *(level if len(level) == 1 else _pairs(level, length <= _MAX_PADDING_BITS))]
    assert isinstance(level[0], _State)  # noqa: S101 - the code is complete
    return level[0]


def _pairs(level: "Sequence[_State | bytes]", of_padding: bool) -> list[_State]:
    last = len(level) - 2
    return [_State(level[at : at + 2], of_padding and at == last) for at in range(0, len(level), 2)]


_START = _tree()


def decode(data: bytes) -> bytes:
    """The string. Raises ValueError for what is none."""
    state, found = _START, []
    for byte in data:
        symbols, state = state[byte]
        found.append(symbols)
    if not state.may_end:
        raise ValueError("a string in Huffman code does not end as it should")
    return b"".join(found)
