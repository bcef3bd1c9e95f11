"""Flags that are keys of a settings class."""

from __future__ import annotations

import argparse
import typing
from pathlib import Path
from typing import Any

_SHORT = {"out": "-o"}

Settings = typing.TypeVar("Settings")


def add_settings(parser: argparse.ArgumentParser, settings: type[Any]) -> None:
    """Declare a configuration file, ``--print-config``, a flag for each key, and ways to print."""
    parser.add_argument(
        "config",
        nargs="?",
        type=Path,
        metavar="CONFIG.yaml",
        help="file with the settings below (a key is its flag with _ for -); flags win over it",
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print the whole file that the flags and CONFIG.yaml make, and do nothing else",
    )
    add_flags(parser, settings)
    parser.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    parser.add_argument("--json", action="store_true", help="print a last line of JSON on stdout")


def settings_of(args: argparse.Namespace, kind: type[Settings]) -> Settings | None:
    """What :func:`add_settings` was given; None: it was to be printed, and was."""
    from geounet.train.keys import print_settings, read_settings

    if args.print_config:
        print(print_settings(kind, args.config, flags_of(args)), end="")
        return None
    return read_settings(kind, args.config, flags_of(args))


def add_flags(parser: argparse.ArgumentParser, settings: type[Any]) -> None:
    """Declare a flag for each key."""
    from geounet.train.keys import keys_of, required

    needed = required(settings)
    hints = typing.get_type_hints(settings)
    groups: dict[str, Any] = {}
    for one in keys_of(settings):
        title = one.metadata["group"]
        group = groups.setdefault(title, parser.add_argument_group(title))
        flags = [*([_SHORT[one.name]] if one.name in _SHORT else []), _flag(one.name)]
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": f"key.{one.name}"}
        text = one.metadata["text"].replace("%", "%%")
        if hints[one.name] is bool:
            negative = argparse.BooleanOptionalAction if one.default else "store_true"
            group.add_argument(*flags, action=negative, help=text, **options)
            continue
        if one.name in needed:
            text += " (needed)"
        elif one.default is not None:
            text += f" (default: {one.default})"
        group.add_argument(*flags, metavar=one.metadata["show"], help=text, **options)


def flags_of(args: argparse.Namespace) -> dict[str, Any]:
    """Key -> what was given, as text, of the flags that were."""
    found = vars(args).items()
    return {name.removeprefix("key."): v for name, v in found if name.startswith("key.")}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
