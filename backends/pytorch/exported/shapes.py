"""What a program of `torch.export` demands of the sizes of its inputs beyond those that are fixed: bounds, sizes that
are alike, or multiples of others, and whatever else held while it was traced. Found out before the program runs, so
that the error is the client's.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import Array

from .expressions import SYMBOL, Evaluate, condition, expression
from .signature import Bounds, Value

# torch takes 0 and 1 for special sizes while it exports, and then writes 2 as the least of a size; it does not mind
# either of them later.
_MEANINGLESS_LEAST = 2


@dataclass(frozen=True, slots=True)
class _Place:
    """A dimension of an input, or the value of one that is a number, where `axis` is None."""

    name: str
    axis: int | None

    def size(self, arrays: Mapping[str, Array]) -> int:
        array = arrays[self.name]
        return int(array.flat[0]) if self.axis is None else array.shape[self.axis]

    def __str__(self) -> str:
        return f"input '{self.name}'" if self.axis is None else f"input '{self.name}': dimension {self.axis}"


@dataclass(frozen=True, slots=True)
class _Computed:
    """A dimension that is computed from sizes: `text`."""

    place: _Place
    text: str
    symbols: frozenset[str]
    evaluate: Evaluate

    def agrees(self, sizes: Mapping[str, int], size: int) -> bool:
        try:
            return bool(self.evaluate(sizes) == size)
        except ArithmeticError:
            return False


@dataclass(frozen=True, slots=True)
class _Condition:
    """What has to hold for some dimensions, by the names that they have in it."""

    text: str
    places: Mapping[str, _Place]
    evaluate: Evaluate

    def holds(self, arrays: Mapping[str, Array]) -> bool:
        try:
            return bool(self.evaluate({name: place.size(arrays) for name, place in self.places.items()}))
        except ArithmeticError:
            return False


class SizeRules:
    """The rules of one model."""

    def __init__(
        self,
        inputs: Mapping[str, Value],
        bounds: Mapping[str, Bounds],
        guards: Sequence[str] = (),
        *,
        batching: bool = False,
    ) -> None:
        """`inputs`: by the name that the configuration gives them. `guards`: conditions in the program's own words.
        With `batching`, the first dimensions of all are the batch, of which the server knows that they are alike.

        Raises InvalidArgumentError for a condition that cannot be checked.
        """
        self._inputs = inputs
        self._bounds_of = {symbol: each for symbol, each in bounds.items() if _meant(each) != (0, None)}
        self._first: dict[str, _Place] = {}
        self._alike: list[tuple[_Place, _Place]] = []
        self._computed: list[_Computed] = []
        for place, text in sorted(_variable(inputs), key=lambda pair: not SYMBOL.fullmatch(pair[1])):
            if not SYMBOL.fullmatch(text):
                self._compute(place, text)
            elif text not in self._first:
                self._first[text] = place
            elif not (batching and place.axis == 0 and self._first[text].axis == 0):
                self._alike.append((self._first[text], place))
        self._bounded = [
            (place, symbol) for symbol, place in self._first.items() if symbol in self._bounds_of
        ]
        self._conditions = [*filter(None, map(self._condition, guards))]
        self.checks = bool(self._alike or self._computed or self._bounded or self._conditions)
        """Whether there is anything to check."""

    def check(self, arrays: Mapping[str, Array]) -> None:
        """Raise InvalidArgumentError, naming the input, where the program does not take these sizes."""
        for place, symbol in self._bounded:
            self._check_bounds(place, place.size(arrays), symbol)
        for one, other in self._alike:
            if one.size(arrays) != other.size(arrays):
                raise InvalidArgumentError(
                    f"{other} is {other.size(arrays)}, but of {one} is {one.size(arrays)}: the program takes them only "
                    "alike"
                )
        if self._computed:
            self._check_computed(arrays)
        for each in self._conditions:
            if not each.holds(arrays):
                got = ", ".join(f"'{name}' {list(arrays[name].shape)}" for name in self._named(each))
                raise InvalidArgumentError(
                    f"input {got}: the program was exported for shapes for which {each.text}"
                )

    # --- when the model is loaded ----------------------------------------------------------------------------------

    def _compute(self, place: _Place, text: str) -> None:
        try:
            evaluate, symbols = expression(text)
        except ValueError:
            return  # torch computes with more than sizes here, and says so in the program
        self._computed.append(_Computed(place, text, frozenset(symbols), evaluate))

    def _condition(self, guard: str) -> _Condition | None:
        places: dict[str, _Place] = {}

        def name_of(node: ast.expr) -> str | None:
            place = self._place_of(node)
            if place is None:
                return None
            name = f"size_{place.name}_{place.axis}"
            places[name] = place
            return name

        try:
            evaluate, symbols = condition(guard, name_of)
        except ValueError as error:
            raise InvalidArgumentError(
                f"the program holds only where {guard}, which cannot be checked here: {error}"
            ) from error
        if symbols - places.keys():
            # Of an argument that is a constant, it has been checked by torch. One that nobody knows can't be.
            raise InvalidArgumentError(
                f"the program holds only where {guard}, but has no input {sorted(symbols - places.keys())[0]!r}"
            )
        return _Condition(_spoken(guard), places, evaluate)

    def _place_of(self, node: ast.expr) -> _Place | None:
        """`L['x'].size()[0]`, and `L['n']` of a number."""
        match node:
            case ast.Subscript(
                value=ast.Call(func=ast.Attribute(value=tensor, attr="size"), args=[], keywords=[]),
                slice=ast.Constant(value=int(axis)),
            ):
                name = self._name_of(tensor)
                return _Place(name, axis) if name and not self._inputs[name].number else None
            case ast.Subscript() | ast.Attribute():
                name = self._name_of(node)
                return _Place(name, None) if name and self._inputs[name].number else None
        return None

    def _name_of(self, node: ast.expr) -> str | None:
        path: list[str] = []
        while not isinstance(node, ast.Name):
            match node:
                case ast.Subscript(value=inner, slice=ast.Constant(value=str() | int() as key)):
                    path.append(str(key))
                case ast.Attribute(value=inner, attr=key):
                    path.append(key)
                case _:
                    return None
            node = inner
        wanted = "_".join(reversed(path))
        found = (name for name, value in self._inputs.items() if wanted in (value.inner, value.path))
        return next(found, None)

    def _named(self, each: _Condition) -> list[str]:
        return [*dict.fromkeys(place.name for place in each.places.values())]

    # --- for a request ------------------------------------------------------------------------------------------------

    def _check_bounds(self, place: _Place, size: int, symbol: str, text: str = "") -> None:
        least, most = _meant(self._bounds_of[symbol])
        if size < least or (most is not None and size > most):
            what = f"{text} with {symbol} = " if text else ""
            raise InvalidArgumentError(
                f"{place} is {what}{size}, but the program takes {what}{_range(least, most)}"
            )

    def _check_computed(self, arrays: Mapping[str, Array]) -> None:
        sizes = {symbol: place.size(arrays) for symbol, place in self._first.items()}
        for rule in self._computed:
            size = rule.place.size(arrays)
            unknown = rule.symbols - sizes.keys()
            if len(unknown) == 1:
                (symbol,) = unknown
                self._solve(rule, symbol, sizes, size)
            elif not unknown and not rule.agrees(sizes, size):
                known = ", ".join(
                    f"{symbol} is {sizes[symbol]}, as {self._first[symbol]}"
                    for symbol in sorted(rule.symbols & self._first.keys())
                )
                raise InvalidArgumentError(
                    f"{rule.place} is {size}, but the program takes {rule.text}"
                    + (f", where {known}" if known else "")
                )

    def _solve(self, rule: _Computed, symbol: str, sizes: dict[str, int], size: int) -> None:
        """Find the size for which a linear expression has this value; another one the program itself will judge."""
        zero, one, two = (rule.evaluate({**sizes, symbol: value}) for value in (0, 1, 2))
        if one == zero or two - one != one - zero:
            return
        quotient, rest = divmod(size - zero, one - zero)
        if rest or quotient < 0:
            raise InvalidArgumentError(
                f"{rule.place} is {size}, but the program takes {rule.text}, with a whole number for {symbol}"
            )
        sizes[symbol] = quotient
        if symbol in self._bounds_of:
            self._check_bounds(rule.place, quotient, symbol, rule.text)


def row_bounds(inputs: Sequence[Value], bounds: Mapping[str, Bounds]) -> tuple[int, int | None]:
    """How many rows the program takes if the first dimension of its inputs is the batch."""
    meant = [_meant(bounds[size]) for value in inputs for size in value.sizes[:1] if size in bounds]  # type: ignore[index]
    mosts = [most for _, most in meant if most is not None]
    return max((least for least, _ in meant), default=0), min(mosts, default=None)


def _meant(bounds: Bounds) -> tuple[int, int | None]:
    least = bounds.least if bounds.least is not None and bounds.least > _MEANINGLESS_LEAST else 0
    return least, bounds.most


def _range(least: int, most: int | None) -> str:
    if most is None:
        return f"at least {least}"
    return f"{least} to {most}" if least else f"at most {most}"


def _variable(inputs: Mapping[str, Value]) -> Iterator[tuple[_Place, str]]:
    for name, value in inputs.items():
        if value.number and value.symbol:
            yield _Place(name, None), value.symbol
        for axis, size in enumerate(value.sizes):
            if isinstance(size, str):
                yield _Place(name, axis), size


def _spoken(guard: str) -> str:
    """`L['x'].size()[0]` is `x.size()[0]` for a person."""
    return guard.replace("L['", "").replace("'].size", ".size").replace("'] ", " ")
