"""Everything geounet refuses, as one small tree by what was being touched.

Each message is one line: what, where, and how to mend it. The command line prints it as it is and
exits with 2; a traceback therefore always means a bug.
"""


class GeounetError(Exception):
    """Base of every error that a user can cause and mend."""


class OptionError(GeounetError, ValueError):
    """An option, or a value built by hand, is outside its limits."""


class SceneError(GeounetError):
    """The scene cannot be opened, read or understood."""


class UnreachableError(SceneError):
    """A remote scene cannot be opened or read, after several tries."""


class BandError(SceneError):
    """The bands of the scene do not answer the bands of the model."""


class ValueRangeError(SceneError):
    """The pixel values cannot be what the model expects (unit or scale)."""


class ModelError(GeounetError):
    """A model bundle is missing, damaged, or asks for what this version does not have."""


class DataError(GeounetError):
    """Images and labels that cannot be learnt from; the message lists all that is wrong at once."""


class OutputError(GeounetError):
    """A result cannot be written."""


class DeviceError(GeounetError):
    """The device or precision asked for is not to be had on this machine."""


class DependencyError(GeounetError, ImportError):
    """An optional package is needed for what was asked and is not installed."""


class ClusterError(GeounetError):
    """The workers of a batch cannot be reached, or were lost."""
