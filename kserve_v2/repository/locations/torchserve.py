"""Archives of TorchServe's that lie in a folder of models themselves, `NAME.mar`: each is a model of that name."""

import os
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.repository.locations.folder import ShownModels
from kserve_v2.repository.locations.linked import ModelLinks
from kserve_v2.repository.locations.names import name_problem
from kserve_v2.repository.locations.store import there_twice
from kserve_v2.repository.reading.layout import ARCHIVE, CONFIG, is_hidden, is_torchserve_archive

BACKEND = "torchserve"


class TorchServeArchives(ShownModels[list[Path]]):
    """Those of one folder. See `location.Location`. Of one name there may be several, whose endings differ."""

    def _found(self) -> Mapping[str, list[Path]]:
        with os.scandir(self._folder) as listing:
            names = [
                each.name for each in listing if is_torchserve_archive(each.name) and not is_hidden(each.name)
            ]
        models: dict[str, list[Path]] = {}
        for file in sorted(names):
            name, path = file[: -len(ARCHIVE)], self._folder / file
            if not name_problem(name) and path.is_file():
                models.setdefault(name, []).append(path)
        return models

    def _place(self, found: list[Path]) -> str:
        return str(found[0])

    def _links(self, name: str, found: list[Path]) -> ModelLinks:
        if len(found) > 1:
            raise there_twice(found[0].name, found[1].name)
        [path] = found
        config = ModelConfig(backend=BACKEND, default_model_filename=path.name)
        text = f"# What the server has made of {path.name}.\n{text_format.MessageToString(config)}"
        return ModelLinks(links={f"1/{path.name}": path}, files={CONFIG: text.encode()})
