"""Make the example models that are missing from a model repository: `python -m examples.make_models`.

The checkout holds the results, so there is work to do only after a change of the data, a network or an
export: then use `--force`. It takes less than a minute on two cores. One machine makes the same weights every
time; another kind of processor may round differently.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from examples.source import MODEL_REPOSITORY, hand_written_files

Make = Callable[[Path, Callable[[str], None]], Mapping[str, bytes]]

SAMPLE = "sample_request.json"


@dataclass(frozen=True)
class Recipe:
    """How one model is made.

    `products`: the files that `make` returns, relative to the model's directory; without one of them the
    model counts as missing. `make`: `module:function`, imported only to be called, because it needs the
    packages for training. `source`: the model whose weights this one carries; it stands earlier in the table.
    """

    model: str
    products: tuple[str, ...]
    make: str
    source: str = ""


RECIPES = (
    Recipe("add_sub", ("1/model.onnx", SAMPLE), "examples.add_sub:make"),
    Recipe("digits_eager", ("1/weights.safetensors", SAMPLE), "examples.digits:make_eager"),
    Recipe("digits_onnx", ("1/model.onnx", SAMPLE), "examples.digits:make_onnx", "digits_eager"),
    Recipe("digits_export", ("1/model.pt2", SAMPLE), "examples.digits:make_exported", "digits_eager"),
    Recipe("digits_torchscript", ("1/model.pt", SAMPLE), "examples.digits:make_torchscript", "digits_eager"),
    Recipe("digits_photo", ("seven.png", SAMPLE), "examples.digit_drawings:make"),
    Recipe(
        "intent",
        ("1/vocab.json", "1/weights.safetensors", "1/manifest.json", SAMPLE),
        "examples.intent:make",
    ),
    Recipe(
        "typeahead",
        ("1/model.onnx", "initial_state/after_newline", "labels.txt", SAMPLE),
        "examples.typeahead:make",
    ),
)


def to_make(repository: Path, *, force: bool) -> list[Recipe]:
    """The recipes to run, in order: models with a missing product, and those that carry their weights."""
    chosen: dict[str, Recipe] = {}
    for recipe in RECIPES:
        missing = any(not (repository / recipe.model / product).is_file() for product in recipe.products)
        if force or missing or recipe.source in chosen:
            chosen[recipe.model] = recipe
    return list(chosen.values())


def run(recipe: Recipe, repository: Path) -> None:
    """Make one model and put it into the repository."""
    begin = time.monotonic()
    _report(recipe.model, "making")
    make: Make = resolve_name(recipe.make)
    products = make(repository, lambda text: _report(recipe.model, text))
    directory = repository / recipe.model
    missing = [path for path in hand_written_files(recipe.model) if not (directory / path).exists()]
    sources = {path: (MODEL_REPOSITORY / recipe.model / path).read_bytes() for path in missing}
    publish(directory, {**sources, **products})
    size_kb = sum(len(content) for content in products.values()) / 1000
    _report(recipe.model, f"wrote {directory}, {size_kb:.0f} kB, {time.monotonic() - begin:.1f} s")


def publish(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write a model's files.

    A new model appears whole or not at all; in an existing one each file is replaced in one step.
    """
    if directory.exists():
        for path, content in files.items():
            _replace(directory / path, content)
        return
    # Servers do not look into hidden directories.
    staging = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    for path, content in files.items():
        _replace(staging / path, content)
    staging.rename(directory)


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


def _report(model: str, text: str) -> None:
    print(f"{model}: {text}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.make_models", description="Make the example models that are missing."
    )
    parser.add_argument("--out", type=Path, default=MODEL_REPOSITORY, help="model repository to complete")
    parser.add_argument("--force", action="store_true", help="make all models anew")
    options = parser.parse_args(arguments)
    recipes = to_make(options.out, force=options.force)
    try:
        for recipe in recipes:
            run(recipe, options.out)
    except ModuleNotFoundError as error:
        print(f"error: {error}: training needs more than serving: pip install -e '.[test]'", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot write the models: {error}", file=sys.stderr)
        return 1
    made = ", ".join(recipe.model for recipe in recipes)
    print(f"made {made}" if made else f"all {len(RECIPES)} example models are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
