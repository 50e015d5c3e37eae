"""Models of scikit-learn."""

from .sklearn import SKLearnModel

__all__ = ["SKLearnModel"]
