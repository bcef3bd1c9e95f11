"""The engines agree on real scenes, with the models that ship."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

import geounet
from geounet.engine.select import make_engine
from geounet.fit import fit_scene
from geounet.models import load_model
from geounet.scene import open_scene
from geounet.tiling import mirror_index, round_up
from geounet.window import Window

SAMPLES = {
    "flood-s1": "flood_s1.tif",
    "water-ms": "river_ms.tif",
    "landcover-ms": "river_ms.tif",
}
SIDE = 256


def middle(scene, model, engines):
    """Logits of both engines in the middle of a scene, and what is valid there."""
    bundle = load_model(model)
    fit = fit_scene(open_scene(scene), bundle.spec)
    info = fit.scene.info
    height, width = min(SIDE, info.height), min(SIDE, info.width)
    window = Window(
        row_off=(info.height - height) // 2,
        col_off=(info.width - width) // 2,
        height=height,
        width=width,
    )
    raster = fit.scene.read(window, fit.bands)
    made = [
        make_engine(bundle, fit.normalizer, engine=e, device="cpu", precision="fp32")
        for e in engines
    ]
    assert [e.name for e in made] == list(engines)
    halo, stride = made[0].halo, made[0].stride
    rows, cols = (mirror_index(-halo, round_up(n, stride) + halo, n) for n in (height, width))
    tile, valid = raster.data[:, rows][:, :, cols], raster.valid[rows][:, cols]
    inner = slice(halo, halo + height), slice(halo, halo + width)
    return *(e.logits(tile[None], valid[None])[0, :, *inner] for e in made), raster.valid


def check(scene, model):
    ours, theirs, valid = middle(scene, model, ("torch", "openvino"))
    assert valid.any()
    assert np.abs(ours - theirs)[:, valid].max() < 1e-4
    assert (ours.argmax(0) == theirs.argmax(0))[valid].mean() >= 0.999


@pytest.mark.parametrize("model", SAMPLES)
def test_on_a_sample_scene(samples, model) -> None:
    check(samples / SAMPLES[model], model)


@pytest.mark.parametrize("number", range(3))
def test_on_sentinel_1(data, number) -> None:
    check(sorted((data / "sen1floods11" / "S1").glob("*.tif"))[number], "flood-s1")


@pytest.mark.parametrize("model", SAMPLES)
def test_class_maps_of_a_whole_scene(samples, tmp_path, model) -> None:
    with rasterio.open(samples / SAMPLES[model]) as whole:
        profile, window = whole.profile, rasterio.windows.Window(300, 200, 300, 280)
        data, names, scales = whole.read(window=window), whole.descriptions, whole.scales
    profile.update(width=300, height=280)
    with rasterio.open(tmp_path / "scene.tif", "w", **profile) as out:
        out.write(data)
        out.descriptions, out.scales = names, scales
    maps = []
    for engine in ("torch", "openvino"):
        report = geounet.segment(
            tmp_path / "scene.tif",
            model=model,
            out=tmp_path / f"{engine}.tif",
            polygons=False,
            engine=engine,
            precision="fp32",
            device="cpu",
        )
        assert report.engine == engine
        with rasterio.open(report.raster) as written:
            maps.append(written.read(1))
    assert (maps[0] == maps[1]).mean() >= 0.999
    assert len(np.unique(maps[0])) > 1


@pytest.mark.parametrize("model", SAMPLES)
def test_the_card_says_so(model) -> None:
    told = load_model(model).spec.card.metrics["openvino_beside_torch_in_fp32"]
    assert told["labels"] >= 0.999
    assert told["largest_logit_difference"] <= 1e-4
    assert told["pixels"] > 100_000
