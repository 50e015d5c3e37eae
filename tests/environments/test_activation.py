"""The variables of an environment's processes."""

from pathlib import Path

import pytest

from kserve_v2.environments.activation import activated, activation_scripts

SERVER = {
    "PATH": "/usr/bin",
    "HOME": "/home/her",
    "VIRTUAL_ENV": "/server/venv",
    "VIRTUAL_ENV_PROMPT": "server",
    "PYTHONPATH": "/server/packages",
    "PYTHONHOME": "/server/python",
    "CONDA_PREFIX": "/server/conda",
    "CONDA_SHLVL": "2",
}


def test_a_venv_is_activated_as_its_script_would(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    assert activated(tmp_path, SERVER) == {
        "PATH": f"{tmp_path}/bin:/usr/bin",
        "HOME": "/home/her",
        "VIRTUAL_ENV": str(tmp_path),
        "PYTHONNOUSERSITE": "1",
    }


@pytest.mark.parametrize(("before", "after"), [({}, ""), ({"LD_LIBRARY_PATH": "/cuda"}, ":/cuda")])
def test_a_conda_environment_is_activated_as_triton_does(
    tmp_path: Path, before: dict[str, str], after: str
) -> None:
    assert activated(tmp_path, {**SERVER, **before}) == {
        "PATH": f"{tmp_path}/bin:/usr/bin",
        "HOME": "/home/her",
        "CONDA_PREFIX": str(tmp_path),
        "LD_LIBRARY_PATH": f"{tmp_path}/lib{after}",
        "PYTHONNOUSERSITE": "1",
    }


def test_scripts_that_are_not_run_are_listed(tmp_path: Path) -> None:
    assert activation_scripts(tmp_path) == []
    scripts = tmp_path / "etc" / "conda" / "activate.d"
    scripts.mkdir(parents=True)
    for name in ("proj.sh", "gdal.sh", "gdal.fish"):
        (scripts / name).touch()
    assert activation_scripts(tmp_path) == ["gdal.sh", "proj.sh"]
