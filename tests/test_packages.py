"""Two packages of ONNX Runtime in one environment, and what is left if one of them is uninstalled."""

import subprocess
import sys
from pathlib import Path

import pytest

from kserve_v2.packages import package_problem, runtime_problem


@pytest.mark.parametrize(
    ("installed", "importable", "command"),
    [
        ({}, False, ""),
        ({"onnxruntime": "1.20"}, True, ""),
        ({"onnxruntime-gpu": "1.20"}, True, ""),
        (
            {"onnxruntime": "1.21", "onnxruntime-gpu": "1.20"},
            True,
            "pip uninstall -y onnxruntime-gpu onnxruntime && pip install onnxruntime-gpu==1.20",
        ),
        ({"onnxruntime-gpu": "1.20"}, False, "pip install --force-reinstall --no-deps onnxruntime-gpu==1.20"),
    ],
)
def test_what_is_wrong_with_onnx_runtime(installed: dict[str, str], importable: bool, command: str) -> None:
    problem = runtime_problem(installed, importable=importable)
    assert problem.endswith(command)
    assert bool(problem) == bool(command)


def test_nothing_is_wrong_with_this_environment() -> None:
    assert package_problem() == ""


@pytest.mark.slow
def test_both_are_found_where_they_are(tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-9.9.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 9.9\n"
        )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from kserve_v2.packages import package_problem as p; print(p())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("onnxruntime-gpu and onnxruntime are installed in one environment")
    (tmp_path / "onnxruntime-9.9.dist-info" / "METADATA").unlink()
    (tmp_path / "onnxruntime-9.9.dist-info").rmdir()
    (tmp_path / "onnxruntime").mkdir()
    hidden = code.replace(
        "print(p())",
        "sys.path[1:] = [each for each in sys.path[1:] if 'site-packages' not in each]; print(p())",
    )
    said = subprocess.run(
        [sys.executable, "-S", "-c", hidden],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    ).stdout
    assert said.startswith("onnxruntime-gpu is installed, but its files are gone")
