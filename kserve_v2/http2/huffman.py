"""Strings in the Huffman code of HPACK (RFC 7541, section 5.2 and appendix B), decoded a byte at a time."""

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
_END_BITS = 30


def _codes() -> dict[str, bytes]:
    """All symbols by their codes, which are texts of 0 and 1."""
    found: dict[str, bytes] = {}
    code = before = 0
    for length, symbols in _SYMBOLS.items():
        code <<= length - before
        before = length
        for symbol in symbols:
            found[f"{code:0{length}b}"] = bytes((symbol,))
            code += 1
    return found


_CODES = _codes()


_Row = list[tuple[bytes, "_Row"]]
"""For each byte that may come next: the symbols that are complete with it, and the row for the byte after it."""

_START: _Row = []
_ROWS = {"": _START}
"""By the bits that are left over, which begin a code. A row is empty until it is asked for: usual text comes to know a
few dozen, and all 257 of them take 4 MB.
"""

# What fills the last byte of a string are ones.
_MAY_END = {id(_ROWS.setdefault("1" * count, [])) for count in range(_MAX_PADDING_BITS + 1)}


def _entry(left: str, more: str) -> tuple[bytes, _Row]:
    symbols = b""
    for bit in more:
        left += bit
        symbol = _CODES.get(left)
        if symbol is not None:
            symbols, left = symbols + symbol, ""
    # Behind the code of the end, which is not allowed, all is wrong.
    return symbols, _ROWS.setdefault(left[:_END_BITS], [])


def decode(data: bytes) -> bytes:
    """The string. Raises ValueError for what is none."""
    while True:
        row, found = _START, []
        try:
            for byte in data:
                symbols, row = row[byte]
                found.append(symbols)
        except IndexError:
            # The row is still empty. From now on it is not.
            left = next(left for left, each in _ROWS.items() if each is row)
            row += [_entry(left, f"{byte:08b}") for byte in range(256)]
            continue
        if id(row) not in _MAY_END:
            raise ValueError("a string in Huffman code does not end as it should")
        return b"".join(found)
