"""Which model reads a scene, and why the others do not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping

from geounet.aoi import AreaOfInterest
from geounet.bands import lacking_bands
from geounet.bundle import Bundle
from geounet.errors import BandError, GeounetError
from geounet.fit import Fit, Reading, check_values, fit_scene
from geounet.models import bundled_models, load_model
from geounet.options import SegmentOptions
from geounet.scene import SceneReader
from geounet.spec import ModelSpec
from geounet.window import Window

Say = Callable[[str], None]
"""Takes a line for the user."""


def choose_model(
    scene: SceneReader, options: SegmentOptions, say: Say, *, look: bool = True
) -> tuple[Bundle, Fit]:
    """The model asked for, or the bundled one whose bands the scene has.

    Args:
        scene: What is to be segmented.
        options: What was asked for.
        say: Hears which model was chosen.
        look: Whether to check values; False: no pixel is read.

    Raises:
        BandError: No bundled model fits, or the one asked for does not.
    """
    bundle, fit = _matching(scene, options)
    try:
        if look:
            check_values(fit, bundle.spec, within=_fetched(fit, options))
    except BaseException:
        _release(fit, scene)
        raise
    if options.model is None:
        say(f"model {bundle.spec.name}: {bundle.spec.card.summary} (choose another with -m)")
    if note := fit.scene.info.note:
        say(note)
    return bundle, fit


def _fetched(fit: Fit, options: SegmentOptions) -> Window | None:
    """Of a remote scene, the part that is fetched; None: all."""
    info = fit.scene.info
    if options.aoi is None or not info.is_remote:
        return None
    return AreaOfInterest.read(options.aoi, info.geobox).window


def explain_models(
    scene: SceneReader, reading: Reading, models: Iterable[str] | None = None
) -> Mapping[str, str]:
    """Model -> that it fits the scene, or why it does not; of ``models``, or the bundled ones."""
    names = bundled_models() if models is None else models
    return {name: _verdict(scene, load_model(name).spec, reading) for name in names}


def _matching(scene: SceneReader, options: SegmentOptions) -> tuple[Bundle, Fit]:
    if options.model is not None:
        bundle = load_model(options.model)
        return bundle, fit_scene(scene, bundle.spec, options.reading)
    for name in _by_bands():
        bundle = load_model(name)
        with contextlib.suppress(BandError):
            return bundle, fit_scene(scene, bundle.spec, options.reading)
    raise BandError(_no_model(scene))


def _verdict(scene: SceneReader, spec: ModelSpec, reading: Reading) -> str:
    info = scene.info
    lacking = lacking_bands(spec.band_names, info.descriptions, hint=info.hint)
    if lacking and reading.bands is None and not info.is_picture:
        return f"no: the scene lacks {' '.join(lacking)}"
    source = info.source
    try:
        fit = fit_scene(scene, spec, reading)
        source = fit.scene.info.source
        try:
            check_values(fit, spec)
            note = fit.scene.info.note
        finally:
            _release(fit, scene)
    except GeounetError as error:
        return "no: " + str(error).removeprefix(f"{source}: ")
    return f"fits ({note})" if note else "fits"


def _release(fit: Fit, scene: SceneReader) -> None:
    """Close the files that were picked from a scene; the scene itself is its owner's."""
    if fit.scene is not scene:
        fit.scene.close()


def _by_bands() -> list[str]:
    """Bundled models, water before land cover: the narrower question is the safer default."""
    return sorted(bundled_models(), key=lambda name: (name.startswith("landcover"), name))


def _no_model(scene: SceneReader) -> str:
    info = scene.info
    names = ", ".join(text or f"band {i}" for i, text in enumerate(info.descriptions, 1))
    specs = [load_model(name).spec for name in _by_bands()]
    needs: dict[str, list[str]] = {}
    for spec in specs:
        needs.setdefault(" ".join(spec.band_names), []).append(spec.name)
    listed = "; ".join(
        f"{' and '.join(who)} {'need' if len(who) > 1 else 'needs'} {bands}"
        for bands, who in needs.items()
    )
    remedy = "say which band is which with -m MODEL --bands NAME=INDEX,..."
    if info.is_picture:
        remedy = (
            "a picture of bytes (0 to 255) holds neither reflectance nor decibels, so give a model"
            " of your own with -m"
        )
    elif all(lacking_bands(s.band_names, info.descriptions, hint=info.hint) for s in specs):
        remedy = "give a scene with such bands, or a model of your own with -m"
    return f"{info.source}: no bundled model reads its bands ({names}). {listed}: {remedy}"
