"""How texts are cleaned for a text_classifier; the answers are those of TorchServe 0.12."""

import sys
from collections.abc import Iterator

import pytest
from kserve_v2_child.torchserve.host import MODULES


@pytest.fixture(scope="module", autouse=True)
def modules() -> Iterator[None]:
    sys.path.insert(0, str(MODULES))
    yield
    sys.path.remove(str(MODULES))
    for name in [each for each in sys.modules if each.partition(".")[0] == "ts"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i don't know, can't say; won't!", "i do not know, cannot say; will not!"),
        (
            "you'd've she'll y'all o'clock ma'am let's",
            "you wouldve she will you all of the clock madam let us",
        ),
        (
            "They've what's who'd how'd'y ain't mustn't've",
            "They have what is whod how didy as not must notve",
        ),
        ("needn't sha'n't shan't", "need not shall not shall not"),
        ("it'd it'll've he'd wouldn't've", "it would it willve he would would notve"),
        ("should've 'cause I'm I've we'd've", "should have ecause I am I have we wouldve"),
        ("cat's", "cats"),
    ],
)
def test_short_forms(text: str, expected: str) -> None:
    from ts.handler_utils.text_cleaning import expand_contractions  # noqa: PLC0415 - there as long as the test runs

    assert expand_contractions(text) == expected


def test_words_and_pairs_of_them() -> None:
    from ts.handler_utils.text_utils import get_tokenizer, ngrams_iterator  # noqa: PLC0415 - as above

    words = get_tokenizer("basic_english")('Hello, (you) there! It\'s "fine".<br />Yes; no')
    assert words == ["hello", ",", "(", "you", ")", "there", "!", "it", "'", "s", "fine", ".", "yes", "no"]
    assert list(ngrams_iterator(["a", "b", "c"], 2)) == ["a", "b", "c", "a b", "b c"]
