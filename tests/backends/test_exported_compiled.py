"""Packages of AOTInductor. To make one takes half a minute of compiling, so those tests that need a real one run where
AOTINDUCTOR_TESTS is set in the environment; with its value, the file of a package of `Sums` as below, nothing is compiled.
"""

import io
import json
import os
import platform
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kserve_v2_backends.pytorch.exported.backend import ExportedBackend
from torch import Tensor, nn

from kserve_v2.errors import InternalError, InvalidArgumentError

pytestmark = pytest.mark.filterwarnings("ignore")

ASKED = os.environ.get("AOTINDUCTOR_TESTS", "")

CONFIG = """
max_batch_size: 64
input { name: "INPUT__0" data_type: TYPE_FP32 dims: 4 } input { name: "INPUT__1" data_type: TYPE_FP32 dims: 4 }
output { name: "total" data_type: TYPE_FP32 dims: 4 } output { name: "difference" data_type: TYPE_FP32 dims: 4 }
"""


class Sums(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"total": x + y, "difference": x - y}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if not ASKED:
        pytest.skip("compiling takes half a minute: set AOTINDUCTOR_TESTS=1")
    if Path(ASKED).is_file():
        return Path(ASKED).read_bytes()
    if shutil.which("g++") is None:
        pytest.skip("AOTInductor needs a C++ compiler")
    batch = {0: torch.export.Dim("batch", max=64)}
    # Not one tensor twice: torch would take the two inputs for one.
    program = torch.export.export(
        Sums(), (torch.ones(2, 4), torch.ones(2, 4)), dynamic_shapes={"x": batch, "y": batch}
    )
    file = tmp_path_factory.mktemp("aoti") / "sums.pt2"
    torch._inductor.aoti_compile_and_package(program, package_path=str(file))
    return file.read_bytes()


def made_up(**metadata: str) -> bytes:
    """A package without code."""
    described = {
        "AOTI_DEVICE_KEY": "cpu", "AOTI_PLATFORM": sys.platform, "AOTI_MACHINE": platform.machine(), "AOTI_CPU_ISA": "",
    }  # fmt: skip
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("m/data/aotinductor/model/a.wrapper.so", b"no library")
        archive.writestr("m/data/aotinductor/model/a.wrapper_metadata.json", json.dumps(described | metadata))
        archive.writestr("m/archive_format", "pt2")
        archive.writestr("m/archive_version", "0")
    return target.getvalue()


def serve(loader: Any, content: bytes, text: str = CONFIG, **options: Any) -> Any:
    return loader.serve(ExportedBackend(), loader.source({"model.pt2": content}, **options), text)


def refusal(loader: Any, content: bytes, text: str = CONFIG) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        serve(loader, content, text)
    return caught.value.message


def rows(count: int, width: int = 4) -> Any:
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("", "input"),
            ('input { name: "x" }', "input"),
            ('input { name: "x" data_type: TYPE_FP32 dims: 4 }', "output"),
            (
                'input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 }',
                "output",
            ),
        ],
    )
    def test_the_configuration_has_to_say_what_there_is(self, loader: Any, text: str, kind: str) -> None:
        message = refusal(loader, made_up(), text)
        assert (
            f"is a package of AOTInductor, which does not say what its {kind}s are: write them into"
            in message
        )

    def test_texts(self, loader: Any) -> None:
        message = refusal(loader, made_up(), CONFIG.replace("TYPE_FP32", "TYPE_STRING"))
        assert "'INPUT__0' is TYPE_STRING" in message

    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            ({"AOTI_DEVICE_KEY": "cuda"}, "was compiled for cuda and cannot run on cpu: set instance_group"),
            ({"AOTI_PLATFORM": "plan9"}, "was compiled on plan9"),
            ({"AOTI_MACHINE": "vax"}, "was compiled on vax"),
            ({}, "cannot load the package"),
        ],
    )
    def test_packages_that_cannot_run_here(self, loader: Any, metadata: dict[str, str], message: str) -> None:
        assert message in refusal(loader, made_up(**metadata))

    def test_instructions_that_the_processor_has_not(self, loader: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
        message = refusal(loader, made_up(AOTI_CPU_ISA="AVX512 AVX512_VNNI"))
        assert "was compiled for processors with AVX512, which would end the server on this one" in message


@pytest.mark.slow
class TestServed:
    def test_it_answers_as_the_module_does(self, loader: Any, package: bytes, instance_thread: Any) -> None:
        model = loader.load(ExportedBackend(), loader.source({"model.pt2": package}, instances=2), CONFIG)
        threads = [instance_thread(model) for _ in range(2)]
        for thread, count in zip(threads, (1, 64), strict=True):
            outputs = thread.execute({"INPUT__1": rows(count), "INPUT__0": rows(count) * 3})
            np.testing.assert_array_equal(outputs["total"], rows(count) * 4)
            np.testing.assert_array_equal(outputs["difference"], rows(count) * 2)
            thread.close()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                CONFIG.replace("dims: 4", "dims: 5"),
                "contradicts the configuration: input 'INPUT__0': unmatched dim value",
            ),
            (
                CONFIG.replace("TYPE_FP32", "TYPE_FP64"),
                "contradicts the configuration: input 'INPUT__0': unmatched dtype",
            ),
            (
                CONFIG.replace("INPUT__1", "INPUT__2"),
                "has 2 input(s), 'INPUT__0', 'INPUT__1', the configuration says",
            ),
            (
                CONFIG.replace("total", "sum"),
                "has 2 output(s), 'total', 'difference', the configuration says 'sum'",
            ),
        ],
    )
    def test_names_that_it_does_not_have(self, loader: Any, package: bytes, text: str, message: str) -> None:
        assert message in refusal(loader, package, text)

    def test_one_output_and_inputs_by_other_names(self, loader: Any, package: bytes) -> None:
        text = CONFIG.replace("INPUT__0", "left").replace("INPUT__1", "right")
        text = text.replace('output { name: "total" data_type: TYPE_FP32 dims: 4 }', "")
        outputs = serve(loader, package, text).execute({"left": rows(2) * 2, "right": rows(2)})
        assert list(outputs) == ["difference"]
        np.testing.assert_array_equal(outputs["difference"], rows(2))

    def test_what_it_was_not_compiled_for_is_the_client_s_mistake(self, loader: Any, package: bytes) -> None:
        """Where the configuration says otherwise: it does not read beyond the memory of its inputs."""
        served = serve(loader, package)
        good = rows(3)
        for left, text in (
            (rows(3, 5), "input 'INPUT__0': unmatched dim value at 1, expected: 4, but got: 5"),
            (rows(3).astype(np.float64), "input 'INPUT__0': unmatched dtype"),
        ):
            with pytest.raises(InvalidArgumentError) as caught:
                served.execute({"INPUT__0": left, "INPUT__1": good})
            assert text in caught.value.message
        with pytest.raises(InvalidArgumentError, match="dim value is too large at 0"):
            served.execute({"INPUT__0": rows(65), "INPUT__1": rows(65)})
        with pytest.raises(InternalError, match="the package failed: expected size 2==3"):
            served.execute({"INPUT__0": rows(3), "INPUT__1": rows(2)})
        np.testing.assert_array_equal(served.execute({"INPUT__0": good, "INPUT__1": good})["total"], good * 2)
