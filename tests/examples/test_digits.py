"""The digits models off-line: the data, the training, and the three forms of the same weights."""

import io
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load as load_weights

from examples import digits
from examples.digits_export import exported_bytes, onnx_bytes, torchscript_bytes
from examples.source import MODEL_REPOSITORY
from kserve_v2.tensors.datatypes import Array

WEIGHTS = MODEL_REPOSITORY / "digits_eager" / digits.WEIGHTS


@pytest.fixture(scope="module")
def data() -> digits.Digits:
    return digits.load_data()


def silent(_text: str) -> None:
    """Takes progress lines."""


def test_images_are_scaled_and_a_quarter_of_every_digit_is_held_out(data: digits.Digits) -> None:
    assert data.train_images.shape == (1347, 1, 8, 8)
    assert data.held_out_images.shape == (450, 1, 8, 8)
    for images in (data.train_images, data.held_out_images):
        assert images.dtype == np.float32
        assert (images.min(), images.max()) == (0.0, 1.0)
    everything = np.bincount(np.concatenate([data.train_labels, data.held_out_labels]))
    assert np.abs(np.bincount(data.held_out_labels) - everything / 4).max() <= 1


def test_no_held_out_image_is_trained_on(data: digits.Digits) -> None:
    trained = {image.tobytes() for image in data.train_images}
    assert not any(image.tobytes() in trained for image in data.held_out_images)


def test_the_split_is_always_the_same(data: digits.Digits) -> None:
    again = digits.load_data()
    assert np.array_equal(again.held_out_images, data.held_out_images)
    assert np.array_equal(again.held_out_labels, data.held_out_labels)


def trained_weights(data: digits.Digits, seed: int) -> bytes:
    network = digits.train(
        data.train_images[:128], data.train_labels[:128], epochs=2, report=silent, seed=seed
    )
    return digits.weights_bytes(network)


@pytest.mark.slow
def test_training_depends_on_the_seed_alone(data: digits.Digits) -> None:
    first = trained_weights(data, seed=1)
    torch.rand(3)  # whoever else draws from torch's global random state must not matter
    assert trained_weights(data, seed=1) == first
    assert trained_weights(data, seed=2) != first


def test_training_leaves_the_global_random_state_alone(data: digits.Digits) -> None:
    before = torch.get_rng_state()
    trained_weights(data, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_images_are_shifted_by_whole_pixels_and_keep_their_size() -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[..., 4, 4] = 1
    generator = torch.Generator().manual_seed(0)
    seen = {tuple(digits.shifted(image, generator).nonzero()[0, 2:].tolist()) for _ in range(200)}
    assert seen == {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}


def run_onnx(model: bytes, images: Array) -> Array:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probabilities"], {"image": images})[0])


def run_torchscript(model: bytes, images: Array) -> Array:
    network = torch.jit.load(io.BytesIO(model))
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(images)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_the_committed_models_agree_on_the_held_out_images(data: digits.Digits) -> None:
    images = data.held_out_images
    with torch.inference_mode():
        eager = digits.load_network(WEIGHTS)(torch.from_numpy(images)).numpy()
    assert eager.shape == (450, 10)
    np.testing.assert_allclose(eager.sum(axis=1), 1, atol=1e-5)
    onnx = run_onnx((MODEL_REPOSITORY / "digits_onnx" / "1" / "model.onnx").read_bytes(), images)
    np.testing.assert_allclose(onnx, eager, atol=1e-4)
    script = run_torchscript(
        (MODEL_REPOSITORY / "digits_torchscript" / "1" / "model.pt").read_bytes(), images
    )
    np.testing.assert_allclose(script, eager, atol=1e-4)
    # As its author would load it: the file is an ordinary one.
    program = torch.export.load(
        io.BytesIO((MODEL_REPOSITORY / "digits_export" / "1" / "model.pt2").read_bytes())
    )
    with torch.inference_mode():
        exported = program.module()(torch.from_numpy(images))["probabilities"].numpy()
    np.testing.assert_allclose(exported, script, atol=1e-4)


def test_the_committed_weights_read_held_out_digits(data: digits.Digits) -> None:
    network = digits.load_network(WEIGHTS)
    assert digits.accuracy(network, data.held_out_images, data.held_out_labels) >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_the_onnx_export_takes_any_number_of_images(data: digits.Digits, rows: int) -> None:
    network = digits.new_network(seed=5).eval()
    images = data.train_images[:rows]
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(run_onnx(onnx_bytes(network), images), expected, atol=1e-5)


def test_the_torchscript_export_says_nothing_about_the_machine() -> None:
    with zipfile.ZipFile(io.BytesIO(torchscript_bytes(digits.new_network(seed=5).eval()))) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".debug_pkl")]
        root = str(Path(__file__).parents[2]).encode()
        assert not [name for name in archive.namelist() if root in archive.read(name)]


def test_the_exported_program_says_nothing_about_the_machine() -> None:
    with zipfile.ZipFile(io.BytesIO(exported_bytes(digits.new_network(seed=5).eval()))) as archive:
        root = str(Path(__file__).parents[2]).encode()
        found = [
            name for name in archive.namelist() if root in archive.read(name) or b".py" in archive.read(name)
        ]
        assert found == []


def test_the_weights_file_holds_the_network() -> None:
    network = digits.new_network(seed=5)
    weights = load_weights(digits.weights_bytes(network))
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())
