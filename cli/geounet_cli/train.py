"""``geounet train``: from images and labels to a model."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, Any

from geounet_cli.exits import EXIT_INTERRUPTED
from geounet_cli.keys import add_settings, settings_of

if TYPE_CHECKING:
    from geounet.train.command import TrainResult

_EPILOG = """\
examples:
  geounet train --images scene.tif --labels polygons.gpkg --classes land=0,water=1 -o water.geounet
  geounet train --images images --labels masks --classes background=0,crack=1 -o crack.geounet
  geounet train --images images --labels masks --print-config > crack.yaml
  geounet train crack.yaml --epochs 60
  geounet segment other_scene.tif -m water.geounet

Images and labels are matched by name; the rule is printed. All that is wrong with them is listed
at once, before any training. MODEL.html shows how good the model is, MODEL.run has the logs.
"""


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    from geounet.train.settings import TrainSettings

    parser = verbs.add_parser(
        "train",
        help="train a model from images and labels",
        description="Train a model that geounet segment runs, from images and labels: pairs of"
        " files, or scenes and polygons.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(parser, TrainSettings)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from geounet.train.settings import TrainSettings

    settings = settings_of(args, TrainSettings)
    if settings is None:
        return 0

    from geounet.train.command import run_train
    from geounet_cli.epochs import EpochBar

    command = shlex.join(["geounet", *sys.argv[1:]])
    try:
        with EpochBar(quiet=args.quiet) as bar:
            result = run_train(settings, command=command, say=bar.say, progress=bar)
    except KeyboardInterrupt:
        go_on = "go on with --resume" if settings.folder.exists() else "nothing was left behind"
        print(f"geounet: interrupted: {go_on}", file=sys.stderr)
        return EXIT_INTERRUPTED
    if args.json:
        print(result.to_json())
    elif not args.quiet:
        print(summary(result))
    return 0


def summary(result: TrainResult) -> str:
    """The result for a person."""
    history, best = result.trained.history, result.trained.best_epoch
    seconds = sum(record.seconds + record.val_seconds for record in history)
    kept = "the last" if best is None else f"epoch {best + 1}"
    spent = f"{len(history)} epochs in {seconds:.0f} s; {kept} was kept"
    lines = [f"{result.model}", f"{result.report}", "", result.scores.table(), spent]
    return "\n".join(lines)
