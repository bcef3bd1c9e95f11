"""How good a predictor is over a set of chips, and which patches show it."""

from geounet.train.scoring.bootstrap import Estimate
from geounet.train.scoring.gallery import Gallery, Patch
from geounet.train.scoring.scores import ClassScores, SetScores, score

__all__ = ["ClassScores", "Estimate", "Gallery", "Patch", "SetScores", "score"]
