"""Python's collector of cycles. While it searches, no thread runs, for a microsecond per object that it looks at. So it
is kept from looking at what lives as long as the process, imported libraries above all (`freeze`, `freeze_libraries`);
what models have made is always looked at, and found once they are unloaded (`collect`).

What is frozen stays frozen. All of it would have to be looked at to find anything in it, for 0.3 s where torch is.
"""

import ctypes
import gc
import sys
import sysconfig
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import compress, cycle, filterfalse, repeat
from operator import call, is_, is_not

from kserve_v2_child.freed_memory import return_freed_memory

from kserve_v2.memory.library_objects import library_objects, modules_now

# For fewer objects it is not worth while to find out which of them belong to a library.
WORTH_FREEZING = 10_000

# Collectors of other kinds have no generations to move objects between.
_POSSIBLE = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
_AT_A_TIME = 1000


class Collector:
    """That of this process, of which there is one: use `COLLECTOR`. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The modules whose contents are frozen; None until the process is ours to do that in.
        self._frozen: dict[str, object] | None = None
        self._left = 0

    def freeze(self) -> None:
        """What is alive now is not looked at any more. Called before there are models, connections or requests."""
        if _POSSIBLE:
            gc.collect()
            gc.freeze()
            self._frozen = dict(sys.modules)

    def freeze_libraries(self, apart: str) -> None:
        """Nor is what was imported since then, for models as a rule, if `freeze` was called. `apart`: how the names of
        the packages begin that belong to one model and go with it.

        Blocks for about a second where torch is new; lets other threads work.
        """
        with self._lock:
            if self._frozen is None:
                return
            modules = modules_now(apart)
            new = {name: each for name, each in modules.items() if self._frozen.get(name) is not each}
            if not new or _known() - self._left < WORTH_FREEZING:
                return
            known = [each for name, each in modules.items() if name not in new]
            keep = library_objects(new.values(), known, apart)
            self._left = _freeze_those(keep)
            self._frozen.update(new)

    def collect(self) -> None:
        """Free all cycles that are not frozen, and give the memory to the system. Blocks all threads meanwhile."""
        with self._lock:
            gc.collect()
        return_freed_memory()


COLLECTOR = Collector()


# What follows refers to what other threads work with. Not to their tuples: `tuple(...)` of a generator makes one that
# the collector knows while the generator still works, and fails if somebody else refers to it at the end. So those are
# seen to in functions written in C that call each other, as the interpreter lets no other thread run in between.


def _known() -> int:
    """How many objects the collector looks at."""
    return sum(map(len, map(call, (gc.get_objects,))))


def _freeze_those(keep: dict[int, object]) -> int:
    """Freeze these objects, given by identity. Returns how many others there are."""
    kept_tuples = {identity for identity, each in keep.items() if type(each) is tuple}
    found: list[object] = []
    kinds: list[type] = []
    rest: list[object] = []
    tuples: list[int] = []
    tuple_ids = map(id, compress(found, map(is_, kinds, repeat(tuple))))
    # Everything can be frozen, and single objects be taken out again. An object that somebody made between the first
    # two of these would stay frozen.
    steps: tuple[Callable[[], object], ...] = (
        partial(deque, map(found.extend, map(call, (gc.get_objects,))), 0),
        gc.freeze,
        partial(kinds.extend, map(type, found)),
        partial(tuples.extend, filterfalse(kept_tuples.__contains__, tuple_ids)),
        partial(deque, map(_untrack, tuples), 0),
        partial(deque, map(_track, tuples), 0),
        partial(rest.extend, compress(found, map(is_not, kinds, repeat(tuple)))),
        found.clear,
    )
    try:
        with _no_collection():
            deque(map(call, steps), 0)
        others = [each for each in rest if id(each) not in keep]
        for begin in range(0, len(others), _AT_A_TIME):
            _thaw(others[begin : begin + _AT_A_TIME])
        return len(others) + len(tuples)
    except BaseException:
        gc.unfreeze()
        raise
    finally:
        # It is in itself.
        rest.clear()


def _thaw(objects: Iterable[object]) -> None:
    """Have the collector look at these objects, which it knows."""
    # What is tracked anew is in the youngest generation, wherever it was before. No other thread runs between the two
    # calls for an object: a dictionary is tracked by whoever puts something into it, and to track it twice would be the
    # end of the process.
    twice = [identity for each in objects if gc.is_tracked(each) for identity in (id(each), id(each))]
    with _no_collection():
        deque(map(call, cycle((_untrack, _track)), twice), maxlen=0)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Have no finalizer executed by a collection."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _function(name: str) -> Callable[[int], None]:
    """One of the C interface, called with the interpreter's lock held. It takes an object's identity: of the object
    itself ctypes would ask what it is.
    """
    function = getattr(ctypes.pythonapi, name)
    function.argtypes, function.restype = (ctypes.c_void_p,), None
    found: Callable[[int], None] = function
    return found


if _POSSIBLE:
    _track, _untrack = _function("PyObject_GC_Track"), _function("PyObject_GC_UnTrack")
