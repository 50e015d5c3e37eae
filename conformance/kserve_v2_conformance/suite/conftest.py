"""The suite is pytest with one plugin."""

pytest_plugins = ["kserve_v2_conformance.plugin"]
