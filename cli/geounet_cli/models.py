"""``geounet models``: the models at hand."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geounet_cli.reading import add_reading, reading

if TYPE_CHECKING:
    from geounet.bundle import Bundle
    from geounet.quantize import QuantizeResult
    from geounet.spec import ModelSpec


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "models",
        help="list the bundled models, show one's card, export or quantise one",
        description="List the bundled models, show one's card (data, terms, scores, limits), export"
        " one to ONNX, or make one of INT8.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="name, bands, classes")
    listing.set_defaults(run=run_list)
    show = actions.add_parser("show", help="the model card")
    show.add_argument("model", help="bundled model, .geounet or .onnx file")
    show.add_argument("--json", action="store_true", help="the whole spec as JSON")
    show.set_defaults(run=run_show)
    _add_export(actions)
    _add_quantize(actions)


def _add_export(actions: Any) -> None:
    export = actions.add_parser(
        "export",
        help="write a model as one file that runs elsewhere",
        description="Write a model as one ONNX file, weights, scaling and softmax inside: from"
        " values in its unit to class probabilities. Its metadata say the rest, to geounet and to"
        " the QGIS plugin Deepness.",
    )
    export.add_argument("model", help="bundled model or .geounet file")
    export.add_argument("--onnx", action="store_true", required=True, help="the format")
    export.add_argument(
        "-o", "--out", type=Path, metavar="OUT.onnx", help="the file (default: MODEL.onnx)"
    )
    sizes = export.add_mutually_exclusive_group()
    sizes.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="height and width of its input, which Deepness needs fixed (default: 512)",
    )
    sizes.add_argument(
        "--any-size", action="store_true", help="leave batch, height and width of its input free"
    )
    export.add_argument("--overwrite", action="store_true", help="replace an existing file")
    export.set_defaults(run=run_export)


def _add_quantize(actions: Any) -> None:
    quantize = actions.add_parser(
        "quantize",
        help="make a model of INT8: smaller, and faster on a CPU",
        description="Make a model of INT8: smaller, and faster on a CPU, where OpenVINO runs it. It"
        " is calibrated on tiles of all the scenes; on others of their tiles its loss is measured,"
        " against its own labels in float32 and against LABELS, and written into the model's card."
        " Where it would lose too much, layers at the finest resolutions stay in float32; where"
        " that does not help, nothing is written. Needs pip install 'geounet[quantize]'.",
        epilog="The loss is the mean over classes of the IoU that each has lost against the labels;"
        " without labels 1 less the mean IoU of INT8 with float32, which is the most that can be"
        " lost on these tiles whatever their labels are.",
    )
    quantize.add_argument("model", help="bundled model or .geounet file")
    quantize.add_argument(
        "scenes", nargs="+", metavar="SCENE", help="like those it is for; each is one file"
    )
    quantize.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.geounet", help="the file"
    )
    quantize.add_argument(
        "--labels",
        nargs="+",
        default=(),
        metavar="FILE",
        help="class codes on each scene's grid, in the same order; others than the model's are left"
        " out",
    )
    quantize.add_argument(
        "--bound", type=float, default=0.01, metavar="F", help="largest loss in IoU (default: 0.01)"
    )
    quantize.add_argument(
        "--agreement",
        type=float,
        default=0.99,
        metavar="F",
        help="least share of labels that are to be as in float32 (default: 0.99)",
    )
    add_reading(quantize)
    quantize.add_argument("--overwrite", action="store_true", help="replace an existing file")
    quantize.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    quantize.add_argument("--json", action="store_true", help="print one line of JSON instead")
    quantize.set_defaults(run=run_quantize)


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


def run_export(args: argparse.Namespace) -> int:
    """Write one model as ONNX."""
    from geounet.models import load_model
    from geounet.onnx import save_onnx

    bundle = load_model(args.model)
    path = args.out or Path(f"{bundle.spec.name}.onnx")
    save_onnx(path, bundle, side=args.tile, any_size=args.any_size, overwrite=args.overwrite)
    print(path)
    return 0


def run_quantize(args: argparse.Namespace) -> int:
    """Make one model of INT8."""
    from geounet.quantize import QuantizeOptions, quantize_model
    from geounet_cli.bar import Bar
    from geounet_cli.quiet import silence_libtiff

    silence_libtiff()
    options = QuantizeOptions(
        model=args.model,
        scenes=args.scenes,
        out=args.out,
        labels=args.labels,
        bound=args.bound,
        agreement=args.agreement,
        reading=reading(args),
        overwrite=args.overwrite,
    )
    with Bar(quiet=args.quiet) as bar:
        result = quantize_model(options, say=bar.say)
    if args.json:
        print(result.to_json())
    elif not args.quiet:
        print("\n".join(_quantized(result)))
    return 0


def _quantized(result: QuantizeResult) -> Iterator[str]:
    yield f"{result.out}"
    before = "" if result.float_bytes is None else f", {result.float_bytes / 1e6:.2f} MB before"
    yield f"  {result.bytes / 1e6:.2f} MB{before}; {result.plan}"
    yield _table(result.scores)


def _card(bundle: Bundle) -> Iterator[str]:
    spec, card = bundle.spec, bundle.spec.card
    yield f"{spec.name} {spec.version}: {card.summary}"
    yield f"  file:       {bundle.path}"
    yield f"  sha256:     {bundle.sha256}"
    yield f"  network:    {spec.arch}"
    yield f"  engines:    {_engines(bundle)}"
    yield f"  tiles:      {_tiles(bundle)}"
    yield f"  bands:      {', '.join(spec.band_names)} ({spec.unit})"
    yield f"  classes:    {spec.classes}"
    yield f"  pixel size: {_pixel_size(spec.pixel_size)}"
    yield _precision(bundle)
    for title in ("data", "terms", "limits"):
        yield f"\n{title}\n{_wrap(getattr(card, title))}"
    for title in ("metrics", "provenance"):
        if values := getattr(card, title):
            yield f"\n{title}\n{_table(values)}"


def _engines(bundle: Bundle) -> str:
    if bundle.weights is None:
        return "openvino"
    return "torch" if bundle.graph is None else "openvino, torch"


def _tiles(bundle: Bundle) -> str:
    graph = bundle.graph
    side = None if graph is None or graph.ends is None else graph.ends.side
    fixed = "" if side is None else f", {side} x {side} pixels"
    halo = "" if graph is None else f", halo {graph.halo}"
    return f"{bundle.spec.seam}{halo}{fixed}"


def _precision(bundle: Bundle) -> str:
    if not bundle.is_int8:
        return f"  bf16:       {_agreement(bundle.spec)}"
    told = bundle.spec.card.metrics.get("int8", {})
    loss, share = told.get("loss"), told.get("labels_as_in_float32")
    if not isinstance(loss, float) or not isinstance(share, float):
        return "  int8:       not measured"
    return f"  int8:       {share:.3%} of labels as in float32, loss in IoU {loss:.4f}"


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
