"""``geounet compare``: architectures side by side on the same data."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from geounet_cli.bar import Bar
from geounet_cli.exits import EXIT_INTERRUPTED
from geounet_cli.keys import add_settings, settings_of

if TYPE_CHECKING:
    from geounet.train.compare.command import CompareProgress, CompareResult

_EPILOG = """\
examples:
  geounet compare --archs unet,fcn,segnet --images images --labels masks \\
      --classes background=0,crack=1 -o comparison
  geounet compare --archs unet,unet-resnet34 --images scene.tif --labels polygons.gpkg \\
      --classes land=0,water=1 --val 0.3 --seeds 1,2,3,4,5 -o comparison

Each architecture is trained with each seed on the same data and for as many steps, and scored on
what --val sets aside, by which no epoch is chosen. Without --lr, unet, fcn and segnet learn at
0.003 and those with an encoder of others at 0.001. A comparison that was stopped goes on with the
same command. FOLDER gets compare.md, compare.json and compare.svg.
"""


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    from geounet.train.settings import CompareSettings

    parser = verbs.add_parser(
        "compare",
        help="compare architectures on images and labels",
        description="Train several architectures on the same data, budget and seeds, and write a"
        " table and a plot of how good, how large and how fast they are.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(parser, CompareSettings)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from geounet.train.settings import CompareSettings

    settings = settings_of(args, CompareSettings)
    if settings is None:
        return 0

    from geounet.train.compare.about import shown_command
    from geounet.train.compare.command import run_compare

    command = shown_command(sys.argv[1:])
    with TrainingBar(quiet=args.quiet) as bar:
        try:
            result = run_compare(settings, command=command, say=bar.say, progress=bar)
        except KeyboardInterrupt:  # and how to go on was said
            return EXIT_INTERRUPTED
    if args.json:
        print(result.to_json())
    elif not args.quiet:
        print(summary(result))
    return 0


def summary(result: CompareResult) -> str:
    """The result for a person."""
    comparison = result.comparison
    return "\n".join([*map(str, result.paths), "", comparison.text(), "", *comparison.findings()])


class TrainingBar(Bar):
    """Takes the progress of a comparison: a bar a training."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._shown: tuple[Any, int] | None = None

    def __call__(self, at: CompareProgress) -> None:
        """Show it."""
        if self._shown != (at.recipe.arch, at.seed):
            self.close()
            self._shown = (at.recipe.arch, at.seed)
        title = f"{at.recipe.arch.name}, seed {at.seed}"
        self.show(at.step, at.steps, "{n}/{total} steps", title)
        if at.step == at.steps:
            self.close()
