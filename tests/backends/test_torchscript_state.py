import io
from typing import Any

import pytest
import torch
from kserve_v2_backends.pytorch.torchscript.state import writes_to_itself
from torch import Tensor, nn

# The deprecation is for whoever makes such files, which only these tests do here.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def loaded(module: nn.Module) -> Any:
    """As the backend loads it."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    buffer.seek(0)
    return torch.jit.load(buffer).eval()


class View(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("buf", torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        y = self.buf[: x.size(0)]
        y.copy_(x)
        return y


class Element(View):
    def forward(self, x: Tensor) -> Tensor:
        self.buf[0] = x[0]
        return self.buf + 1


class Count(View):
    def forward(self, x: Tensor) -> Tensor:
        self.buf += 1
        return x + self.buf[0]


class Attribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.last = x + 0
        return self.last


class Items(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.history = [torch.zeros(1)]

    def forward(self, x: Tensor) -> Tensor:
        self.history.append(x)
        return x


class Inside(nn.Module):
    """In a module of its own, and sometimes only."""

    def __init__(self) -> None:
        super().__init__()
        self.view = View()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = self.view(x)
        return self.linear(x)


class OnlyReads(nn.Module):
    """Writes in place, but to what it has made itself; batch normalization writes in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.ReLU(inplace=True)
        )
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        y = x - self.mean
        y.mul_(2)
        z = self.mean.clone()
        z.add_(1)
        result: Tensor = self.layers(y) + z
        return result


class OwnInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x)[0]
        return result


@pytest.mark.parametrize("module", [View, Element, Count, Attribute, Items, Inside])
def test_modules_that_write_to_themselves(module: type[nn.Module]) -> None:
    assert writes_to_itself(loaded(module()))


@pytest.mark.parametrize("module", [OnlyReads, OwnInput, Recurrent])
def test_modules_that_only_read_themselves(module: type[nn.Module]) -> None:
    assert not writes_to_itself(loaded(module()))


def test_what_is_no_module_is_not_vouched_for() -> None:
    assert writes_to_itself(None)
