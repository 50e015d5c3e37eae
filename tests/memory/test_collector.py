"""What the garbage collector looks at. Freezing is for a whole process, so each test has one of its own, in which the
package `library` is large, and `_handler_1_m` stands for the modules of a model.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kserve_v2.memory.collector import WORTH_FREEZING

pytestmark = pytest.mark.slow

BEGIN = f"""
import gc, sys, types, weakref
from kserve_v2.handlers.modules import OWN_MODULES
from kserve_v2.memory.collector import COLLECTOR, WORTH_FREEZING

def looked_at(each):
    return any(one is each for one in gc.get_objects())

assert WORTH_FREEZING == {WORTH_FREEZING}
COLLECTOR.freeze()
at_start = gc.get_freeze_count()
assert at_start > 0
"""
LIBRARY = f"""
import types

class Base:
    pass

class Table(dict):
    pass

TABLE = Table({{number: [number] for number in range({WORTH_FREEZING})}})

PAIR = ([],)

def wrapper(inner):
    def outer():
        return inner
    return outer

outer = wrapper(TABLE)

def made_for(model):
    class Made(Base):
        owner = model
    return Made
"""
MODEL = """
from library import Base, TABLE

class Model(Base):
    def __init__(self):
        self.itself = self
        self.table = TABLE

kept = []
kept.append(kept)
pair = ([],)
pair[0].append(pair)
"""


Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "library.py").write_text(LIBRARY)
    (tmp_path / "small.py").write_text("VALUES = [[]]")
    (tmp_path / "_handler_1_m.py").write_text(MODEL)

    def run(script: str, begin: str = BEGIN) -> None:
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{begin}\n{script}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run


FREED = """
import library, _handler_1_m as module
model = module.Model()
made = library.made_for(model)
COLLECTOR.freeze_libraries(OWN_MODULES)
frozen = gc.get_freeze_count()
assert frozen >= at_start + WORTH_FREEZING
for each in (library.TABLE, library.TABLE[5], library.PAIR, library.Base, library.outer, vars(library)):
    assert not looked_at(each)
for each in (model, module, module.Model, vars(module), module.kept, module.pair, made):
    assert looked_at(each)
refs = [weakref.ref(each) for each in (model, module.Model, made, module)]
del sys.modules[module.__name__], module, model, made, each
COLLECTOR.collect()
assert [ref() for ref in refs] == [None] * 4
assert frozen - 100 < gc.get_freeze_count() <= frozen
"""


def test_libraries_are_spared_and_models_are_not(run: Run) -> None:
    run(FREED)


def test_no_object_is_asked_for_its_class(run: Run) -> None:
    """A deprecated one warns of that, in the log of whoever has loaded a model."""
    run("""
import library

asked = []

class Deprecated:
    def __getattribute__(self, name):
        asked.append(name)
        return object.__getattribute__(self, name)

library.TABLE["deprecated"] = Deprecated()
COLLECTOR.freeze_libraries(OWN_MODULES)
assert gc.get_freeze_count() > at_start + WORTH_FREEZING
assert not asked, asked
""")


def test_what_a_library_keeps_for_a_model_goes_with_it(run: Run) -> None:
    run("""
import library
from _handler_1_m import Model

def hook():
    return model

hook.__module__ = Model.__module__
model = Model()
library.TABLE["object"] = model
library.TABLE["hook"] = hook
COLLECTOR.freeze_libraries(OWN_MODULES)
assert gc.get_freeze_count() > at_start + WORTH_FREEZING
assert looked_at(model) and looked_at(hook) and not looked_at(library.TABLE[5])
left = weakref.ref(model), weakref.ref(hook)
hook.itself = hook
del library.TABLE["object"], library.TABLE["hook"], model, hook
COLLECTOR.collect()
assert [each() for each in left] == [None, None]
""")


def test_a_library_that_comes_with_a_second_model(run: Run) -> None:
    """What was made before the import, and goes after it."""
    run(
        """
class Old: pass
old = Old()
old.itself = old
gone = weakref.ref(old)
"""
        + FREED
        + """
del old
COLLECTOR.collect()
assert gone() is None
"""
    )


def test_little_is_not_worth_while(run: Run) -> None:
    run("""
import small
COLLECTOR.freeze_libraries(OWN_MODULES)
assert gc.get_freeze_count() <= at_start and looked_at(small.VALUES)
""")


def test_models_alone_are_not_frozen(run: Run) -> None:
    """However many objects they have."""
    run("""
import small
import _handler_1_m as module
many = [[] for _ in range(3 * WORTH_FREEZING)]
COLLECTOR.freeze_libraries(OWN_MODULES)
assert looked_at(many[-1]) and looked_at(module.kept)
before = gc.get_freeze_count()
COLLECTOR.freeze_libraries(OWN_MODULES)
assert gc.get_freeze_count() == before
""")


def test_a_process_that_is_not_ours_is_left_as_it_is(run: Run) -> None:
    run(
        """
import gc, weakref
import library
from kserve_v2.memory.collector import COLLECTOR
gc.freeze()
before = gc.get_freeze_count()
class Old: pass
old = Old()
old.itself = old
gone = weakref.ref(old)
del old
COLLECTOR.freeze_libraries("_handler_")
COLLECTOR.collect()
assert gc.get_freeze_count() == before and gone() is None
""",
        begin="",
    )


def test_names_that_are_hard_to_ask_for(run: Run) -> None:
    """Modules and classes that answer questions with code of their own, or wrongly."""
    run("""
import library

class Lazy(types.ModuleType):
    def __getattribute__(self, name):
        raise RuntimeError(name)

class Meta(type):
    def __getattribute__(self, name):
        raise RuntimeError(name)
    def __eq__(self, other):
        raise RuntimeError
    __hash__ = None

class Odd(library.Base, metaclass=Meta):
    __module__ = 5

sys.modules["lazy"] = Lazy("lazy")
sys.modules["nothing"] = None
COLLECTOR.freeze_libraries(OWN_MODULES)
assert gc.get_freeze_count() >= at_start + WORTH_FREEZING
assert not looked_at(library.TABLE)
""")


def test_dictionaries_that_others_write_to_meanwhile(run: Run) -> None:
    """They are tracked by whoever puts something into them, and nobody may track them twice."""
    run("""
import threading
from kserve_v2.memory.collector import _thaw
written = [{} for _ in range(1000)]
done = False

def write():
    while not done:
        for each in written:
            each["key"] = []
            each.clear()

sys.setswitchinterval(1e-6)
writers = [threading.Thread(target=write) for _ in range(3)]
for each in writers:
    each.start()
for _ in range(30):
    gc.freeze()
    _thaw(written)
done = True
""")


def test_a_tuple_that_another_thread_is_making_meanwhile(run: Run) -> None:
    """It is known to the collector by then, and whoever makes it fails if anybody else refers to it."""
    run("""
import threading
import library
from kserve_v2.memory import collector

begun, go_on, made = threading.Event(), threading.Event(), []

def values():
    yield ["first"]
    begun.set()
    go_on.wait()
    yield ["last"]

maker = threading.Thread(target=lambda: made.append(tuple(values())))
maker.start()
begun.wait()

def meanwhile(objects, thaw=collector._thaw):
    go_on.set()
    maker.join()
    thaw(objects)

collector._thaw = meanwhile
COLLECTOR.freeze_libraries(OWN_MODULES)
assert made == [(["first"], ["last"])] and looked_at(made[0])
assert gc.get_freeze_count() >= at_start + WORTH_FREEZING
""")


def test_nothing_is_held_afterwards(run: Run) -> None:
    run("""
import library
class Old: pass
old = Old()
gone = weakref.ref(old)
gc.disable()
COLLECTOR.freeze_libraries(OWN_MODULES)
assert gc.get_freeze_count() >= at_start + WORTH_FREEZING
del old
assert gone() is None and not gc.isenabled()
""")
