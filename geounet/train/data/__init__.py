"""Images and labels of a user as a source of chips and patches.

:func:`open_data` finds which label belongs to which image, reads all labels once, and refuses with
a list of everything that is wrong; :func:`split` sets whole groups aside; :func:`describe` says
what there is.
"""

from geounet.train.data.building import open_data
from geounet.train.data.pairs import PairSource, Pixels
from geounet.train.data.request import DataRequest
from geounet.train.data.splitting import Split, split
from geounet.train.data.summary import class_shares, describe

__all__ = [
    "DataRequest",
    "PairSource",
    "Pixels",
    "Split",
    "class_shares",
    "describe",
    "open_data",
    "split",
]
