"""What the server relies on of backends, over those that are isolated: tensors of every datatype and shape come through
bit by bit, errors leave the instance usable, nothing that was given back is changed by what comes after.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig, ModelSource, Placement, ThreadBudget
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.isolation.backend import Home, IsolatedBackend
from kserve_v2.plugins import BackendRegistry
from kserve_v2.tensors.datatypes import BOOL, BYTES, DATATYPES, Array, Datatype

pytestmark = pytest.mark.slow

SHAPES = [(1, 1), (4, 3), (2, 0), (2, 50_000)]


@pytest.fixture(scope="module")
def isolated_backend() -> Callable[[str], IsolatedBackend]:
    """A backend of the server's whose models run in processes of their own."""
    registry = BackendRegistry()

    def make(name: str) -> IsolatedBackend:
        return IsolatedBackend(registry.get(name), Home(backend=registry.entry_point(name)))

    return make


def source_of(root: Path, files: Mapping[str, str]) -> ModelSource:
    version_path = root / "m" / "1"
    version_path.mkdir(parents=True)
    for name, text in files.items():
        (version_path / name).write_text(text)
    return ModelSource(
        "m",
        1,
        version_path.parent,
        version_path,
        placements=(Placement("m_0_0", "CPU"),),
        threads=ThreadBudget(1),
    )


def complete(backend: IsolatedBackend, source: ModelSource, text: str = "") -> ModelConfig:
    config = ModelConfig(name="m", default_model_filename=backend.default_filename, platform=backend.platform)
    text_format.Merge(text, config)
    backend.complete(source, config)
    return config


# All datatypes in one process: starting one for each would take longer than all the rest.
IDENTITY = "class Model:\n    inputs = outputs = {%s}\n    max_batch_size = 4\n    def __call__(self, i):\n        return i\n"


@pytest.fixture(scope="module")
def identity(
    isolated_backend: Callable[[str], IsolatedBackend], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    backend = isolated_backend("python")
    tensors = ", ".join(f'"{each.name}": ("{each.name}", [-1])' for each in DATATYPES)
    source = source_of(tmp_path_factory.mktemp("identity"), {"model.py": IDENTITY % tensors})
    model = backend.load(source, complete(backend, source))
    instance = model.instance(source.placements[0])
    yield instance
    instance.close()
    model.close()


def some_array(datatype: Datatype, shape: tuple[int, int]) -> Array:
    """Values of every bit pattern, except that a BOOL is 0 or 1."""
    random = np.random.default_rng(7)
    if datatype is BYTES:
        texts = [b"", "naïve ☃".encode(), b"a\0b", b"x" * 300]
        return np.array([texts[i % 4] for i in range(shape[0] * shape[1])], object).reshape(shape)
    if datatype is BOOL:
        return random.integers(0, 2, shape).astype(bool)
    return np.frombuffer(random.bytes(shape[0] * shape[1] * datatype.item_size), datatype.dtype).reshape(
        shape
    )


def same(left: Array, right: Array) -> bool:
    """Equal datatype, shape and bits."""
    if (left.dtype, left.shape) != (right.dtype, right.shape):
        return False
    return left.tolist() == right.tolist() if left.dtype == object else left.tobytes() == right.tobytes()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_datatype_and_shape_comes_through_bit_by_bit(identity: Any, shape: tuple[int, int]) -> None:
    given = {each.name: some_array(each, shape) for each in DATATYPES}
    for array in given.values():
        array.flags.writeable = False
    before = {name: array.copy() for name, array in given.items()}
    outputs = identity.execute(given, [])
    assert list(outputs) == list(given)
    for name, output in outputs.items():
        assert same(output, before[name]), name
        assert output.dtype is before[name].dtype
        assert output.flags.c_contiguous
        assert same(given[name], before[name])


def test_what_was_given_is_not_changed_by_what_comes_after(identity: Any) -> None:
    arrays = [np.full((1, 100_000), number, np.float32) for number in range(6)]
    rest = {each.name: some_array(each, (1, 1)) for each in DATATYPES if each.name != "FP32"}
    kept = [identity.execute({"FP32": array, **rest}, [])["FP32"] for array in arrays]
    assert all(same(output, array) for output, array in zip(kept, arrays, strict=True))


def test_a_configuration_crosses_as_it_is(
    isolated_backend: Callable[[str], IsolatedBackend], tmp_path: Path
) -> None:
    backend = isolated_backend("python")
    source = source_of(tmp_path, {"model.py": IDENTITY % '"x": ("FP32", [-1])'})
    text = """
        parameters { key: "a" value { string_value: "naïve \\\\ \\"b\\"" } } metric_tags { key: "t" value: "1" }
        dynamic_batching { max_queue_delay_microseconds: 9007199254740993 preferred_batch_size: [ 2, 4 ] }
        instance_group { kind: KIND_CPU count: 2 rate_limiter { priority: 3 } }
    """
    try:
        config = complete(backend, source, text)
    finally:
        source.handover.close()
    wanted = text_format.Parse(text, ModelConfig())
    assert config.parameters == wanted.parameters
    assert config.instance_group == wanted.instance_group
    assert config.dynamic_batching.max_queue_delay_microseconds == 9007199254740993
    assert list(config.dynamic_batching.preferred_batch_size) == [2, 4]
    assert [(each.name, list(each.dims)) for each in config.input] == [("x", [-1])]


@pytest.mark.parametrize("name", ["python", "onnxruntime", "pytorch"])
def test_a_missing_file_is_the_operators_mistake(
    isolated_backend: Callable[[str], IsolatedBackend], tmp_path: Path, name: str
) -> None:
    backend = isolated_backend(name)
    source = source_of(tmp_path, {})
    config = ModelConfig(name="m", default_model_filename=backend.default_filename, platform=backend.platform)
    with pytest.raises(InvalidArgumentError, match=backend.default_filename):
        backend.load(source, config)
