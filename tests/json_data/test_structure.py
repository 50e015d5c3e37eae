"""JSON of very many objects is refused before it is parsed, and no other."""

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data import structure
from kserve_v2.json_data.large import data_of_inputs
from kserve_v2.json_data.structure import check_structure
from kserve_v2.net.limits import MAX_ID_CHARACTERS, MAX_MEMBERS
from kserve_v2.rest.generate_codec import members
from kserve_v2.rest.infer import read_data
from kserve_v2.scheduling.slices import LARGE_BYTES, any_room, at_once

TEXTS = st.text(st.sampled_from('a:{"\\}é,[\n'), max_size=12)
DOCUMENTS = st.recursive(
    st.one_of(st.integers(), st.none(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=40,
)


def members_of(value: Any) -> int:
    """How many objects and members there are, those that stand for bytes left out, however they are written."""
    if isinstance(value, list):
        return sum(map(members_of, value))
    if not isinstance(value, dict):
        return 0
    return 1 + len(value) + sum(map(members_of, value.values()))


def refused(text: bytes) -> bool:
    try:
        at_once(check_structure(text))
    except InvalidArgumentError as error:
        assert "objects and members" in error.message
        return True
    return False


@settings(deadline=None)
@given(DOCUMENTS, st.integers(2, 9), st.sampled_from([None, 1]))
def test_what_is_in_texts_does_not_count_however_pieces_are_cut(
    document: Any, slice_bytes: int, indent: int | None
) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=indent).encode()
    count = members_of(document)
    assume(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "SLICE_BYTES", slice_bytes)
        patch.setattr(structure, "MAX_MEMBERS", count)
        assert not refused(text)
        patch.setattr(structure, "MAX_MEMBERS", count - 1)
        assert refused(text)


def test_very_many_objects_that_stand_for_bytes_are_no_structure() -> None:
    images = [{"b64": "aGVsbG8="}] * (2 * MAX_MEMBERS)
    document = at_once(read_data(members)(json.dumps({"X": images, "more": 1}).encode(), any_room))
    assert document is None or document["more"] == 1


@pytest.mark.parametrize(
    "more",
    [
        {"parameters": {f"p{number}": number for number in range(2 * MAX_MEMBERS)}},
        {"others": [{}] * (2 * MAX_MEMBERS)},
    ],
)
@pytest.mark.parametrize("data", [[1], [0.5] * LARGE_BYTES])
def test_beside_any_data_very_many_members_are_refused(data: list[float], more: dict[str, Any]) -> None:
    text = json.dumps(
        {"inputs": [{"name": "X", "datatype": "FP32", "shape": [len(data)], "data": data}], **more}
    )
    with pytest.raises(InvalidArgumentError, match=f"more than {MAX_MEMBERS} objects and members"):
        at_once(read_data(data_of_inputs)(text.encode().ljust(LARGE_BYTES), any_room))


def test_a_list_of_nothing_but_empty_lists_is_refused() -> None:
    text = json.dumps({"inputs": [{"name": "X", "data": [[]] * LARGE_BYTES}]}).encode()
    with pytest.raises(InvalidArgumentError, match="nothing but empty lists"):
        at_once(read_data(data_of_inputs)(text, any_room))


def test_an_id_that_is_much_too_long_is_refused_before_it_is_decoded() -> None:
    text = json.dumps({"inputs": [], "id": "i" * (7 * MAX_ID_CHARACTERS)}).encode()
    with pytest.raises(InvalidArgumentError, match=f"id has {7 * MAX_ID_CHARACTERS} bytes, at most"):
        at_once(read_data(data_of_inputs)(text, any_room))


@pytest.mark.parametrize(
    ("text", "says"), [(b" \n" * LARGE_BYTES, "document is empty"), (b"[" * LARGE_BYTES, "depth exceeds")]
)
def test_blanks_and_brackets_alone_are_told_in_slices(text: bytes, says: str) -> None:
    found = at_once(read_data(data_of_inputs)(text, any_room))
    assert isinstance(found, InvalidArgumentError)
    assert says in found.message
