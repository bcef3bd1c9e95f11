"""Folders that cannot be written, or not for long."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A folder that nobody writes to; root ignores permissions, so it gets a mount."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        try:
            yield folder
        finally:
            folder.chmod(0o700)
        return
    with _tmpfs(folder, "ro,size=64k"):
        yield folder


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A folder that holds ``size`` bytes in all."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    with _tmpfs(folder, f"size={size}"):
        yield folder


@contextmanager
def _tmpfs(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
