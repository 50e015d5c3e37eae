"""The drawing that is committed is the one that `make_models` draws."""

import numpy as np
import PIL.Image

from examples.digit_drawings import SAMPLE_DIGIT, SAMPLE_FILE, Hand, draw
from examples.source import MODEL_REPOSITORY


def test_the_sample() -> None:
    with PIL.Image.open(MODEL_REPOSITORY / "digits_photo" / SAMPLE_FILE) as image:
        committed = np.asarray(image).astype(int)
    # Another version of Pillow may round differently.
    assert np.abs(committed - draw(SAMPLE_DIGIT, Hand())).max() <= 8


def test_hands_differ() -> None:
    pages = [
        draw(3, hand) for hand in (Hand(), Hand(seed=1), Hand(pen=5), Hand(slant=0.3), Hand(offset=(9, 9)))
    ]
    assert all((page != pages[0]).any() for page in pages[1:])
    assert {page.shape for page in pages} == {(240, 320)}
