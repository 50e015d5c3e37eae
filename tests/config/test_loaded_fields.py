"""What a load goes by: every field of the schema, but for those of which it is known that it does not."""

import pytest

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.loaded_fields import adopt, what_a_load_goes_by
from tests.config.schema import Path, leaves, name, with_value


@pytest.mark.parametrize("path", [*leaves(ModelConfig.DESCRIPTOR)], ids=name)
def test_every_field_is_a_reason_to_load_again_unless_it_is_known_to_be_none(path: Path) -> None:
    changed = with_value(path)
    same = what_a_load_goes_by(changed) == what_a_load_goes_by(ModelConfig())
    assert same is name(path).startswith(("version_policy", "instance_group"))


def test_the_order_in_which_parameters_are_written_is_no_change() -> None:
    one, other = ModelConfig(), ModelConfig()
    for config, keys in ((one, "abcdefgh"), (other, "hgfedcba")):
        for key in keys:
            config.parameters[key].string_value = key
    assert what_a_load_goes_by(one) == what_a_load_goes_by(other)


def test_what_is_shown_follows_the_policy_and_nothing_else() -> None:
    shown = ModelConfig(name="m", backend="python", max_batch_size=8)
    shown.version_policy.latest.num_versions = 1
    written = ModelConfig(max_batch_size=3)
    written.version_policy.specific.versions[:] = [2, 3]
    adopted = adopt(shown, written)
    assert (adopted.name, adopted.max_batch_size) == ("m", 8)
    assert adopted.version_policy.specific.versions == [2, 3]
    assert shown.version_policy.latest.num_versions == 1
    # As it is filled in where nothing is written.
    assert adopt(adopted, ModelConfig()) == shown


def test_parameters_of_the_server_alone_are_no_reason_to_load_again() -> None:
    def parameters(**values: str) -> ModelConfig:
        config = ModelConfig()
        for key, value in values.items():
            config.parameters[key].string_value = value
        return config

    same = what_a_load_goes_by(parameters(mine="1"))
    assert what_a_load_goes_by(parameters(mine="1", release='{"labels": {}}', pin="true")) == same
    # Whatever is wrong with it is for the load to say.
    assert what_a_load_goes_by(parameters(mine="1", pin="maybe")) != same
    assert what_a_load_goes_by(parameters(mine="2")) != same
    shown = parameters(mine="1", release="old", pin="true")
    shown.version_policy.latest.num_versions = 1
    adopted = adopt(shown, parameters(mine="9", release="new"))
    assert {key: value.string_value for key, value in adopted.parameters.items()} == {
        "mine": "1",
        "release": "new",
    }
