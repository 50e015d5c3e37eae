"""What a handler sends to processes that it starts itself: functions and classes of its own modules."""

import pickle
import types
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
from kserve_v2_backends.eager.module import HandlerModule

HELPER = "def double(x):\n    return 2 * x\n"


@pytest.fixture
def module(tmp_path: Path) -> Iterator[HandlerModule]:
    (tmp_path / "model.py").write_text("import made, helper\ndef square(x):\n    return x * x\n")
    (tmp_path / "helper.py").write_text(HELPER)
    made = HandlerModule(tmp_path / "model.py", "m", 1, given={"made": types.ModuleType("made")})
    yield made
    made.close()


def test_what_is_made_for_a_file_is_in_no_other_process(module: HandlerModule) -> None:
    with pytest.raises(
        TypeError,
        match=r"square of model.py cannot be sent to another process: that has no made. Put it into a module of its own "
        r"beside model.py",
    ):
        ForkingPickler.dumps(module.module.square)


def test_here_it_is_the_same_function(module: HandlerModule) -> None:
    double = module.module.helper.double
    assert pickle.loads(ForkingPickler.dumps([double, int, len]))[0] is double  # noqa: S301


def test_what_comes_back_after_an_unload_is_not_imported_again(module: HandlerModule) -> None:
    text = ForkingPickler.dumps(module.module.helper.double)
    module.close()
    with pytest.raises(ImportError, match=r"ImportError: the model of _handler_.*_m_1 has been unloaded"):
        pickle.loads(text)(1)  # noqa: S301
