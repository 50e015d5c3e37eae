"""One model whose files lie in a folder themselves, as KServe mounts it at /mnt/models: made to look like a model of a
repository.
"""

import shutil
from collections.abc import Collection
from os.path import realpath
from pathlib import Path
from tempfile import mkdtemp

from kserve_v2.repository.locations.linked import ModelLinks
from kserve_v2.repository.reading.layout import (
    CONFIG,
    is_hidden,
    is_model_directory,
    is_model_file,
    is_system_directory,
    is_torchserve_archive,
    is_version,
)


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
    return bool(names) and all(map(is_torchserve_archive, names))


def unwrap_model(directory: Path) -> None:
    """Of what has a model's directory in it, and nothing else, make that: so it is in archives that were made of a
    directory, and not of what is in it.
    """
    wrapper = _only_directory(directory)
    if wrapper is not None and not is_version(wrapper.name) and is_model_directory(wrapper):
        _unwrap(wrapper)


def unwrap_repository(directory: Path) -> None:
    """The same of what has a repository in it."""
    wrapper = _only_directory(directory)
    if wrapper is not None and not is_model_directory(wrapper) and models_in(wrapper):
        _unwrap(wrapper)


def _only_directory(folder: Path) -> Path | None:
    names = [
        each for each in folder.iterdir() if not (is_hidden(each.name) or is_system_directory(each.name))
    ]
    return names[0] if len(names) == 1 and names[0].is_dir() and not names[0].is_symlink() else None


def _unwrap(wrapper: Path) -> None:
    """Move what is in it up, in the place of what lies beside it, which is nobody's; unless a link in it leads out of
    it, and would lead elsewhere then.
    """
    folder = wrapper.parent
    if not _keeps_its_links(wrapper):
        return
    # By another name: something in it may be called as it is.
    away = wrapper.rename(mkdtemp(dir=folder))
    if not _keeps_its_links(away):
        # One goes out, and came back in by the name.
        away.rename(wrapper)
        return
    for each in list(folder.iterdir()):
        if each != away:
            _remove(each)
    for each in list(away.iterdir()):
        each.rename(folder / each.name)
    away.rmdir()


def _keeps_its_links(folder: Path) -> bool:
    # Not `Path.resolve`, which fails for links in a circle.
    inside = Path(realpath(folder))
    return all(Path(realpath(path)).is_relative_to(inside) for path in folder.rglob("*") if path.is_symlink())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


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
