"""Architectures compared on the same data: see :mod:`geounet.train.compare.contest`."""
