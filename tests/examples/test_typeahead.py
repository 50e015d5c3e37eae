"""The model `typeahead` off-line: what it has learned, and that its ONNX file reads chunks as it reads the whole."""

import numpy as np
import onnxruntime
import pytest
import torch

from examples import typeahead
from examples.source import MODEL_REPOSITORY
from kserve_v2.config import read_config
from kserve_v2.tensors.datatypes import Array

MODEL = MODEL_REPOSITORY / "typeahead"
FIRST = np.frombuffer((MODEL / "initial_state" / "after_newline").read_bytes(), "<f4")[None]

TEXT = b"for item in sequence:\n    print(item)\n"


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(MODEL / "1" / "model.onnx", providers=["CPUExecutionProvider"])


def read(session: onnxruntime.InferenceSession, texts: Array, state: Array) -> tuple[Array, Array, Array]:
    """next, bits and the state after the texts, which are all of one length."""
    following, bits, state_out = session.run(
        ["next", "bits", "state_out"], {"text": texts, "state_in": np.repeat(state, len(texts), 0)}
    )
    return following, bits, state_out


def codes(text: bytes) -> Array:
    return np.frombuffer(text, np.uint8)[None]


@pytest.mark.slow
def test_it_has_learned_to_guess(session: onnxruntime.InferenceSession) -> None:
    """On topics that it has not seen, or other versions of them if this is another version of Python."""
    held_out = typeahead.load_data().held_out.numpy().astype(np.uint8)[None, :20_000]
    _, bits, _ = read(session, held_out, FIRST)
    assert bits.shape == held_out.shape
    assert 1.5 < bits.mean() < 2.3  # without any knowledge: 7; by the frequency of each character: 4.5


def test_chunks_are_read_as_the_whole(session: onnxruntime.InferenceSession) -> None:
    following, bits, state = read(session, codes(TEXT), FIRST)
    told, now = [], FIRST
    for start, stop in ((0, 1), (1, 8), (8, 9), (9, len(TEXT))):
        chunk_following, chunk_bits, now = read(session, codes(TEXT[start:stop]), now)
        told.append(chunk_bits)
    np.testing.assert_allclose(np.concatenate(told, axis=1), bits, atol=1e-4)
    np.testing.assert_allclose(chunk_following, following, atol=1e-5)
    np.testing.assert_allclose(now, state, atol=1e-5)


def test_a_piece_of_nothing_changes_nothing(session: onnxruntime.InferenceSession) -> None:
    _, _, state = read(session, codes(TEXT), FIRST)
    following, bits, after = read(session, np.empty((1, 0), np.uint8), state)
    np.testing.assert_array_equal(after, state)
    np.testing.assert_allclose(following, read(session, codes(TEXT), FIRST)[0], atol=1e-5)
    assert bits.shape == (1, 0)


def test_rows_are_independent(session: onnxruntime.InferenceSession) -> None:
    texts = np.concatenate([codes(b"import x"), codes(b"try:\n   "), codes(b"import x")])
    following, bits, state = read(session, texts, FIRST)
    alone = read(session, texts[:1], FIRST)
    for together, single in zip((following, bits, state), alone, strict=True):
        np.testing.assert_allclose(together[:1], single, atol=1e-5)
        np.testing.assert_allclose(together[2:], single, atol=1e-5)


def test_the_file_computes_what_the_network_does() -> None:
    network = typeahead._new_network(1)
    session = onnxruntime.InferenceSession(typeahead.onnx_bytes(network), providers=["CPUExecutionProvider"])
    first = np.frombuffer(typeahead.first_state(network), "<f4")[None]
    following, bits, state = read(session, codes(TEXT), first)
    with torch.inference_mode():
        given = torch.from_numpy(codes(TEXT).astype(np.int64))
        scores, last = network(given, torch.from_numpy(first.copy())[None])
        logs = torch.log_softmax(scores, dim=2)[0].numpy()
    np.testing.assert_allclose(following[0], np.exp(logs[-1]), atol=1e-5)
    expected = -logs[np.arange(len(TEXT) - 1), given[0, 1:].numpy()] / np.log(2)
    np.testing.assert_allclose(bits[0, 1:], expected, atol=1e-4)
    np.testing.assert_allclose(state, last[0].numpy(), atol=1e-5)


def test_bytes_that_are_no_ascii_are_read_as_one_character(session: onnxruntime.InferenceSession) -> None:
    one, other = (read(session, codes(text), FIRST)[2] for text in (b"\xe9\xff", b"\x7f\x7f"))
    np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_short_training_is_repeatable_and_learns() -> None:
    text = typeahead.load_data().train[:12_000]
    one, other = (typeahead.train(text, epochs=1, report=lambda _: None) for _ in range(2))
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)
    assert typeahead.measure(one, text)[1] < typeahead.measure(typeahead._new_network(1), text)[1]


def test_the_sizes_of_the_configuration_are_those_of_the_network() -> None:
    config = read_config(MODEL / "config.pbtxt", "typeahead/config.pbtxt")
    (state,) = config.sequence_batching.state
    assert list(state.dims) == list(state.initial_state[0].dims) == [typeahead.WIDTH]
    assert len((MODEL / "labels.txt").read_text().splitlines()) == typeahead.CODES == len(typeahead.labels())
