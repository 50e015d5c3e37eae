"""Models of LightGBM."""

from .lightgbm import LightGBMModel

__all__ = ["LightGBMModel"]
