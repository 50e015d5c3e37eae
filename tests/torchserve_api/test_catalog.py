from pathlib import Path

import pytest
from kserve_v2_child.torchserve.manifest import Manifest

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.torchserve_api.archive_look import Archive
from kserve_v2.torchserve_api.catalog import Catalog, Registration
from kserve_v2.torchserve_api.errors import TorchServeError
from kserve_v2.torchserve_api.places import Place
from kserve_v2.torchserve_api.precedence import Served


def add(catalog: Catalog, name: str, version: str, *, default: bool = False) -> Registration:
    key = catalog.key_for(name, version)
    found = Registration(
        name,
        version,
        key,
        f"{name}.mar",
        Place(Path("m.mar")),
        Archive(Manifest(), {}),
        Served(min_workers=1, max_workers=1),
    )
    catalog.add(found, default=default)
    return found


def test_the_first_version_has_the_models_name_and_is_its_default() -> None:
    catalog = Catalog(["taken"])
    one, two = add(catalog, "m", "1.0"), add(catalog, "m", "2.0")
    assert (one.key, two.key) == ("m", "m@2.0")
    assert catalog.find("m") is one
    assert catalog.find("m", "2.0") is two
    assert list(catalog.versions("m")) == [one, two]
    # The server has another model of that name.
    assert add(catalog, "taken", "1.0").key == "taken@1.0"
    # And a model may have a name that looks like a version's.
    assert add(catalog, "m@3.0", "1.0").key == "m@3.0"
    assert add(catalog, "m", "3.0").key == "m@3.0_"
    assert add(catalog, "m", "4.0", default=True) is catalog.find("m")
    assert catalog.names == ["m", "m@3.0", "taken"]


def test_a_default_goes_last() -> None:
    catalog = Catalog()
    one, two = add(catalog, "m", "1.0"), add(catalog, "m", "2.0")
    with pytest.raises(TorchServeError, match=r"^Cannot remove default version for model m$"):
        catalog.removable("m")
    catalog.set_default("m", "2.0")
    catalog.remove(catalog.removable("m", "1.0"))
    assert not catalog.has(one)
    # Twice is as good as once, also where another one has its place.
    again = add(catalog, "m", "1.0")
    assert again.key == "m@1.0"
    catalog.remove(one)
    assert catalog.has(again)
    catalog.remove(catalog.removable("m", "1.0"))
    assert catalog.removable("m") is two
    catalog.remove(two)
    with pytest.raises(TorchServeError, match=r"^Model not found: m$"):
        catalog.find("m")
    assert not catalog.uses("m@2.0")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\\b", "a" * 300])
def test_what_can_be_no_name(name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        Catalog().key_for(name, "1.0")
