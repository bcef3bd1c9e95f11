"""How much of a halo the decoder of a U-Net needs."""

from __future__ import annotations

import pytest
import torch

from geounet.margins import decoder_margins
from geounet.nn import build
from geounet.spec import ArchSpec


def test_by_hand() -> None:
    assert [decoder_margins(depth) for depth in range(1, 6)] == [
        [2], [2, 4], [2, 4, 4], [2, 4, 4, 4], [2, 4, 4, 4, 4]
    ]  # fmt: skip


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_no_level_can_do_with_less(monkeypatch, depth) -> None:
    """A margin smaller by two pixels changes the core."""
    torch.manual_seed(0)
    network = build(ArchSpec(name="unet", width=2, depth=depth), 1, 2).eval().double()
    halo = network.halo
    side = 2 * halo + 2 * network.stride
    x = torch.randn(1, 1, side, side, dtype=torch.double)
    whole = network(x)[..., halo:-halo, halo:-halo]
    torch.testing.assert_close(network.core(x, halo), whole, atol=1e-12, rtol=0)
    for level in range(depth):
        less = decoder_margins(depth)
        less[level] -= 2
        monkeypatch.setattr("geounet.nn.unet.decoder_margins", lambda _, less=less: list(less))
        assert (network.core(x, halo) - whole).abs().max() > 1e-9
