"""How large a tile may be."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet import tilesize
from geounet.models import load_model
from geounet.spec import GRAPH, ArchSpec
from geounet.tilesize import BYTES, best_tile, largest_tile

SPEC = load_model("water-ms").spec
USUAL = {"width": 4096, "itemsize": 2}


def engine(name: str = "openvino", *, halo: int = 96, stride: int = 16):
    return SimpleNamespace(name=name, device="cpu", seam="exact", halo=halo, stride=stride)


def wide(width: int):
    return replace(SPEC, arch=replace(SPEC.arch, width=width))


def needed(spec, side: int, *, halo: int, width: int, itemsize: int) -> float:
    """Bytes, by hand."""
    padded = side + 2 * halo
    maps = 3.4 * spec.arch.width + len(spec.bands) + 2 * len(spec.classes)
    return 4 * maps * padded**2 + 2.7 * padded * (width + 2 * halo) * len(spec.bands) * itemsize


@given(
    channels=st.integers(1, 48),
    halo=st.integers(0, 160),
    stride=st.sampled_from([1, 4, 16, 32]),
    width=st.integers(1, 12_000),
    itemsize=st.sampled_from([1, 2, 4]),
)
def test_it_is_the_largest_that_fits(channels, halo, stride, width, itemsize) -> None:
    spec = wide(channels)
    of = {"width": width, "itemsize": itemsize}
    side = largest_tile(engine(halo=halo, stride=stride), spec, limit=BYTES, **of)
    of["halo"] = halo
    assert side is not None
    assert side % stride == 0
    if side > 640:
        assert needed(spec, side, **of) <= BYTES
    if side < 4096:
        assert needed(spec, side + 2 * 64, **of) > BYTES


def test_a_wide_scene_does_not_make_tiles_tiny() -> None:
    assert largest_tile(engine(), SPEC, **{**USUAL, "width": 10**6}, limit=BYTES) == 640
    assert largest_tile(engine(), wide(1024), **USUAL, limit=BYTES) == 256


def test_heavy_weights_leave_less() -> None:
    usual = largest_tile(engine(), SPEC, **USUAL, limit=BYTES)
    assert largest_tile(engine(), SPEC, **USUAL, weights=125 << 20, limit=BYTES) < usual
    assert largest_tile(engine(), SPEC, **USUAL, weights=1 << 32, limit=BYTES) >= 256


def test_torch_takes_more_memory_and_gets_smaller_tiles() -> None:
    of = {"bundle": load_model("water-ms"), "width": 4096, "itemsize": 2}
    sides = [best_tile(engine(name), **of) for name in ("openvino", "torch")]
    assert sides[1] < sides[0] < 4096


def test_a_small_machine_gets_smaller_tiles(monkeypatch) -> None:
    usual = largest_tile(engine(), SPEC, **USUAL)
    monkeypatch.setattr(tilesize, "_memory", lambda: 1e9)
    assert largest_tile(engine(), SPEC, **USUAL) < usual


@pytest.mark.parametrize("name", [GRAPH, "unet-resnet34"])
def test_of_an_unknown_network_nothing_is_said(name) -> None:
    assert (
        largest_tile(engine(), replace(SPEC, arch=ArchSpec(name=name), seam="blend"), **USUAL)
        is None
    )
