"""``geounet evaluate``: score a class map against labels, or a model over a set of images."""

from __future__ import annotations

import argparse
import shlex
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from geounet.errors import DependencyError, OptionError
from geounet_cli.keys import add_flags, flags_of

if TYPE_CHECKING:
    from geounet.train.evaluation import EvaluateResult

_DESCRIPTION = """\
PRED LABELS scores one class map against labels on the same grid: IoU, F1, precision, recall and
boundary F1 of each class, their means and the overall accuracy. Pixels without data in either
raster are left out. It takes --ignore, --map, --classes, --tolerance and --json.

MODEL --images PATH --labels PATH scores a model, one of geounet models or a .geounet file, over a
set of images, each score with its 95 % confidence interval over groups of images. Bands, scale and
offset of the images are taken as geounet segment takes them; images and labels are matched by name
as geounet train matches them. It takes all but --classes and --tolerance.
"""

_EPILOG = """\
examples:
  geounet evaluate classes.tif truth.tif
  geounet evaluate water.tif mask.png --map 255=1      a mask of 0 and 255
  geounet evaluate flood.tif hand_labels.tif --ignore=-1
  geounet evaluate flood-s1 --images S1 --labels hand_labels --ignore=-1
  geounet evaluate my.geounet --images scene.tif --labels polygons.gpkg --report my.html
  geounet evaluate my.geounet --images images --labels masks --groups places.json --json
"""

_ONE_MAP = ("classes", "tolerance")
_BOTH = ("ignore", "map")
_NEEDED = ("kornia", "omegaconf", "torchgeo", "yaml")


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    from geounet.train.settings import EvaluateSettings

    parser = verbs.add_parser(
        "evaluate",
        help="score a class map against labels, or a model over a set of images",
        usage="geounet evaluate PRED LABELS [options]\n"
        "       geounet evaluate MODEL --images PATH --labels PATH [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pred", metavar="PRED | MODEL", help="class map: one band of class codes; or a model"
    )
    parser.add_argument(
        "truth", metavar="LABELS", nargs="?", help="of PRED: true classes on the same grid"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing of the images")
    one = parser.add_argument_group("one class map")
    one.add_argument(
        "--classes",
        metavar="NAME=CODE,...",
        help="names of the classes (default: those that PRED or LABELS carry, else the codes)",
    )
    one.add_argument(
        "--tolerance",
        type=float,
        metavar="PX",
        help="of the boundary F1, in pixels (default: 2; of a model, 1, 2 and 3 are told)",
    )
    add_flags(parser, EvaluateSettings)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    flags = flags_of(args)
    if "images" in flags or "labels" in flags:
        return _of_model(args, flags)
    return _of_map(args, flags)


def _of_map(args: argparse.Namespace, flags: dict[str, Any]) -> int:
    _check_map(args, flags)

    from geounet.evaluate import evaluate

    ignore, remap = flags.get("ignore", ""), flags.get("map", "")
    report = evaluate(
        args.pred,
        args.truth,
        ignore=[_code(item, "--ignore") for item in _items(ignore)],
        remap={_code(a, "--map"): _code(b, "--map") for a, b in _pairs(remap, "--map A=B")},
        classes={
            name: _code(code, "--classes")
            for name, code in _pairs(args.classes or "", "--classes NAME=CODE")
        },
        tolerance=2.0 if args.tolerance is None else args.tolerance,
    )
    print(report.to_json() if args.json else report.table())
    return 0


def _check_map(args: argparse.Namespace, flags: dict[str, Any]) -> None:
    if args.truth is None:
        raise OptionError(
            f"{args.pred} is compared with what? Give LABELS for a class map, or --images and"
            " --labels for a model"
        )
    if others := [name for name in flags if name not in _BOTH]:
        raise OptionError(
            f"{_flag(others[0])} is for a model with --images and --labels: leave it out for a"
            " class map"
        )


def _of_model(args: argparse.Namespace, flags: dict[str, Any]) -> int:
    _check_model(args, flags)

    from geounet.train.keys import read_settings
    from geounet.train.settings import EvaluateSettings
    from geounet_cli.bar import PixelBar

    settings = read_settings(EvaluateSettings, None, flags)

    from geounet.train.evaluation import run_evaluate

    command = shlex.join(["geounet", *sys.argv[1:]])
    with PixelBar(quiet=args.quiet) as bar:
        result = run_evaluate(args.pred, settings, command=command, say=bar.say, progress=bar)
    print(result.to_json() if args.json else summary(result))
    return 0


def _check_model(args: argparse.Namespace, flags: dict[str, Any]) -> None:
    missing = [name for name in ("images", "labels") if name not in flags]
    if missing:
        raise OptionError(f"{args.pred} is scored over a set: give {_flag(missing[0])}, too")
    if args.truth is not None:
        raise OptionError(
            f"{args.truth}: --labels {flags['labels']} says already what is there: give either"
            " PRED LABELS or MODEL --images PATH --labels PATH"
        )
    if others := [name for name in _ONE_MAP if getattr(args, name) is not None]:
        raise OptionError(f"{_flag(others[0])} is for PRED LABELS: leave it out for a model")
    if absent := [name for name in _NEEDED if find_spec(name) is None]:
        raise DependencyError(
            f"scoring a model over images needs packages that are not installed"
            f" ({', '.join(absent)}): pip install 'geounet[train]'"
        )


def summary(result: EvaluateResult) -> str:
    """The result for a person."""
    pixels = result.scores.pixels + result.scores.ignored
    lines = [] if result.report is None else [f"{result.report}", ""]
    lines += [
        result.scores.table(),
        f"{result.model} on {result.device}: {pixels / 1e6:.2f} Mpx in {result.seconds:.1f} s",
    ]
    return "\n".join(lines)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


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
