"""Options that ``segment``, ``batch`` and ``mosaic`` have in common."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_shapes(parser: argparse.ArgumentParser) -> None:
    """Declare what becomes of polygons' borders."""
    parser.add_argument(
        "--simplify",
        metavar="PX|M",
        help="let borders of polygons move by so many pixels (1.5) or metres (20m)",
    )
    parser.add_argument(
        "--smooth",
        action="store_true",
        help="let borders of polygons run smoothly, less than half a pixel from the pixels' edges",
    )


def add_confidence(parser: argparse.ArgumentParser, path: str) -> None:
    """Declare ``--confidence``, which is written to what ``path`` says."""
    parser.add_argument(
        "--confidence",
        action="store_true",
        help=f"also write {path} (percent) and each polygon's mean confidence",
    )


def add_computing(parser: argparse.ArgumentParser, devices: str = "") -> None:
    """Declare the area of interest, the tile, and what runs the network, on which devices."""
    parser.add_argument(
        "--aoi", type=Path, metavar="FILE", help="vector file; outside its polygons is nodata"
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="pixels on a side (changes nothing where tiles are exact; default on a CPU: as large"
        " as fits into about a gigabyte)",
    )
    parser.add_argument(
        "--engine",
        default="auto",
        help="auto (the fastest here), torch, or openvino (CPU, fp32; needs no torch)",
    )
    parser.add_argument("--device", default="auto", help=f"auto, cpu, cuda, cuda:N, mps{devices}")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16, fp16 or int8")


def add_reporting(parser: argparse.ArgumentParser) -> None:
    """Declare whether outputs are replaced, and what is said at the end."""
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    parser.add_argument("--json", action="store_true", help="print a last line of JSON on stdout")
