"""What makes two requests different for the cache, and what does not."""

from itertools import combinations
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.caching.key import KeyMaker

KEYS = KeyMaker("model", "1", "seed")


def texts(*elements: bytes, shape: tuple[int, ...] | None = None) -> np.ndarray[Any, Any]:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array if shape is None else array.reshape(shape)


def key(*outputs: str, parameters: dict[str, Any] | None = None, **inputs: Any) -> bytes:
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    return KEYS.key(arrays, outputs, parameters or {})


FOUR = np.arange(4, dtype=np.int32)

# Each of these is another request than every other one.
DIFFERENT: dict[str, bytes] = {
    "plain": key(X=FOUR),
    "other content": key(X=FOUR + 1),
    "other shape with equal bytes": key(X=FOUR.reshape(2, 2)),
    "a batch of one": key(X=FOUR.reshape(1, 4)),
    "other datatype with equal bytes": key(X=FOUR.view(np.float32)),
    "unsigned": key(X=FOUR.view(np.uint32)),
    "wider elements with equal bytes": key(X=FOUR.view(np.int64)),
    "FP16": key(X=np.zeros(2, np.float16)),
    "BF16 with equal bytes": key(X=np.zeros(2, ml_dtypes.bfloat16)),
    "other name": key(Y=FOUR),
    "two inputs": key(X=FOUR, Y=FOUR),
    "the same swapped": key(X=FOUR, Y=FOUR + 1),
    "and back": key(X=FOUR + 1, Y=FOUR),
    "optional input that is empty": key(X=FOUR, Y=np.empty(0, np.int32)),
    "one output": key("Y", X=FOUR),
    "another output": key("Z", X=FOUR),
    "both outputs": key("Y", "Z", X=FOUR),
    "a name with a comma": key("Y, Z", X=FOUR),
    "names with quotes": key("Y', 'Z", X=FOUR),
    "parameter true": key(parameters={"p": True}, X=FOUR),
    "parameter 1": key(parameters={"p": 1}, X=FOUR),
    "parameter 1.0": key(parameters={"p": 1.0}, X=FOUR),
    "parameter '1'": key(parameters={"p": "1"}, X=FOUR),
    "parameter of another name": key(parameters={"q": 1}, X=FOUR),
    "two parameters": key(parameters={"p": 1, "q": 1}, X=FOUR),
    "texts": key(X=texts(b"ab", b"c")),
    "texts cut elsewhere": key(X=texts(b"a", b"bc")),
    "texts with an empty one": key(X=texts(b"abc", b"")),
    "texts in a row": key(X=texts(b"ab", b"c", shape=(1, 2))),
    "texts in a column": key(X=texts(b"ab", b"c", shape=(2, 1))),
    "texts that look like lengths": key(X=texts(b"a\x01\x00\x00\x00b")),
    "two texts as those would be written": key(X=texts(b"a", b"b")),
    "large": key(X=np.zeros(10_000, np.float32)),
    "large, one element at the end": key(X=np.append(np.zeros(9_999, np.float32), np.float32(1))),
    "negative zero": key(X=np.append(np.zeros(9_999, np.float32), np.float32(-0.0))),
}


def test_requests_that_differ_in_anything_have_different_keys() -> None:
    same = [names for names in combinations(DIFFERENT, 2) if DIFFERENT[names[0]] == DIFFERENT[names[1]]]
    assert same == []


def test_models_versions_and_generations_have_different_keys() -> None:
    identities = [
        ("m", "1", "s"),
        ("m", "2", "s"),
        ("n", "1", "s"),
        ("m", "1", "t"),
        ("m1", "", "s"),
        ("m", "1s", ""),
    ]
    assert len({KeyMaker(*identity).key({"X": FOUR}, (), {}) for identity in identities}) == len(identities)


def test_equal_requests_have_equal_keys() -> None:
    assert key(X=FOUR) == key(X=FOUR.copy())
    assert key("Y", X=FOUR, parameters={"p": 0.1, "q": "ü"}) == key(
        "Y", X=FOUR, parameters={"q": "ü", "p": 0.1}
    )
    assert KeyMaker("m", "1", "s").key({"X": FOUR}, (), {}) == KeyMaker("m", "1", "s").key(
        {"X": FOUR}, (), {}
    )


def test_the_order_of_inputs_makes_no_difference() -> None:
    assert key(X=FOUR, Y=FOUR + 1) == key(Y=FOUR + 1, X=FOUR)


@pytest.mark.parametrize("size", [8, 8000])
def test_where_the_content_lies_makes_no_difference(size: int) -> None:
    array = np.arange(size, dtype=np.int64).reshape(-1, 4)
    frozen = array.copy()
    frozen.flags.writeable = False
    column_major = np.asfortranarray(array)
    part = np.concatenate([array, array], axis=1)[:, :4]
    unaligned = np.frombuffer(b"." + array.tobytes(), np.uint8)[1:].view(np.int64).reshape(array.shape)
    assert len({key(X=each) for each in (array, frozen, column_major, part, unaligned)}) == 1


TEXTS = st.lists(st.binary(max_size=6), max_size=4)


@given(left=TEXTS, right=TEXTS)
def test_texts_have_one_key_each(left: list[bytes], right: list[bytes]) -> None:
    assert (key(X=texts(*left)) == key(X=texts(*right))) == (left == right)


PARAMETERS = st.dictionaries(
    st.text(max_size=3), st.one_of(st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, 1.0]), st.text(max_size=3)),
    max_size=3,
)  # fmt: skip


@given(left=PARAMETERS, right=PARAMETERS)
def test_parameters_have_one_key_each(left: dict[str, Any], right: dict[str, Any]) -> None:
    def typed(parameters: dict[str, Any]) -> set[tuple[str, str, Any]]:
        return {(name, type(value).__name__, value) for name, value in parameters.items()}

    equal = key(X=FOUR, parameters=left) == key(X=FOUR, parameters=right)
    assert equal == (typed(left) == typed(right))


def test_models_of_fixed_shapes_tell_their_requests_apart_as_all_others_do() -> None:
    def row(count: int, value: int = 0) -> np.ndarray[Any, Any]:
        return np.full((count, 4), value, np.int32)

    requests: list[tuple[dict[str, Any], tuple[str, ...], dict[str, Any], int]] = [
        ({"X": row(1), "Y": row(1)}, (), {}, 1),
        ({"X": row(2), "Y": row(2)}, (), {}, 2),
        ({"X": row(1, 1), "Y": row(1)}, (), {}, 1),
        ({"X": row(1), "Y": row(1, 1)}, (), {}, 1),
        ({"X": row(1), "Y": row(1)}, ("Z",), {}, 1),
        ({"X": row(1), "Y": row(1)}, (), {"p": 1}, 1),
        ({"X": row(2), "Y": row(2)}, (), {"p": 1}, 2),
    ]
    maker = KeyMaker("m", "1", "s", fixed=["Y", "X"])
    keys = [maker.key(*each) for each in requests]
    assert len(set(keys)) == len(requests)
    assert [maker.key(*each) for each in requests] == keys
    # They are those of a model of any shapes.
    assert [KeyMaker("m", "1", "s").key(*each) for each in requests] == keys
    # The order in which a client has them makes no difference.
    assert maker.key({"Y": row(1, 1), "X": row(1)}, (), {}, 1) == keys[3]


def test_what_is_kept_of_forms_is_bounded() -> None:
    maker = KeyMaker("m", "1", "s", fixed=["X"])
    keys = {maker.key({"X": np.zeros((rows, 1), np.int8)}, (), {}, rows) for rows in range(1000)}
    assert len(keys) == 1000
    assert len(maker._heads) < 1000
