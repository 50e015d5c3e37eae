"""Archives of TorchServe's that lie in a folder of models themselves, `NAME.mar`: each is a model of that name."""

import os
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.repository.locations.folder import ShownModels
from kserve_v2.repository.locations.linked import ModelLinks
from kserve_v2.repository.locations.names import name_problem
from kserve_v2.repository.reading.layout import ARCHIVE, CONFIG, is_hidden, is_torchserve_archive

BACKEND = "torchserve"


class TorchServeArchives(ShownModels[Path]):
    """Those of one folder. See `location.Location`."""

    def _found(self) -> Mapping[str, Path]:
        with os.scandir(self._folder) as listing:
            names = [
                each.name for each in listing if is_torchserve_archive(each.name) and not is_hidden(each.name)
            ]
        models = {name[: -len(ARCHIVE)]: self._folder / name for name in sorted(names)}
        return {name: path for name, path in models.items() if not name_problem(name) and path.is_file()}

    def _links(self, name: str, found: Path) -> ModelLinks:
        config = ModelConfig(backend=BACKEND, default_model_filename=found.name)
        text = f"# What the server has made of {found.name}.\n{text_format.MessageToString(config)}"
        return ModelLinks(links={f"1/{found.name}": found}, files={CONFIG: text.encode()})
