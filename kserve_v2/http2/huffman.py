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

_Row = list[tuple[bytes, "_Row"]]
"""By the byte that comes next: the symbols that are complete with it, and the row for the byte after it."""


class _State:
    """A beginning of a code. `row` is empty until it is asked for: usual text comes to know a few dozen states, and all
    257 of them take 4 MB.
    """

    __slots__ = ("children", "row")

    def __init__(self, children: "Sequence[_State | bytes]") -> None:
        """`children`: the state, or the whole symbol, after a 0 and after a 1."""
        self.children = children
        self.row: _Row = []
        _STATES[id(self.row)] = self


_STATES: dict[int, _State] = {}
"""By their rows."""


def _after(state: _State, nbits: int) -> _Row:
    """The symbols that the strings of so many bits complete, in their order, and where they lead."""
    if not nbits:
        return [(b"", state.row)]
    found: _Row = []
    for child in state.children:
        if isinstance(child, bytes):
            found += [(child + more, row) for more, row in _after(_START, nbits - 1)]
        else:
            found += _after(child, nbits - 1)
    return found


def _tree() -> _State:
    """The state in which a string begins."""
    wrong = _State(())
    wrong.children = (wrong, wrong)
    level: list[_State | bytes] = [wrong]
    for length in range(max(_SYMBOLS), -1, -1):
        # Symbols come first on each level, then the pairs of the level below.
        pairs = [level[at : at + 2] for at in range(0, len(level) - 1, 2)]
        level = [
            *(bytes((symbol,)) for symbol in _SYMBOLS.get(length, b"")),
            *(map(_State, pairs) if pairs else level),
        ]
    assert isinstance(level[0], _State)  # noqa: S101 - the code is complete
    return level[0]


def _padding() -> set[int]:
    """The rows at which a string may end: those of the start, and of ones that are no whole byte."""
    state: _State | bytes = _START
    found = set()
    for _ in range(_MAX_PADDING_BITS + 1):
        assert isinstance(state, _State)  # noqa: S101 - no symbol has a code of ones alone
        found.add(id(state.row))
        state = state.children[1]
    return found


_START = _tree()
_MAY_END = _padding()


def decode(data: bytes) -> bytes:
    """The string. Raises ValueError for what is none."""
    while True:
        row, found = _START.row, []
        try:
            for byte in data:
                symbols, row = row[byte]
                found.append(symbols)
        except IndexError:
            # The row is still empty. From now on it is not.
            row += _after(_STATES[id(row)], 8)
            continue
        if id(row) not in _MAY_END:
            raise ValueError("a string in Huffman code does not end as it should")
        return b"".join(found)
