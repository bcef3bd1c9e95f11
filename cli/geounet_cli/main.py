"""``geounet``: parses, runs one verb, and turns errors into one line and exit code 2."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from geounet import __version__
from geounet.errors import GeounetError
from geounet_cli import (
    batch,
    compare,
    evaluate,
    info,
    models,
    mosaic,
    polygonize,
    quicklook,
    segment,
    train,
)
from geounet_cli.exits import EXIT_INTERRUPTED, EXIT_REFUSED
from geounet_cli.quiet import silence_gdal

_EPILOG = """\
examples:
  geounet segment scene.tif                     choose a bundled model by the scene's bands
  geounet segment B2.TIF B3.TIF ... -m water-ms several single-band files of one scene
  geounet batch 'scenes/*.tif' -o maps          many scenes, on all cores or a Dask cluster
  geounet info scene.tif                        what is in it, which models fit and why not
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0 done, 1 not all of it, 2 refused, 130 interrupted."""
    args = _parser().parse_args(argv)
    silence_gdal()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return int(args.run(args))
    except GeounetError as error:
        print(f"geounet: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt as interruption:
        left = interruption.args[0] if interruption.args else "nothing was left behind"
        print(f"geounet: interrupted; {left}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        sys.stderr.close()
        return 1


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, as everything here does; the usage is for those who ask for it."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_REFUSED, f"geounet: {message}: see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="geounet",
        description="From a satellite scene to a map: classes as GeoTIFF, polygons as GeoPackage.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"geounet {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb in (
        segment, batch, polygonize, mosaic, info, models, evaluate, quicklook, train, compare,
    ):  # fmt: skip
        verb.add_parser(verbs)
    return parser


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
