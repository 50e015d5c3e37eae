"""The first states of sequences, read from files and made of nothing."""

import os
import struct
import sys
from pathlib import Path

import pytest

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.reading.initial_states import read_states


def read(tmp_path: Path, *states: str, batch: int = 4, files: dict[str, bytes] | None = None) -> list[object]:
    (tmp_path / "initial_state").mkdir(exist_ok=True)
    for name, content in (files or {}).items():
        (tmp_path / "initial_state" / name).write_bytes(content)
    text = " ".join(f"state {{ {state} }}" for state in states)
    config = parse_config(f'name: "M" max_batch_size: {batch} sequence_batching {{ {text} }}', "test")
    return [state.initial.tolist() for state in read_states(config, tmp_path)]


def state(name: str, kind: str, dims: str, initial: str = "") -> str:
    first = f'initial_state {{ name: "first" data_type: TYPE_{kind} {initial} }}' if initial else ""
    return f'input_name: "{name}" output_name: "{name}_OUT" data_type: TYPE_{kind} dims: {dims} {first}'


def test_without_a_word_it_is_zeros(tmp_path: Path) -> None:
    states = [state("A", "FP32", "[ 2 ]"), state("B", "INT64", "[ -1, 2 ]"), state("C", "STRING", "[ 1 ]")]
    assert read(tmp_path, *states) == [[[0.0, 0.0]], [[[0, 0]]], [[b""]]]
    assert read(tmp_path, *states, batch=0) == [[0.0, 0.0], [[0, 0]], [b""]]


def test_zeros_of_a_size(tmp_path: Path) -> None:
    assert read(tmp_path, state("A", "BOOL", "[ -1 ]", "dims: 3 zero_data: true")) == [[[False] * 3]]


def test_a_file_holds_the_bytes_of_the_tensor(tmp_path: Path) -> None:
    files = {"ten": struct.pack("<i", 10), "more": struct.pack("<hhh", 1, 2, 3)}
    states = [
        state("A", "INT32", "[ 1 ]", 'dims: 1 data_file: "ten"'),
        state("B", "INT16", "[ -1 ]", 'dims: 2 data_file: "more"'),
    ]
    assert read(tmp_path, *states, files=files) == [[[10]], [[1, 2]]]


def test_texts_fill_the_file(tmp_path: Path) -> None:
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"ab", b""))
    states = [state("A", "STRING", "[ 2 ]", 'dims: 2 data_file: "texts"')]
    assert read(tmp_path, *states, files={"texts": texts}) == [[[b"ab", b""]]]


def test_nobody_can_write_to_it(tmp_path: Path) -> None:
    config = parse_config(f"sequence_batching {{ state {{ {state('A', 'FP32', '[ 2 ]')} }} }}", "test")
    (first,) = read_states(config, tmp_path)
    assert not first.initial.flags.writeable


def test_all_that_is_wrong_at_once(tmp_path: Path) -> None:
    states = [
        state("A", "INT32", "[ 2 ]", 'dims: 2 data_file: "short"'),
        state("B", "INT32", "[ 1 ]", 'dims: 1 data_file: "nowhere"'),
        state("C", "STRING", "[ 2 ]", 'dims: 2 data_file: "texts"'),
    ]
    with pytest.raises(InvalidArgumentError) as raised:
        read(tmp_path, *states, files={"short": b"1234567", "texts": struct.pack("<I", 0)})
    assert raised.value.message == (
        "initial_state setting expects 8 bytes, but the data provided from short only has 7 bytes.; state 'B': file "
        "'initial_state/nowhere' cannot be read: No such file or directory; state 'C': file 'initial_state/texts': "
        "expected 2 string elements for inference input 'C' for model 'M', got 1"
    )


def test_a_link_that_leads_out(tmp_path: Path) -> None:
    model = tmp_path / "M"
    (model / "initial_state").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"1234")
    (model / "initial_state" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(
        InvalidArgumentError, match="file 'initial_state/link' is outside of the model's directory"
    ):
        read(model, state("A", "INT32", "[ 1 ]", 'dims: 1 data_file: "link"'))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "initial_state").mkdir()
    os.mkfifo(tmp_path / "initial_state" / "pipe")
    with pytest.raises(InvalidArgumentError, match="state 'A': file 'initial_state/pipe' is no file"):
        read(tmp_path, state("A", "INT32", "[ 1 ]", 'dims: 1 data_file: "pipe"'))
