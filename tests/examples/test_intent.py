"""The intent model off-line: the phrases and the training."""

from collections import Counter
from functools import partial

import pytest
import torch

from examples import intent

Phrase = intent.Phrase


@pytest.fixture(scope="module")
def phrases() -> list[Phrase]:
    return intent.load_phrases()


@pytest.fixture(scope="module")
def training(phrases: list[Phrase]) -> list[Phrase]:
    return [phrase for phrase in phrases if not phrase.held_out]


def silent(_text: str) -> None:
    """Takes progress lines."""


def normal(phrase: Phrase) -> tuple[str, ...]:
    """A phrase without case, punctuation and order: two with the same words are the same."""
    return tuple(sorted(set(intent.handler.words(phrase.text))))


def test_there_are_enough_phrases_of_every_intent(phrases: list[Phrase]) -> None:
    for held_out, least in ((False, 40), (True, 20)):
        counts = Counter(phrase.intent for phrase in phrases if phrase.held_out is held_out)
        assert len(counts) >= 8
        assert min(counts.values()) >= least


def test_the_file_holds_nothing_but_clean_phrases(phrases: list[Phrase]) -> None:
    lines = intent.PHRASES.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "split\tintent\tphrase"
    assert {line.split("\t")[0] for line in lines[1:]} == {"train", "held_out"}
    assert len(phrases) == len(lines) - 1
    assert all(phrase.text and phrase.text == phrase.text.strip() for phrase in phrases)


def test_no_phrase_comes_twice(phrases: list[Phrase]) -> None:
    texts = Counter(" ".join(intent.handler.words(phrase.text)) for phrase in phrases)
    assert [text for text, count in texts.items() if count > 1] == []


def test_no_held_out_phrase_has_the_words_of_a_trained_one(phrases: list[Phrase]) -> None:
    trained = {normal(phrase) for phrase in phrases if not phrase.held_out}
    assert [phrase.text for phrase in phrases if phrase.held_out and normal(phrase) in trained] == []


def test_phrases_vary(phrases: list[Phrase]) -> None:
    """No template with an exchanged word: few phrases of an intent begin with the same three words."""
    for name in {phrase.intent for phrase in phrases}:
        own = [intent.handler.words(phrase.text)[:3] for phrase in phrases if phrase.intent == name]
        assert len({tuple(words) for words in own}) > len(own) / 2, name


def weights(classifier: intent.Classifier) -> bytes:
    return intent.model_files(classifier)["1/weights.safetensors"]


def test_training_depends_on_the_seed_alone(training: list[Phrase]) -> None:
    train = partial(intent.train, training[::10], epochs=1, report=silent)
    first = weights(train(seed=1))
    torch.rand(3)  # whoever else draws from torch's global random state must not matter
    assert weights(train(seed=1)) == first
    assert weights(train(seed=2)) != first


def test_training_leaves_the_global_random_state_alone(training: list[Phrase]) -> None:
    before = torch.get_rng_state()
    intent.train(training[::20], epochs=1, report=silent)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_a_small_training_learns_its_phrases(training: list[Phrase]) -> None:
    few = [phrase for phrase in training if phrase.intent in {"weather", "music"}][::4]
    classifier = intent.train(few, epochs=10, report=silent)
    assert classifier.intents == ("music", "weather")
    assert intent.accuracy(classifier, few) >= 0.95


def test_words_that_occur_once_get_no_row() -> None:
    vocabulary = intent.build_vocabulary(["Play it again", "play IT louder", "stop stop"])
    assert vocabulary == {"it": 0, "play": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP, please!", ["don't", "stop", "please"]),
        ("naïve ﬁne ７", ["naïve", "fine", "7"]),
        ("Straße", ["strasse"]),
        ("你好 世界", ["你好", "世界"]),
        (" ... \n", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert intent.handler.words(text) == words


def test_tokens_are_known_words_and_hashed_letter_groups() -> None:
    vocabulary = {"rain": 0, "snow": 1}
    # <ra rai ain in> <rai rain ain>
    known, *groups = intent.handler.token_ids("Rain", vocabulary, buckets=8)
    assert known == 0
    assert len(groups) == 7
    assert all(2 <= group < 10 for group in groups)
    assert intent.handler.token_ids("sleet", vocabulary, buckets=8)[0] >= 2
    assert intent.handler.token_ids("a", vocabulary, buckets=8)  # even the shortest word has a letter group


def test_pack_keeps_empty_texts_apart() -> None:
    ids, offsets = intent.handler.pack([[], [3, 4], [], [5]])
    assert ids.tolist() == [3, 4, 5]
    assert offsets.tolist() == [0, 0, 2, 2]
