"""Where models keep what is to outlive the server, such as what they have downloaded or computed once."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from kserve_v2.repository.locations.area import is_staged, lasting_path
from kserve_v2.repository.locations.linked import home_of
from kserve_v2.repository.user_cache import user_cache

# What stays readable of a model's name; what tells models apart is behind it.
_MAX_NAME = 60
_DIGITS = 16


def kept_root(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The directory for all models: that which the operator has `given`, or one in the user's cache directory; None for
    a user without one.
    """
    if given is not None:
        return given.absolute()
    cache = user_cache(environ)
    return None if cache is None else cache / "models"


def kept_path(root: Path, model_path: Path) -> Path:
    """The directory of one model, all its versions together. Those of the same name in other repositories have others,
    and no name leads out of `root`.
    """
    if (home := home_of(model_path)) is not None:
        lasting = home / model_path.name
    else:
        # One that is staged has another directory for each of its contents.
        lasting = lasting_path(model_path).absolute() if is_staged(model_path) else model_path.resolve()
    where = str(lasting).encode(errors="surrogateescape")
    name = re.sub(r"[^A-Za-z0-9._-]", "_", model_path.name)[:_MAX_NAME]
    return root / f"{name}-{hashlib.sha256(where).hexdigest()[:_DIGITS]}"
