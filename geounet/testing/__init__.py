"""Fakes and values for tests, of geounet itself and of code that uses it."""

from geounet.testing.bundles import random_bundle
from geounet.testing.engines import EchoEngine

__all__ = ["EchoEngine", "random_bundle"]
