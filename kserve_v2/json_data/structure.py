"""Large JSON of very many objects is refused before it is parsed: a parser makes all of them in one go."""

import re

from kserve_v2.json_data.values import B64
from kserve_v2.net.limits import MAX_MEMBERS, too_many
from kserve_v2.scheduling.slices import SLICE_BYTES, Slices

# A text, and its end, which may be in the next piece.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_B64 = b'"%b"' % B64.encode()


def check_structure(text: bytes | bytearray | memoryview) -> Slices[None]:
    """Raise InvalidArgumentError if JSON has more objects and members than a request may have. Objects that stand for
    bytes are not counted.
    """
    view = memoryview(text)
    found = at = 0
    in_text = False
    while at < len(view):
        piece = bytes(view[at : at + SLICE_BYTES])
        # Between any two texts is what says whether the first one ended.
        parts = _TEXT.split(b'"' + piece if in_text else piece)
        bare = b"".join(parts[::2])
        found += bare.count(b"{") + bare.count(b":") - 2 * piece.count(_B64)
        if found > MAX_MEMBERS:
            raise too_many(MAX_MEMBERS, "objects and members in its JSON")
        in_text = len(parts) > 1 and not parts[-2]
        # An escape may have been cut in two.
        at += SLICE_BYTES - (in_text and parts[-1] == b"\\")
        yield
