"""``geounet evaluate``: score a class map against labels."""

from __future__ import annotations

import argparse
from typing import Any

from geounet.errors import OptionError

_EPILOG = """\
examples:
  geounet evaluate classes.tif truth.tif
  geounet evaluate water.tif mask.png --map 255=1      a mask of 0 and 255
  geounet evaluate flood.tif hand_labels.tif --ignore=-1
"""


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "evaluate",
        help="score a class map against labels",
        description="IoU, F1, precision, recall and boundary F1 of each class, their means and the"
        " overall accuracy. Pixels without data in either raster are left out.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pred", metavar="PRED", help="class map: one band of class codes")
    parser.add_argument("labels", metavar="LABELS", help="true classes on the same grid")
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead")
    parser.add_argument(
        "--ignore", default="", metavar="CODES", help="label codes to leave out, e.g. --ignore=-1,9"
    )
    parser.add_argument(
        "--map",
        default="",
        metavar="A=B,...",
        help="label code A means B of PRED, e.g. 255=1 for a mask of 0 and 255",
    )
    parser.add_argument(
        "--classes",
        default="",
        metavar="NAME=CODE,...",
        help="names of the classes (default: those that PRED or LABELS carry, else the codes)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=2.0,
        metavar="PX",
        help="of the boundary F1, in pixels (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from geounet.evaluate import evaluate

    report = evaluate(
        args.pred,
        args.labels,
        ignore=[_code(item, "--ignore") for item in _items(args.ignore)],
        remap={_code(a, "--map"): _code(b, "--map") for a, b in _pairs(args.map, "--map A=B")},
        classes={
            name: _code(code, "--classes")
            for name, code in _pairs(args.classes, "--classes NAME=CODE")
        },
        tolerance=args.tolerance,
    )
    print(report.to_json() if args.json else report.table())
    return 0


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _pairs(text: str, usage: str) -> list[tuple[str, str]]:
    pairs = [item.rpartition("=") for item in _items(text)]
    for left, _, right in pairs:
        if not (left and right):
            raise OptionError(f"{text!r} is not {usage}, separated by commas")
    return [(left.strip(), right.strip()) for left, _, right in pairs]


def _code(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"{option}: {text!r} is not a class code (a whole number)") from None
