"""Advice on directories that are not laid out as a model's should be: what was found, and what to do about it.

A directory that cannot be read, or was just removed, counts as empty here.
"""

import difflib
import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from kserve_v2.config.platforms import FORMATS, OWN_BACKENDS
from kserve_v2.repository.reading.foreign_files import foreign_advice, is_foreign_model

CONFIG = "config.pbtxt"
HANDLER = "model.py"
ARCHIVED = "MAR-INF"
"""A folder that TorchServe's archives have: what lies beside it is one model."""
ARCHIVE = ".mar"
"""How TorchServe's archives end, in small letters or capitals; see `locations.torchserve`."""
MODEL_SETTINGS = "model-settings.json"
SERVER_SETTINGS = "settings.json"
"""What MLServer has beside a model; see `locations.mlserver`."""
FOREIGN_CONFIGS = (
    "config.yaml",
    "config.yml",
    "config.json",
    "config.toml",
    "model-config.yaml",
    MODEL_SETTINGS,
)
"""Files that look like a model's configuration beside its versions, and are those of other programs."""
EXPECTED = "model.onnx, model.pt2, model.pt or model.py"

_USUAL = ("model.onnx", "model.pt", "model.pt2", HANDLER)

# Directories that file systems, archives and file servers create.
_SYSTEM_NAMES = frozenset(
    {"lost+found", "__MACOSX", "@eaDir", "@tmp", "@Recycle", "#recycle", "#snapshot", "$RECYCLE.BIN",
     "System Volume Information"}
)  # fmt: skip
# A decimal number without leading zeros that fits the 64-bit version fields of the configuration.
_VERSION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_NEARLY_VERSION = re.compile(r"[vV]?(?P<number>[0-9]{1,18})(?:[._][0-9.]*)?")
# Suffixes of models that are served, except .py: a handler is known by its whole name, as any directory may have Python
# files.
_SUFFIXES = tuple({form.suffix for form in FORMATS if form.backend in OWN_BACKENDS} - {".py", ""})
_NEAR = 0.8
_MOST_SHOWN = 8


def is_version(name: str) -> bool:
    """Whether a directory of a model that is called so is one of its versions."""
    return _VERSION.fullmatch(name) is not None


def is_torchserve_archive(name: str) -> bool:
    """Whether a file that is called so is an archive of TorchServe's."""
    return name.lower().endswith(ARCHIVE)


def is_hidden(name: str) -> bool:
    """Whether a file or directory is passed over wherever it lies."""
    return name.startswith(".") or name == "__pycache__"


def is_system_directory(name: str) -> bool:
    """Whether a directory of a repository is there for some other program, and never a model."""
    return name in _SYSTEM_NAMES


def advice_at_the_top(name: str) -> str | None:
    """What to do about a file that lies in the repository itself, to be read behind its name; None for one that has no
    business with it.
    """
    lower = name.lower()
    if lower == CONFIG:
        return f"lies in the repository itself, where nobody reads it: move it to NAME/{CONFIG}, beside the versions"
    if not _is_served(lower) or is_torchserve_archive(name):
        return None
    suffix = PurePosixPath(lower).suffix
    model = name[: -len(suffix)] if lower not in _USUAL else "NAME"
    return f"lies in the repository itself: move it to {model}/1/model{suffix}"


def has_own_settings(names: Collection[str]) -> bool:
    """Whether a folder with these files is a model of MLServer's, which is shown elsewhere."""
    return MODEL_SETTINGS in names and CONFIG not in names


def is_shown_elsewhere(path: Path) -> bool:
    """Whether a directory is a model of MLServer's, or has nothing but such below: versions, for example."""
    names = _names(path)
    if has_own_settings(names):
        return True
    inner = [_names(path / name) for name in names]
    return (
        CONFIG not in names
        and any(map(has_own_settings, inner))
        and not any(
            is_version(name) and any(map(is_model_file, found)) and not has_own_settings(found)
            for name, found in zip(names, inner, strict=True)
        )
    )


def is_no_model(path: Path) -> bool:
    """Whether a directory without versions has nothing of a model in it, not even in the wrong place."""
    names = _names(path)
    if CONFIG in names or _near_config(names) or any(map(is_model_file, names)):
        return False
    return not any(is_model_directory(path / name) for name in names)


def is_empty(path: Path) -> bool:
    """Whether there is nothing in a directory, but for what is hidden."""
    return not _names(path)


def advice_without_versions(path: Path) -> str:
    """What to do about a model's directory that has no version."""
    model, names = path.name, _names(path)
    if not names:
        return f"its directory is empty: put {EXPECTED} into {model}/1/"
    if has_own_settings(names):
        return (
            f"{model}/ has {MODEL_SETTINGS} and no {CONFIG}: it is a model of MLServer's, which has the name that its "
            "settings say: ask for it by that"
        )
    served = [name for name in names if _is_served(name)]
    if served and _NEARLY_VERSION.fullmatch(model):
        return (
            f"'{model}' looks like a version of a model: --model-repository is the directory in which the models' "
            "directories lie, so the one above"
        )
    if nearly := _nearly_version(path, names):
        return nearly
    if served:
        return f"{served[0]} lies in {model}/, where versions are expected: move it to {model}/1/{served[0]}"
    return (
        foreign_advice(names)
        or _too_deep(path, names, f"{model}/1")
        or f"{model}/ has {_listed(names)}: put {EXPECTED} into {model}/1/"
    )


def advice_without_model(version_path: Path) -> str:
    """What to do about a version in which the model's file is not found."""
    model_path, names = version_path.parent, _names(version_path)
    place = f"{model_path.name}/{version_path.name}"
    beside = next(filter(_is_served, _names(model_path)), None)
    if beside:
        return f"{beside} lies beside {version_path.name}/: move it to {place}/{beside}"
    if not names:
        return f"{place}/ is empty: put {EXPECTED} into it"
    served = [name for name in names if name.endswith(_SUFFIXES)]
    if served == ["model.pt2"]:
        return (
            f'model.pt2 lies in {place}/: write platform: "torch_aoti", or backend: "pytorch" and no platform'
        )
    if len(served) > 1:
        return (
            f"{place}/ has {_listed(served)}: rename the one to serve to model{PurePosixPath(served[0]).suffix}, or "
            "name it in config.pbtxt as default_model_filename"
        )
    return (
        advice_on_files(names)
        or _too_deep(version_path, names, place)
        or f"{place}/ has {_listed(names)}; expected is {EXPECTED}"
    )


def advice_on_files(names: Sequence[str]) -> str | None:
    """What to do about the first of these files that is no model's, by its name; None if none is known."""
    return _misspelt(names) or foreign_advice(names)


def unread_configuration(path: Path, versions: Sequence[int]) -> str | None:
    """What to say of a model without config.pbtxt, but with a file that was perhaps meant to be it."""
    if near := _near_config(_names(path)):
        return f"{near} is not read: if it is the model's configuration, rename it to {CONFIG}"
    for version in versions:
        if (path / str(version) / CONFIG).is_file():
            return f"{version}/{CONFIG} is not read: it belongs beside the versions, at {path.name}/{CONFIG}"
    return None


def unread_settings(path: Path, versions: Sequence[int]) -> str | None:
    """What to say of a file beside a model's versions that has the settings of some other program, and was perhaps
    meant for this one. A handler may read what it likes.
    """
    found = next(filter(_names(path).__contains__, FOREIGN_CONFIGS), None)
    if found is None or any(name.endswith(".py") for each in versions for name in _names(path / str(each))):
        return None
    return f"{found} is not read: the configuration of a model is in {CONFIG}"


def unread_version(path: Path) -> str | None:
    """What to say of a directory beside a model's versions that was perhaps meant to be one, too."""
    found = [name for name in _names(path) if any(map(is_model_file, _names(path / name)))]
    return _nearly_version(path, [name for name in found if not is_version(name)])


def _nearly_version(path: Path, names: Sequence[str]) -> str | None:
    nearly = {name: _NEARLY_VERSION.fullmatch(name) for name in names if (path / name).is_dir()}
    numbers = {name: int(found["number"]) or 1 for name, found in nearly.items() if found}
    if not numbers:
        return None
    if len(numbers) == 1 or len(set(numbers.values())) < len(numbers):
        name, number = next(iter(numbers.items()))
        rule = "which is a whole number from 1 without zeros in front"
        return f"{name}/ is no version, {rule}: rename it to {number}/"
    rule = "which are whole numbers from 1 without zeros in front"
    wanted = [f"{number}/" for number in numbers.values()]
    return f"{_listed([f'{name}/' for name in numbers])} are no versions, {rule}: rename them to {_listed(wanted)}"


def _too_deep(path: Path, names: Sequence[str], place: str) -> str | None:
    """Say where to move a model that lies one level too deep in `path`, or several."""
    deep = [name for name in names if is_model_directory(path / name)]
    if not deep:
        return None
    if len(deep) > 1:
        found = f"{path.name}/ has {len(deep)} folders that look like models, {_listed(deep)}"
        if is_version(path.name):
            return f"{found}: one model's files belong into {place}/, and other models beside it in the repository"
        return (
            f"{found}: if it is a repository, be it an archive, name it as --model-repository; one model's files "
            f"belong into {place}/"
        )
    [name] = deep
    inner = _names(path / name)
    served = [file for file in inner if _is_served(file)]
    if CONFIG in inner or not served:
        return f"the model's directory lies one level too deep: move what is in {path.name}/{name}/ up"
    return f"{served[0]} lies in {path.name}/{name}/: move it to {place}/{served[0]}"


def _misspelt(names: Sequence[str]) -> str | None:
    """Find a model's file whose name is nearly right."""
    for name in names:
        lower = name.lower()
        if lower != name and _is_served(lower):
            return f"{name} is written with capital letters: rename it to {lower}"
        usual = next((usual for usual in _USUAL if lower.startswith(f"{usual}.")), None)
        if usual and not foreign_advice([name]):
            return f"{name} has one suffix too many: rename it to {usual}"
    if HANDLER in names:
        return f'{HANDLER} is a handler: write backend: "python", or no backend'
    if names and all(name.endswith(".py") for name in names):
        return (
            f"a handler's file is called {HANDLER}: rename {names[0]}, or name it in config.pbtxt as "
            'default_model_filename, with backend: "python"'
        )
    return None


def _is_served(name: str) -> bool:
    return name == HANDLER or name.endswith(_SUFFIXES)


def is_model_file(name: str) -> bool:
    """Whether a name is that of a model's file, served or not. Files of other kinds lie in any directory."""
    return (
        name == ARCHIVED or _is_served(name.lower()) or (name.startswith("model.") and is_foreign_model(name))
    )


def is_model_directory(path: Path) -> bool:
    """Whether a directory has a model in it, or a version of one."""
    names = _names(path)
    if is_shown_elsewhere(path):
        return False
    return (
        CONFIG in names
        or any(map(is_model_file, names))
        or any(
            _NEARLY_VERSION.fullmatch(name) and any(map(is_model_file, _names(path / name))) for name in names
        )
    )


def _near_config(names: Collection[str]) -> str | None:
    by_lower = {name.lower(): name for name in names if name != CONFIG}
    alike = difflib.get_close_matches(CONFIG, by_lower, 1, _NEAR)
    return by_lower[alike[0]] if alike else None


def _names(path: Path) -> list[str]:
    """The names in a directory that are not hidden; none in what is no directory, or cannot be read."""
    try:
        names = [child.name for child in path.iterdir()]
    except OSError:
        return []
    return sorted(name for name in names if not is_hidden(name))


def _listed(names: Sequence[str]) -> str:
    """`a, b and c`; of many, how many more there are."""
    more = len(names) - _MOST_SHOWN
    shown = [*names[:_MOST_SHOWN], *([f"{more} more"] if more > 0 else [])]
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
