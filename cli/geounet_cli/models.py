"""``geounet models``: the models at hand."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geounet.bundle import Bundle
    from geounet.spec import ModelSpec


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "models",
        help="list the bundled models, or show one's card",
        description="List the bundled models, or show one's card: data, terms, scores, limits.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="name, bands, classes")
    listing.set_defaults(run=run_list)
    show = actions.add_parser("show", help="the model card")
    show.add_argument("model", help="bundled model or .geounet file")
    show.add_argument("--json", action="store_true", help="the whole spec as JSON")
    show.set_defaults(run=run_show)


def run_list(_args: argparse.Namespace) -> int:
    """List the bundled models."""
    from geounet.models import bundled_models, load_model

    for name in bundled_models():
        spec = load_model(name).spec
        print(f"{name}  {spec.card.summary}")
        print(f"  bands ({spec.unit}): {', '.join(spec.band_names)}")
        print(f"  classes: {', '.join(spec.classes.names)}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Show one model's card."""
    from geounet.models import load_model

    bundle = load_model(args.model)
    print(bundle.spec.to_json() if args.json else "\n".join(_card(bundle)))
    return 0


def _card(bundle: Bundle) -> Iterator[str]:
    spec, card = bundle.spec, bundle.spec.card
    yield f"{spec.name} {spec.version}: {card.summary}"
    yield f"  file:       {bundle.path}"
    yield f"  sha256:     {bundle.sha256}"
    yield f"  network:    {spec.arch}"
    yield f"  engines:    {'torch' if bundle.graph is None else 'openvino, torch'}"
    yield f"  bands:      {', '.join(spec.band_names)} ({spec.unit})"
    yield f"  classes:    {spec.classes}"
    yield f"  pixel size: {_pixel_size(spec.pixel_size)}"
    yield f"  bf16:       {_agreement(spec)}"
    for title in ("data", "terms", "limits"):
        yield f"\n{title}\n{_wrap(getattr(card, title))}"
    for title in ("metrics", "provenance"):
        if values := getattr(card, title):
            yield f"\n{title}\n{_table(values)}"


def _agreement(spec: ModelSpec) -> str:
    if spec.bf16_agreement is None:
        return "not measured"
    pixels = spec.card.metrics.get("bf16_agreement_pixels")
    over = f", over {pixels:,} pixels" if isinstance(pixels, int) else ""
    return f"{spec.bf16_agreement:.3%} of labels as in float32{over}"


def _pixel_size(size: tuple[float, float] | None) -> str:
    return "not known" if size is None else f"{size[0]:g} to {size[1]:g} m"


def _wrap(text: str, indent: str = "  ") -> str:
    import textwrap

    return textwrap.fill(text, 98, initial_indent=indent, subsequent_indent=indent)


def _table(values: Mapping[str, Any], indent: str = "  ") -> str:
    rows = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows.append(f"{indent}{key}\n{_table(value, indent + '  ')}")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            rows.append(_wrap(f"{key}: {text}", indent))
    return "\n".join(rows)
