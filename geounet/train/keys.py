"""Settings that are a flag on the command line and a key in a YAML file, declared once.

A settings class is a frozen dataclass whose fields are made by :func:`key`. Values are checked and
converted by OmegaConf: a number may come as text, a key that does not exist is an error.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from geounet.errors import DependencyError, OptionError

Settings = TypeVar("Settings")

_MISSING = "???"  # how OmegaConf writes a value that must be given


def key(text: str, default: Any = dataclasses.MISSING, *, group: str, show: str = "") -> Any:
    """A field of a settings class.

    Args:
        text: What it is, in a line, for help and for files.
        default: Left out: it must be given.
        group: Under which heading the help lists it.
        show: What stands for its value in the help.
    """
    return dataclasses.field(
        default=default, metadata={"text": text, "group": group, "show": show or None}
    )


def keys_of(settings: type[Any]) -> Iterator[dataclasses.Field[Any]]:
    """Its fields in the order in which they are declared, those of base classes first."""
    yield from dataclasses.fields(settings)


def required(settings: type[Any]) -> tuple[str, ...]:
    """Keys that must be given."""
    return tuple(f.name for f in keys_of(settings) if f.default is dataclasses.MISSING)


def coerce_paths(settings: Any) -> None:
    """Turn text into a path where a key is a path, and a path into text where it is text.

    For ``__post_init__``: from Python a path may be given either way.

    Raises:
        OptionError: A key that is a path is something else.
    """
    for name, hint in get_type_hints(type(settings)).items():
        value, kinds = getattr(settings, name), get_args(hint) or (hint,)
        if Path in kinds:
            if isinstance(value, str | os.PathLike):
                object.__setattr__(settings, name, Path(value))
            elif value is not None or type(None) not in kinds:
                raise OptionError(f"--{name.replace('_', '-')} {value}: give a path")
        elif isinstance(value, Path):
            object.__setattr__(settings, name, str(value))


def read_settings(kind: type[Settings], file: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Settings from a file, and from flags, which win.

    Raises:
        OptionError: The file cannot be read, a key is not there, a value is not of its kind, or
            something that must be given is not; all that is missing at once.
    """
    merged = _merged(kind, file, flags)
    missing = [name for name in required(kind) if merged[name] is None]
    if missing:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise OptionError(f"give {named} (or {', '.join(missing)} in a configuration file)")
    return kind(**merged)


def print_settings(kind: type[Any], file: Path | None, flags: Mapping[str, Any]) -> str:
    """The whole file, each key with what it is; ``???`` for what must still be given.

    Raises:
        OptionError: As for :func:`read_settings`, but nothing is missing.
    """
    return _yaml(kind, _merged(kind, file, flags))


def to_yaml(settings: Any) -> str:
    """The file that gives these settings."""
    return _yaml(type(settings), plain(settings))


def plain(settings: Any) -> dict[str, Any]:
    """Key -> value, as a file would have it."""
    return {f.name: _simple(getattr(settings, f.name)) for f in keys_of(type(settings))}


def _yaml(kind: type[Any], values: Mapping[str, Any]) -> str:
    conf = _omegaconf().OmegaConf
    needed = required(kind)
    parts = []
    for one in keys_of(kind):
        value = values[one.name]
        shown = _MISSING if value is None and one.name in needed else _simple(value)
        parts.append(f"# {one.metadata['text']}\n{conf.to_yaml(conf.create({one.name: shown}))}")
    return "".join(parts)


def _merged(kind: type[Any], file: Path | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Every key; None where it is missing."""
    conf, errors = _omegaconf().OmegaConf, _omegaconf().errors
    schema = conf.structured(kind)
    for source, values in ((file, _loaded(file)), (None, dict(flags))):
        try:
            schema = conf.merge(schema, conf.create(values))
        except errors.OmegaConfBaseException as error:
            raise OptionError(_told(kind, source, error)) from error
    try:
        plain_values: dict[str, Any] = conf.to_container(schema, resolve=True)
    except errors.OmegaConfBaseException as error:
        raise OptionError(f"{file}: {_first_line(error)}") from error
    return {name: None if v == _MISSING else v for name, v in plain_values.items()}


def _loaded(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    import yaml

    conf = _omegaconf().OmegaConf
    try:
        content = conf.to_container(conf.load(file))
    except OSError as error:
        raise OptionError(
            f"{file}: cannot be read ({error.strerror}): check the path; --print-config writes one"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())
        raise OptionError(f"{file} is no YAML ({line[:160]})") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise OptionError(f"{file} is no list of keys: write one a line, as in images: folder")
    return {str(name): value for name, value in content.items()}


def _told(kind: type[Any], file: Path | None, error: Any) -> str:
    name = str(error.full_key or error.key)
    where = f"{file}: " if file else ""
    known = [f.name for f in keys_of(kind)]
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"{where}unknown key {name!r}: {hint}"
    told = f"key {name}" if file else f"--{name.replace('_', '-')}"
    return f"{where}{told}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _simple(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _simple(v) for name, v in value.items()}
    return [_simple(v) for v in value] if isinstance(value, list | tuple) else value


def _omegaconf() -> Any:
    try:
        import omegaconf
    except ImportError as error:
        raise DependencyError(
            "training needs packages that are not installed: pip install 'geounet[train]'"
        ) from error
    return omegaconf
