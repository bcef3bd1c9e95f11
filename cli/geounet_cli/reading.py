"""The options that say how a scene is to be read, where it does not say so itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geounet.fit import Reading


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Declare ``--bands``, ``--scale`` and ``--offset``."""
    parser.add_argument(
        "--bands", metavar="NAME=I,...", help="which band is which, e.g. B02=1,B03=2 or red=3"
    )
    parser.add_argument("--scale", type=float, metavar="F", help="value * F + OFFSET is the unit")
    parser.add_argument("--offset", type=float, metavar="F", help="see --scale")


def reading(args: argparse.Namespace) -> Reading:
    """What they say."""
    from geounet.fit import Reading

    return Reading(bands=args.bands, scale=args.scale, offset=args.offset)
