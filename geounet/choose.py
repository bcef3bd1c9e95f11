"""Which model reads a scene, and why the others do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from geounet.bundle import Bundle
from geounet.errors import BandError, GeounetError
from geounet.fit import Fit, check_values, fit_scene
from geounet.models import bundled_models, load_model
from geounet.options import SegmentOptions
from geounet.scene import SceneReader

Say = Callable[[str], None]
"""Takes a line for the user."""


def choose_model(scene: SceneReader, options: SegmentOptions, say: Say) -> tuple[Bundle, Fit]:
    """The model asked for, or the bundled one whose bands the scene has; values checked.

    Raises:
        BandError: No bundled model fits, or the one asked for does not.
    """
    if options.model is not None:
        bundle = load_model(options.model)
        fit = fit_scene(scene, bundle.spec, options.reading)
        check_values(fit, bundle.spec)
        return bundle, fit
    reasons = {}
    for name in _by_bands():
        bundle = load_model(name)
        try:
            fit = fit_scene(scene, bundle.spec, options.reading)
        except BandError as error:
            reasons[name] = error
            continue
        check_values(fit, bundle.spec)
        say(f"model {name}: {bundle.spec.card.summary} (choose another with -m)")
        return bundle, fit
    raise BandError(_no_model(scene, reasons))


def explain_models(scene: SceneReader) -> Mapping[str, str | None]:
    """Bundled model -> None where it fits the scene, or why it does not."""
    reasons: dict[str, str | None] = {}
    for name in bundled_models():
        spec = load_model(name).spec
        try:
            check_values(fit_scene(scene, spec), spec)
        except GeounetError as error:
            reasons[name] = str(error).removeprefix(f"{scene.info.source}: ")
        else:
            reasons[name] = None
    return reasons


def _by_bands() -> list[str]:
    """Bundled models, water before land cover: the narrower question is the safer default."""
    return sorted(bundled_models(), key=lambda name: (name.startswith("landcover"), name))


def _no_model(scene: SceneReader, reasons: Mapping[str, GeounetError]) -> str:
    info = scene.info
    names = ", ".join(b.name or f"band {i}" for i, b in enumerate(info.bands, 1))
    needs = "; ".join(
        f"{name} needs {', '.join(load_model(name).spec.band_names)}" for name in reasons
    )
    return (
        f"{info.source}: no bundled model reads its bands ({names}). {needs}."
        " Say which band is which with -m MODEL --bands NAME=INDEX,..."
    )
