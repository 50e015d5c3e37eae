"""The devices that torch sees."""

from pathlib import Path

import torch

from kserve_v2.errors import InvalidArgumentError


def check_device(file: Path, device: str) -> None:
    """Raise InvalidArgumentError where the model of this file is to run on a GPU that is not there."""
    if torch.device(device).type == "cuda" and (torch.device(device).index or 0) >= torch.cuda.device_count():
        raise InvalidArgumentError(
            f"{file.name}: there is no {device}, torch sees {torch.cuda.device_count()} GPU(s)"
        )
