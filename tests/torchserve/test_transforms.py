"""The steps of the built-in handlers of images, as torchvision's of the same names have them: to the bit."""

import importlib.util
from types import ModuleType

import numpy as np
import pytest
import torch
from kserve_v2_child.torchserve import host
from PIL import Image

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def transforms() -> ModuleType:
    """The module, which only models' processes can import by its name."""
    spec = importlib.util.spec_from_file_location(
        "transforms", host.MODULES / "ts" / "torch_handler" / "transforms.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(mode: str) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def test_pixels_become_fractions_of_255(transforms: ModuleType) -> None:
    image = picture("RGB")
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32) / 255
    for _ in range(2):  # the image is left as it was
        assert torch.equal(transforms.ToTensor()(image), expected)


def test_a_tensor_is_normalized_and_left_as_it_was(transforms: ModuleType) -> None:
    given = torch.rand(3, 9, 7)
    before = given.clone()
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, DEVIATION))
    found = transforms.Normalize(MEAN, DEVIATION)(given)
    assert torch.equal(found, (before - mean) / deviation)
    assert torch.equal(given, before)


def test_whole_numbers_are_normalized_to_fractions(transforms: ModuleType) -> None:
    given = transforms.ToTensor()(picture("L").convert("I"))
    found = transforms.Normalize((1,), (2,))(given)
    assert given.dtype == torch.int32
    assert torch.equal(found, (given - 1) / 2)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "I", "F"])
def test_steps_together_are_those_steps_one_after_the_other(transforms: ModuleType, mode: str) -> None:
    image, three = picture("L" if mode in ("I", "F") else mode).convert(mode), mode == "RGB"
    steps = transforms.ToTensor(), transforms.Normalize(MEAN if three else (2,), DEVIATION if three else (4,))
    together = transforms.Compose(steps)(image)
    assert torch.equal(together, steps[1](steps[0](image)))
    assert together.shape == (3 if three else 1, 9, 7)


def test_what_others_have_made_is_not_changed(transforms: ModuleType) -> None:
    kept = torch.rand(3, 9, 7)
    before = kept.clone()
    normalize = transforms.Normalize(MEAN, DEVIATION)
    composed = transforms.Compose([transforms.ToTensor(), lambda _: kept, normalize])
    assert torch.equal(composed(picture("RGB")), normalize(before))
    assert torch.equal(kept, before)
    assert composed.makes_tensors
    for transforms_of_others in ([], [lambda _: kept], [transforms.ToTensor(), lambda _: kept]):
        assert not transforms.Compose(transforms_of_others).makes_tensors
    with pytest.raises(ValueError, match="3 channels, got 1"):
        transforms.Compose([transforms.ToTensor(), normalize])(picture("L"))
