"""The script that makes the example models."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from examples import make_models
from examples.source import MODEL_REPOSITORY, hand_written_files

ADD_SUB = make_models.RECIPES[0]


def touch_products(repository: Path) -> None:
    for recipe in make_models.RECIPES:
        for product in recipe.products:
            path = repository / recipe.model / product
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def chosen(repository: Path, *, force: bool = False) -> list[str]:
    return [recipe.model for recipe in make_models.to_make(repository, force=force)]


def test_the_checkout_is_complete_and_small() -> None:
    assert chosen(MODEL_REPOSITORY) == []
    products = [
        MODEL_REPOSITORY / recipe.model / path for recipe in make_models.RECIPES for path in recipe.products
    ]
    assert sum(product.stat().st_size for product in products) < 1_000_000


@pytest.mark.parametrize(
    ("removed", "made"),
    [
        ("add_sub/1/model.onnx", ["add_sub"]),
        ("intent/1/manifest.json", ["intent"]),
        ("digits_onnx/sample_request.json", ["digits_onnx"]),
        ("digits_export/1/model.pt2", ["digits_export"]),
        ("digits_torchscript/1/model.pt", ["digits_torchscript"]),
        # The other three carry its weights, and must not be left with those of an earlier training.
        (
            "digits_eager/1/weights.safetensors",
            ["digits_eager", "digits_onnx", "digits_export", "digits_torchscript"],
        ),
    ],
)
def test_what_is_missing_is_made(tmp_path: Path, removed: str, made: list[str]) -> None:
    touch_products(tmp_path)
    assert chosen(tmp_path) == []
    (tmp_path / removed).unlink()
    assert chosen(tmp_path) == made


def test_an_empty_repository_gets_all_models(tmp_path: Path) -> None:
    everything = [
        "add_sub", "digits_eager", "digits_onnx", "digits_export", "digits_torchscript", "digits_photo",
        "intent", "typeahead",
    ]  # fmt: skip
    assert chosen(tmp_path) == everything
    touch_products(tmp_path)
    assert chosen(tmp_path, force=True) == everything


def test_a_made_model_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_models.run(ADD_SUB, tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"add_sub/1/model.onnx", "add_sub/config.pbtxt", "add_sub/sample_request.json"}
    assert "add_sub: wrote" in capsys.readouterr().out

    session = onnxruntime.InferenceSession(
        tmp_path / "add_sub" / "1" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    first, second = np.arange(32, dtype=np.int32).reshape(2, 16), np.full((2, 16), 3, np.int32)
    total, difference = session.run(["OUTPUT0", "OUTPUT1"], {"INPUT0": first, "INPUT1": second})
    assert np.array_equal(total, first + second)
    assert np.array_equal(difference, first - second)


def test_hand_written_files_are_not_overwritten(tmp_path: Path) -> None:
    config = tmp_path / "add_sub" / "config.pbtxt"
    config.parent.mkdir()
    config.write_text("# mine\n")
    make_models.run(ADD_SUB, tmp_path)
    assert config.read_text() == "# mine\n"
    assert chosen(tmp_path)[0] != "add_sub"


def test_a_new_model_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    model = tmp_path / "model"
    # "1" cannot be a file and a directory: writing fails after the first file.
    with pytest.raises(OSError, match="1"):
        make_models.publish(model, {"1": b"", "1/model.onnx": b""})
    assert not model.exists()
    make_models.publish(model, {"config.pbtxt": b"c", "1/model.onnx": b"m"})
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (model / "1" / "model.onnx").read_bytes() == b"m"
    assert sorted(path.name for path in model.iterdir()) == ["1", "config.pbtxt"]


def test_an_existing_model_keeps_its_other_files(tmp_path: Path) -> None:
    model = tmp_path / "model"
    make_models.publish(model, {"config.pbtxt": b"c", "1/model.onnx": b"old", "1/vocab.json": b"v"})
    make_models.publish(model, {"1/model.onnx": b"new"})
    assert (model / "1" / "model.onnx").read_bytes() == b"new"
    assert (model / "config.pbtxt").read_bytes() == b"c"
    assert sorted(path.name for path in (model / "1").iterdir()) == ["model.onnx", "vocab.json"]


def test_every_model_has_a_configuration_but_the_one_that_shows_that_none_is_needed() -> None:
    for recipe in make_models.RECIPES:
        configured = "config.pbtxt" in hand_written_files(recipe.model)
        assert configured is (recipe.model != "digits_export"), recipe.model


@pytest.mark.slow
def test_nothing_to_do_takes_no_training_packages() -> None:
    code = (
        "import sys; from examples.make_models import main; status = main([]);"
        "print(status, sorted({'torch', 'sklearn', 'onnx', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=MODEL_REPOSITORY.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["all 8 example models are there", "0 []"]


def test_a_directory_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    assert make_models.main(["--out", str(occupied)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write the models: ")
    assert error.count("\n") == 1
