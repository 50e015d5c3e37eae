"""Which GPUs a model's process sees."""

from pathlib import Path

import pytest

from kserve_v2.backend import Placement
from kserve_v2.isolation.devices import devices_of, environment_of, gpu_count, inside

CPU = Placement("m_0", "CPU")


def gpu(number: int) -> Placement:
    return Placement(f"m_gpu{number}", "GPU", number)


def test_a_process_counts_its_own_devices_from_zero() -> None:
    placements = [gpu(3), CPU, gpu(1), gpu(3)]
    devices = devices_of(placements)
    assert devices == (3, 1)
    assert [inside(each, devices).device for each in placements] == ["cuda:0", "cpu", "cuda:1", "cuda:0"]
    assert [inside(each, devices).name for each in placements] == [each.name for each in placements]


@pytest.mark.parametrize(
    ("visible", "devices", "expected"),
    [
        (None, (1,), "1"),
        (None, (2, 0), "2,0"),
        ("4,5,6", (1,), "5"),
        ("4, 5", (1, 0), "5,4"),
        ("GPU-abc,GPU-def", (1,), "GPU-def"),
        ("3", (), "3"),
    ],
)
def test_the_devices_are_chosen_by_the_variable(
    visible: str | None, devices: tuple[int, ...], expected: str
) -> None:
    given = {"A": "b"} if visible is None else {"A": "b", "CUDA_VISIBLE_DEVICES": visible}
    made = environment_of(devices, given)
    assert made == {"A": "b", "CUDA_VISIBLE_DEVICES": expected}


def test_without_a_gpu_nothing_is_changed() -> None:
    assert environment_of((), None) is None


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("", 0), ("0", 1), ("1,0", 2), ("-1", 0), ("0,-1,1", 1), ("GPU-abc", 1), ("7", 0), ("0,7,1", 1)],
)
def test_gpus_are_counted_by_the_files_of_the_driver(tmp_path: Path, visible: str, expected: int) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert gpu_count(tmp_path, visible) == expected


def test_no_driver_is_no_gpu(tmp_path: Path) -> None:
    assert gpu_count(tmp_path / "nothing", "0") == 0
