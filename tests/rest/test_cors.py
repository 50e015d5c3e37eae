"""Whose pages may read what a connection answers by itself."""

import pytest

from kserve_v2.net.origins import readable_by

A = "https://a.example"


@pytest.mark.parametrize(
    ("origin", "origins", "shown"),
    [
        (A, (A,), A),
        (A, ("https://b.example", A), A),
        (A, ("*",), "*"),
        (A, (), None),
        ("https://a.example.evil.example", (A,), None),
        ("null", (A,), None),
        (None, (A,), None),
        (None, ("*",), None),
    ],
)
def test_origins(origin: str | None, origins: tuple[str, ...], shown: str | None) -> None:
    headers = [(b"host", b"x"), *([(b"origin", origin.encode())] if origin else [])]
    assert readable_by(headers, origins) == shown
