"""Headers with weights: what a client takes, in its order."""

import pytest

from kserve_v2.net.preferences import preferred


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (b"gzip, deflate", ("gzip", "deflate")),
        (b"gzip;q=0.5, deflate ; q=0.7", ("deflate", "gzip")),
        (b"a;q=0.2, b;level=1;q=0.2, C", ("c", "a", "b")),
        (b"br;q=0, gzip;q=0.000, identity", ("identity",)),
        (b"a;q=x, b;q=nan, c;q=1e999, d;q=-1, e;q=", ("c",)),
        (b" ,;q=1, ", ()),
    ],
)
def test_what_a_client_takes(header: bytes, names: tuple[str, ...]) -> None:
    assert preferred(header) == names
