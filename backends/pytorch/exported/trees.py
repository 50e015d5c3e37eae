"""The containers in which a program of `torch.export` takes its arguments and returns its results, as its file has
them. Their classes are neither imported nor made: only the names of their parts matter.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Key = str | int
"""A part of a container: by name in a dictionary, a named tuple or a dataclass, else by its place."""

Path = tuple[Key, ...]

_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Tree:
    """`keys` and `parts` of a container; both empty for a leaf, and for a container that is empty, which is no leaf."""

    keys: tuple[Key, ...] = ()
    parts: tuple["Tree", ...] = ()
    is_leaf: bool = False

    def leaves(self, path: Path = ()) -> Iterator[Path]:
        """Where the leaves are, in order."""
        if self.is_leaf:
            yield path
        for key, part in zip(self.keys, self.parts, strict=True):
            yield from part.leaves((*path, key))


def read_tree(text: str, named_tuples: Mapping[str, Sequence[str]]) -> Tree:
    """A `treespec` of torch's pytree. `named_tuples`: the fields of those in the program.

    Raises ValueError where it is none that is known.
    """
    spec = json.loads(text)
    if not (isinstance(spec, list) and len(spec) == 2 and spec[0] == 1):
        raise ValueError(f"a tree of another version than 1: {text[:80]}")
    return _read(spec[1], named_tuples, 0)


def _read(spec: Any, named_tuples: Mapping[str, Sequence[str]], depth: int) -> Tree:
    if depth > _MAX_DEPTH:
        raise ValueError(f"containers in containers, more than {_MAX_DEPTH} deep")
    if not (isinstance(spec, dict) and isinstance(spec.get("children_spec"), list)):
        raise ValueError(f"a container of no known form: {str(spec)[:80]}")  # noqa: TRY004 - of what a file says
    if spec.get("type") is None:
        return Tree(is_leaf=True)
    parts = tuple(_read(part, named_tuples, depth + 1) for part in spec["children_spec"])
    return Tree(_keys(spec, len(parts), named_tuples), parts)


def _keys(spec: Mapping[str, Any], count: int, named_tuples: Mapping[str, Sequence[str]]) -> tuple[Key, ...]:
    context = _context(spec.get("context"))
    if isinstance(context, str):
        context = named_tuples.get(context)
    if isinstance(context, dict):  # of a defaultdict
        context = _context(context.get("dict_context"))
    # A dictionary lists its keys, a dataclass the names of its fields and of those that are None.
    for names in (context, context[0] if isinstance(context, list) and context else None):
        if isinstance(names, Sequence) and not isinstance(names, str) and len(names) == count:
            if all(isinstance(name, str) for name in names):
                return tuple(names)
            if all(isinstance(name, int | float | bool) for name in names):
                return tuple(map(str, names))
    return tuple(range(count))


def _context(text: Any) -> Any:
    """What a container knows beside its parts. It is JSON in JSON, or plain text."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def input_paths(tree: Tree, names: Sequence[str] | None) -> list[Path]:
    """Where the arguments are: the name of the argument first."""
    positional, by_name = tree.parts
    keys: list[Key] = [*range(len(positional.parts)), *by_name.keys]
    if names and len(names) == len(keys):
        keys = [*names]
    else:
        keys = [f"INPUT__{key}" if isinstance(key, int) else key for key in keys]
    return [
        (key, *path[1:])
        for key, part in zip(keys, (*positional.parts, *by_name.parts), strict=True)
        for path in part.leaves((key,))
    ]


def input_names(paths: Sequence[Path]) -> Iterator[str]:
    """The names of the inputs that lie there."""
    arguments = {path[0] for path in paths}
    only_keys = len(arguments) == 1 and all(len(path) > 1 and isinstance(path[1], str) for path in paths)
    taken: set[str] = set()
    for path in paths:
        yield _unique(_joined(path[1:] if only_keys else path), taken)


def output_names(paths: Sequence[Path], constant: Sequence[bool] = ()) -> Iterator[str]:
    """By key where there is one. Places are counted without those that are constants, which are no outputs."""
    place = 0
    taken: set[str] = set()
    for path, fixed in zip(paths, constant or [False] * len(paths), strict=True):
        name = _joined(path) if path and isinstance(path[0], str) else f"OUTPUT__{place}"
        if not fixed:
            name = _unique(name, taken)
            place += 1
        yield name


def _joined(path: Path) -> str:
    return "__".join(map(str, path))


def _unique(name: str, taken: set[str]) -> str:
    """Names that are joined from parts may meet: the later ones get a number."""
    number, unique = 1, name
    while unique in taken:
        number, unique = number + 1, f"{name}_{number}"
    taken.add(unique)
    return unique


FLAT_TUPLE = '[1, {{"type": "builtins.tuple", "context": "null", "children_spec": [{}]}}]'
LEAF = '{"type": null, "context": null, "children_spec": []}'


def flat_tree(count: int) -> str:
    """The description of a tuple with so many leaves."""
    return FLAT_TUPLE.format(", ".join([LEAF] * count))


def flat_call(count: int) -> str:
    """The description of the arguments of a call: so many leaves in order, and none by name."""
    arguments = json.loads(flat_tree(count))[1]
    names = {"type": "builtins.dict", "context": "[]", "children_spec": []}
    return json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [arguments, names]}])
