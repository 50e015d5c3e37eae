"""What the benchmarks of memory make of what they measure."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import residency, unloading
from benchmarks.processes import Child
from benchmarks.residency import Found
from benchmarks.unloading import Flatness


@pytest.mark.parametrize(
    ("sizes", "growth", "flat"),
    [
        # What comes with the first tenth of the loads is no growth.
        ([10.0, 10.0, *[100.0] * 18], 0.0, True),
        ([*[100.0] * 18, 104.0, 104.0], 0.04, True),
        ([*[100.0] * 18, 106.0, 106.0], 0.06, False),
        ([float(n) for n in range(100, 120)], 118.5 / 102.5 - 1, False),
        ([100.0, 90.0], 90 / 90 - 1, True),
        ([100.0], 0.0, True),
    ],
)
def test_flatness(sizes: list[float], growth: float, flat: bool) -> None:
    found = Flatness.of("m", [(float(n), size) for n, size in enumerate(sizes)])
    assert found.growth == pytest.approx(growth)
    assert found.flat is flat


def test_popularity_goes_down_as_zipf_has_it() -> None:
    asked = Counter(residency.zipf(100, 50_000, 1.0))
    popular = [count for _, count in asked.most_common()]
    # The first one is asked for 1/H(100) of all requests, the second one half as often.
    assert popular[0] / 50_000 == pytest.approx(1 / 5.187, rel=0.05)
    assert popular[1] / popular[0] == pytest.approx(1 / 2, rel=0.1)
    assert residency.zipf(100, 500, 1.0) == residency.zipf(100, 500, 1.0)


def test_the_pictures_show_every_series() -> None:
    found = [Found("<limited>", 0.75, [1.0, 2.0, 900.0], 0), Found("unlimited", 1.0, [1.0], 0)]
    for picture, names in (
        (residency.picture(found), ["<limited> (75.0% hits)", "unlimited (100.0% hits)"]),
        (
            unloading.picture({"cycles": {"onnx": [(1, 100), (2, 101)]}, "reloads": {}, "failures": {}}),
            ["onnx"],
        ),
    ):
        root = ElementTree.fromstring(picture)  # noqa: S314 - it is our own
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        assert set(names) <= set(texts)
        assert len([*root.iter("{http://www.w3.org/2000/svg}polyline")]) == len(names)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel gives no account")
def test_memory_of_a_server_is_that_of_the_processes_below_it_too() -> None:
    size = 64 * 2**20
    # The parent holds nothing, its child 64 MiB; and both hold 64 MiB that they share.
    code = (
        "import mmap, os, sys\n"
        f"shared = mmap.mmap(-1, {size}); shared.write(bytes({size}))\n"
        "if os.fork():\n"
        "    os.wait()\n"
        "else:\n"
        f"    own = bytearray(b'1') * {size}; shared.seek(0); shared.read()\n"
        "    print('ready', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        used = Child(process.pid, {}).memory_bytes()
        process.stdin.close()
    assert 2 * size < used < 2.9 * size
    assert Child(process.pid, {}).memory_bytes() == 0
