"""What the two servers whose v1 protocol this is do in different ways, as far as no answer suits both."""

from dataclasses import dataclass

KSERVE = "kserve"
TF_SERVING = "tfserving"


@dataclass(frozen=True, slots=True)
class Manners:
    """How one of them answers. `of_tf_serving`: as TF Serving does; otherwise as KServe's own server."""

    of_tf_serving: bool

    def unknown_status(self, name: str, version: str) -> str:
        """Of a model that is asked for its status, and is not there."""
        if not self.of_tf_serving:
            return _does_not_exist(name, version)
        which = f"version {version}" if version else "any versions"
        return f"Could not find {which} of model {name}"

    def unknown_model(self, name: str, version: str) -> str:
        """Of a model that is asked for an answer, and is not there."""
        if not self.of_tf_serving:
            return _does_not_exist(name, version)
        which = f"Specific({name}, {version})" if version else f"Latest({name})"
        return f"Servable not found for request: {which}"


def _does_not_exist(name: str, version: str) -> str:
    # KServe's own server has no versions.
    which = f"version {version} of model" if version else "Model with name"
    return f"{which} {name} does not exist."


FLAVOURS = {KSERVE: Manners(of_tf_serving=False), TF_SERVING: Manners(of_tf_serving=True)}
"""By the name that the option `--v1-flavour` has for it."""
