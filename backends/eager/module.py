"""Import a handler file, and forget it again."""

import itertools
import re
import sys
import traceback
import types
from collections.abc import Mapping, Sequence
from pathlib import Path

from kserve_v2.errors import InternalError, InvalidArgumentError, describe

from . import lookup, processes
from .imports import PREFIX, ModuleSpace

_serial = itertools.count(1)
# The backends.
_OURS = Path(__file__).parent.parent


class HandlerModule:
    """The imported handler file. `module` is gone after `close`."""

    def __init__(
        self,
        path: Path,
        model: str,
        version: int,
        *,
        module: str = "",
        beside: Sequence[Path] = (),
        given: Mapping[str, types.ModuleType] | None = None,
    ) -> None:
        """Import `path`. `module`, `beside`, `given`: see `ModuleSpace`.

        Raises InvalidArgumentError where the file is missing, InternalError with file name and line where its
        code fails.
        """
        if not path.is_file():
            raise InvalidArgumentError(f"model '{model}': version {version} has no file {path.name}")
        if path.suffix != ".py" or not path.stem.isidentifier():
            raise InvalidArgumentError(
                f"default_model_filename: expected a Python module such as model.py, got '{path.name}'"
            )
        # As tracebacks have it.
        self._directory = path.parents[module.count(".")].absolute()
        self._name = path.name
        package = f"{PREFIX}{next(_serial)}_{re.sub(r'[^0-9A-Za-z]', '_', model)}_{version}"
        self._space = ModuleSpace(package, path, module=module, beside=beside, given=given)
        lookup.install()
        processes.install()
        try:
            self.module: types.ModuleType = self._space.enter()
        except BaseException as error:
            self.close()
            raise self.load_error(error) from error

    def load_error(self, error: BaseException) -> InternalError:
        """What to report where the handler's own code failed while it was loaded: file, line and
        exception."""
        text = f"{self._location(error)}: {describe(error)}"
        return InternalError(text.replace(f"{self._space.package}.", ""))

    def work_for_it(self) -> None:
        """From now on, the thread or task that calls this works for this handler: what it looks up by name is searched
        for beside the handler, whatever code looks it up.
        """
        lookup.work_for(self._space)

    @staticmethod
    def prepare_torch() -> None:
        """Where torch is loaded: have it read what handlers let it read."""
        if "torch" in sys.modules:
            from ..pytorch.safe_globals import keep_apart  # noqa: PLC0415 - only where the handler uses torch

            keep_apart()

    def close(self) -> None:
        """Forget the modules of this load."""
        try:
            if "torch" in sys.modules:
                from ..pytorch.safe_globals import forget  # noqa: PLC0415 - as above

                forget(self._space)
        finally:
            self._space.leave()

    def _location(self, error: BaseException) -> str:
        """The innermost line of the handler's own files that took part in `error`."""
        if isinstance(error, SyntaxError):
            # Of a text that is none, Python does not say where it stood.
            return f"{self._relative(error.filename)}, line {error.lineno}" if error.filename else self._name
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).is_relative_to(self._directory)]
        if not own:
            # An object of the program is of a file somewhere else: of that which we have called.
            called = [frame for frame in frames if not Path(frame.filename).is_relative_to(_OURS)]
            own = [frame for frame in called if frame.filename == called[0].filename]
        return f"{self._relative(own[-1].filename)}, line {own[-1].lineno}" if own else self._name

    def _relative(self, filename: str) -> str:
        path = Path(filename)
        return str(path.relative_to(self._directory)) if path.is_relative_to(self._directory) else path.name
