"""How much of its halo the decoder of a U-Net needs."""

from __future__ import annotations

from geounet.tiling import round_up

_REACH = 2  # of a decoder's block: two 3x3 convolutions


def decoder_margins(depth: int) -> list[int]:
    """Pixels around the core that each block of the decoder takes, at its own level, finest first.

    The halo is what the deepest level looks at; at the finest, two pixels are left of it. What lies
    beyond these margins may be cut off a skip, and half of them is enough of what is upsampled.

    Law: such cuts change no logit of the core, in any U-Net of two 3x3 convolutions a block and
    2x2 transposed convolutions between them, with a halo of at least its radius.

    Args:
        depth: Number of poolings.
    """
    margins: list[int] = []
    wanted = 0
    for _ in range(depth):
        margins.append(round_up(wanted + _REACH, 2))  # even: an upsampled pixel becomes two
        wanted = margins[-1] // 2
    return margins
