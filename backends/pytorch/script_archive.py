"""Whether a file is a TorchScript archive, which its table of contents tells, without torch."""

import zipfile
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError


def check_archive(file: Path) -> None:
    """Tell a TorchScript archive from the other things that are saved as .pt files. Raises InvalidArgumentError."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = {name.partition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile:
        members = set()
    if "constants.pkl" in members:
        return
    kind = "what torch.save makes, such as a state_dict" if "data.pkl" in members else "something else"
    raise InvalidArgumentError(
        f"{file.name} is no TorchScript archive but {kind}. Save the model with torch.export.save, as model.pt2, or "
        "load its weights in a model.py of the python backend"
    )
