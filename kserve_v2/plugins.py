"""Finding backends: entry points of the group `kserve_v2.backends`, imported when the first model asks for
them.
"""

from importlib.metadata import EntryPoint, entry_points

from kserve_v2.backend import Backend
from kserve_v2.errors import InvalidArgumentError

GROUP = "kserve_v2.backends"

# What a backend of ours needs, by its packages' names.
_PACKAGES = {
    "onnxruntime": "onnxruntime-gpu (or onnxruntime, where there is no NVIDIA GPU; never both)",
    "pytorch": "torch safetensors",
}


class BackendRegistry:
    """The backends of this process by name, each made once."""

    def __init__(self) -> None:
        self._entry_points: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=GROUP)}
        self._backends: dict[str, Backend] = {}

    @property
    def names(self) -> list[str]:
        """Names of all registered backends, whether or not what they need is installed."""
        return sorted(self._entry_points)

    def get(self, name: str) -> Backend:
        """The backend called `name`.

        Raises InvalidArgumentError if there is none, or if a package that it needs is not installed: the text
        says which.
        """
        backend = self._backends.get(name)
        if backend is None:
            backend = self._backends[name] = self._load(name)
        return backend

    def entry_point(self, name: str) -> str:
        """Where a backend is found, in this process or another one: `module:attribute`."""
        return self._entry_points[name].value

    def _load(self, name: str) -> Backend:
        point = self._entry_points.get(name)
        if point is None:
            raise InvalidArgumentError(
                f"unable to find backend library for backend '{name}', try specifying runtime on the model "
                f"configuration. Installed backends: {', '.join(self.names)}"
            )
        try:
            backend: Backend = point.load()()
        except ModuleNotFoundError as error:
            raise InvalidArgumentError(
                f"backend '{name}' needs the Python package '{error.name}', which is not installed: "
                f"pip install {_PACKAGES.get(name, error.name)}"
            ) from error
        return backend
