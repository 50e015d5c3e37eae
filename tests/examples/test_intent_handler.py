"""The intent handler through its backend: batches, odd texts, a client's mistakes, files that do not fit."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from kserve_v2_backends.eager.backend import EagerBackend

from examples.source import MODEL_REPOSITORY
from kserve_v2.backend import AsyncInstance, Instance, ModelSource, Placement
from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import Array

INTENTS = {
    b"alarm", b"lights", b"message", b"music", b"recipe", b"shopping_list", b"translation", b"weather"
}  # fmt: skip

Ask = Callable[..., tuple[list[bytes], Array]]


@contextmanager
def loaded(directory: Path) -> Iterator[Instance]:
    """An instance of the model in `directory`."""
    placement = Placement("intent_0", "CPU")
    source = ModelSource("intent", 1, directory, directory / "1", placements=(placement,))
    config = parse_config((directory / "config.pbtxt").read_text(), "config.pbtxt")
    config.default_model_filename = "model.py"
    backend = EagerBackend()
    backend.complete(source, config)
    model = backend.load(source, config)
    try:
        instance = model.instance(placement)
        assert not isinstance(instance, AsyncInstance)
        yield instance
        instance.close()
    finally:
        model.close()


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with loaded(MODEL_REPOSITORY / "intent") as instance:

        def run(*texts: bytes) -> tuple[list[bytes], Array]:
            outputs = instance.execute({"text": np.array(texts, np.object_).reshape(-1, 1)}, [])
            assert outputs["intent"].shape == outputs["score"].shape == (len(texts), 1)
            assert outputs["score"].dtype == np.float32
            return outputs["intent"][:, 0].tolist(), outputs["score"][:, 0]

        yield run


def test_plain_requests(ask: Ask) -> None:
    intents, scores = ask(b"will it rain in Rome tomorrow?", b"PLAY SOME JAZZ", b"add eggs to the list")
    assert intents == [b"weather", b"music", b"shopping_list"]
    assert ((scores > 0.5) & (scores <= 1)).all()


def test_a_misspelt_text_is_still_understood(ask: Ask) -> None:
    assert ask(b"whats the wether forcast for tomorow")[0] == [b"weather"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n",
        "?!...",
        "\x00",
        "\ufeff",
        "qwrtzpsdfg",
        "你好，世界",
        "مرحبا بالعالم",
        "\U0001f480\U0001f3ff\u200d",
        "a" * 4096,
        "é" * 2048,
    ],
)
def test_any_text_gets_an_answer(ask: Ask, text: str) -> None:
    intents, scores = ask(text.encode())
    assert set(intents) <= INTENTS
    assert 0 < scores[0] <= 1


def test_a_text_without_words_gets_a_low_score(ask: Ask) -> None:
    assert ask(b"")[1][0] < 0.3


def test_a_batch_is_answered_row_by_row(ask: Ask) -> None:
    texts = [b"dim the lights", b"", b"how do I bake bread", b"text mum", b"how do you say yes in Dutch"]
    intents, scores = ask(*texts)
    alone = [ask(text) for text in texts]
    assert intents == [intent for single, _ in alone for intent in single]
    np.testing.assert_allclose(scores, np.concatenate([score for _, score in alone]), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe", r"^input 'text': expected UTF-8, got invalid start byte at byte 0$"),
        (
            "naïve".encode("latin-1"),
            r"^input 'text': expected UTF-8, got invalid continuation byte at byte 2$",
        ),
        (b"a" * 4097, r"^input 'text': expected at most 4096 bytes, got 4097$"),
    ],
)
def test_a_text_that_cannot_be_read_is_the_clients_error(ask: Ask, text: bytes, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ask(b"play music", text)
    assert ask(b"play music")[0] == [b"music"]


def test_files_of_two_trainings_are_refused(tmp_path: Path) -> None:
    directory = Path(shutil.copytree(MODEL_REPOSITORY / "intent", tmp_path / "intent"))
    vocabulary = directory / "1" / "vocab.json"
    vocabulary.write_text(vocabulary.read_text().replace('"play"', '"ploy"'))
    refused = pytest.raises(InvalidArgumentError, match=r"^vocab\.json is not the file that manifest.json")
    with refused, loaded(directory):
        pass
