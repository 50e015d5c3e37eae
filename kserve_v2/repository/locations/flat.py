"""One model whose files lie in a folder themselves, as KServe mounts it at /mnt/models: made to look like a model of a
repository.
"""

from collections.abc import Collection
from pathlib import Path

from kserve_v2.repository.locations.linked import ModelLinks
from kserve_v2.repository.reading.layout import ARCHIVE, CONFIG, is_model_directory, is_model_file, is_version


def has_model_file(names: Collection[str]) -> bool:
    """Whether some files are those of a model, by their names."""
    return CONFIG in names or any(map(is_model_file, names))


def has_versions(folder: Path) -> bool:
    """Whether a model's folder has folders for its versions."""
    return any(is_version(child.name) and child.is_dir() for child in folder.iterdir())


def models_in(folder: Path) -> list[str]:
    """Names of the folders in it that look like models, and not like versions of one."""
    return [
        child.name
        for child in sorted(folder.iterdir())
        if not child.name.startswith(".")
        and child.is_dir()
        and not is_version(child.name)
        and is_model_directory(child)
    ]


def is_one_model(folder: Path) -> bool:
    """Whether a folder looks like one model instead of many."""
    return is_model_directory(folder) and not models_in(folder)


def has_archives_alone(folder: Path) -> bool:
    """Whether the models in a folder are archives, each of which is one by itself."""
    names = [child.name for child in folder.iterdir() if is_model_file(child.name) or child.name == CONFIG]
    return bool(names) and all(name.endswith(ARCHIVE) for name in names)


def give_version(folder: Path) -> None:
    """Move the files of a model without versions to version 1, and let links stand where they were: configuration and
    labels belong beside the versions.
    """
    names = [child.name for child in folder.iterdir()]
    version = folder / "1"
    version.mkdir()
    for name in names:
        (folder / name).rename(version / name)
        (folder / name).symlink_to(f"1/{name}")


def links_of(folder: Path) -> ModelLinks:
    """What shows a local folder with a model's files, with or without versions, as a model of a repository. Raises
    OSError.
    """
    if has_versions(folder):
        return ModelLinks(whole=folder)
    links = {name: folder / name for name in _visible(folder)}
    return ModelLinks(links={"1": folder, **links}, home=folder)


def _visible(folder: Path) -> list[str]:
    return sorted(child.name for child in folder.iterdir() if not child.name.startswith("."))
