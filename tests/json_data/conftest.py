"""What tests of sliced reading have in common."""

from collections.abc import Iterator

import pytest

from kserve_v2.json_data import broken, text


@pytest.fixture(scope="module")
def in_words_of_large_texts() -> Iterator[None]:
    """Texts of a few bytes are large ones, of which not all that follows is looked at to say what is wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_LARGE_BYTES", 0)
        patch.setattr(broken, "_TAIL_BYTES", 40)
        patch.setattr(broken, "_NEAR_END", 16)
        yield
