"""Scenes and chips with a CRS: alignment, polygons, common ground, and who sees which pixel."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from rasterio.features import shapes

pytest.importorskip("torchgeo")

from geounet.classes import ClassDef, ClassScheme
from geounet.errors import DataError
from geounet.train.data import DataRequest, open_data, split
from geounet.train.source import IGNORE

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # torchgeo multiplies affines
]

TWO = ClassScheme(
    classes=(
        ClassDef(code=0, name="land", color="#000000"),
        ClassDef(code=1, name="water", color="#0000ff"),
    )
)
UTM = "EPSG:32633"


def write(path, array, *, left=500000.0, top=5000000.0, res=10.0, crs=UTM, nodata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = array if array.ndim == 3 else array[None]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=array.shape[1],
        width=array.shape[2],
        count=len(array),
        dtype=array.dtype,
        crs=crs,
        transform=Affine(res, 0, left, 0, -res, top),
        nodata=nodata,
    ) as dst:
        dst.write(array)
    return path


def numbered(height, width, start=0):
    """Every pixel has a value of its own: its row, its column, and which scene it is of."""
    rows, cols = np.indices((height, width), dtype=np.float32)
    return np.stack([rows, cols, np.full_like(rows, start)])


def stripes(height, width, offset=0):
    rows, cols = np.indices((height, width))
    return ((rows // 3 + cols // 5 + offset) % 2).astype(np.uint8)


def ask(images, labels, **more):
    return DataRequest(images=images, labels=labels, classes=TWO, **{"patch": 32, **more})


def whole(source, image=0):
    """Image and label of all blocks of an image, put together."""
    info = source.content.pairs[image].info
    values = np.full((len(source.bands), info.height, info.width), np.nan, np.float32)
    labels = np.full((info.height, info.width), IGNORE)
    blocks = [b for b in source.content.blocks if b.pair == image]
    for block, chip in zip(blocks, source.chips([b.name for b in blocks]), strict=True):
        rows, cols = block.window.slices
        assert np.isnan(values[:, rows, cols]).all(), "blocks overlap"
        values[:, rows, cols], labels[rows, cols] = chip.image, chip.label
    return values, labels


@pytest.mark.parametrize("size", [(200, 300), (257, 131), (64, 64)])
def test_blocks_are_the_scene(tmp_path, size):
    """Law (partition): each pixel is in one block, whatever torchgeo's grid rounds."""
    image = write(tmp_path / "scene.tif", numbered(*size))
    label = write(tmp_path / "label.tif", stripes(*size))
    values, labels = whole(open_data(ask(image, label)))
    np.testing.assert_array_equal(values, numbered(*size))
    np.testing.assert_array_equal(labels, stripes(*size))


def test_patches_show_no_pixel_of_the_other_side(tmp_path):
    image = write(tmp_path / "scene.tif", numbered(400, 300))
    source = open_data(ask(image, write(tmp_path / "label.tif", stripes(400, 300)), patch=64))
    for seed in range(3):
        parts = split(source, 0.25, seed)
        aside = np.zeros((400, 300), bool)
        for name in parts.validation:
            aside[source._blocks[name].window.slices] = True
        assert 0.15 < aside.mean() < 0.4
        seen = np.zeros_like(aside)
        for batch in source.batches(parts.train, size=64, batch=16, steps=40, seed=seed):
            for patch, mask in zip(batch["image"].numpy(), batch["mask"].numpy(), strict=True):
                here = np.isfinite(patch[0])
                rows, cols = patch[:2, here].astype(int)
                seen[rows, cols] = True
                np.testing.assert_array_equal(mask[here], stripes(400, 300)[rows, cols])
                assert (mask[~here] == IGNORE).all()
        assert not (seen & aside).any()
        assert (seen | aside).mean() > 0.97


def test_every_place_is_drawn_and_pixels_are_not_resampled(tmp_path):
    """torchgeo's own random boxes never reach the last row and column."""
    image = write(tmp_path / "scene.tif", numbered(36, 35), left=500003.3, top=4999997.7)
    label = write(tmp_path / "label.tif", stripes(36, 35), left=500003.3, top=4999997.7)
    source = open_data(ask(image, label))
    corners = set()
    for batch in source.batches(source.names, size=32, batch=50, steps=8, seed=0):
        for patch in batch["image"].numpy():
            row, col = patch[:2, 0, 0].astype(int)
            np.testing.assert_array_equal(
                patch, numbered(36, 35)[:, row : row + 32, col : col + 32]
            )
            corners.add((row, col))
    assert corners == {(row, col) for row in range(5) for col in range(4)}


@pytest.mark.parametrize("nodata", [None, 255])
def test_a_label_on_another_grid_is_aligned(tmp_path, nodata):
    """Half the pixel size, shifted, smaller: nearest pixel, and no label outside of it."""
    image = write(tmp_path / "scene.tif", numbered(60, 60))
    fine = np.kron(stripes(40, 40), np.ones((2, 2), np.uint8))
    fine[:2, :2] = 255 if nodata else 0
    label = write(tmp_path / "label.tif", fine, left=500100, top=4999900, res=5, nodata=nodata)
    _, labels = whole(open_data(ask(image, label)))
    expected = np.full((60, 60), IGNORE)
    expected[10:50, 10:50] = stripes(40, 40)
    if nodata:
        expected[10, 10] = IGNORE
    np.testing.assert_array_equal(labels, expected)


def test_a_label_in_another_crs_is_aligned(tmp_path):
    image = write(tmp_path / "scene.tif", numbered(100, 100))
    frame = geopandas.GeoSeries([shapely.box(500300, 4999200, 500700, 4999700)], crs=UTM)
    inside = frame.to_crs(4326).iloc[0]
    left, bottom, right, top = inside.buffer(0.01).bounds
    res = 2e-5
    size = int((top - bottom) / res), int((right - left) / res)
    drawn = rasterio.features.rasterize(
        [inside], out_shape=size, transform=Affine(res, 0, left, 0, -res, top), dtype=np.uint8
    )
    label = write(tmp_path / "label.tif", drawn, left=left, top=top, res=res, crs="EPSG:4326")
    _, labels = whole(open_data(ask(image, label)))
    expected = np.zeros((100, 100), int)
    expected[30:80, 30:70] = 1
    off = labels != expected
    assert off.sum() <= 180  # pixels on the outline
    assert not off[33:77, 33:67].any()
    assert set(np.unique(labels)) == {0, 1}


def vector(path, codes, mask, field="kind", **more):
    """The polygons of a class map."""
    place = Affine(10.0, 0, 500000, 0, -10.0, 5000000)
    found = [(shapely.geometry.shape(s), int(v)) for s, v in shapes(codes, mask, transform=place)]
    names = {0: "Land", 1: "water"}
    frame = geopandas.GeoDataFrame(
        {field: [names[v] for _, v in found], **more}, geometry=[s for s, _ in found], crs=UTM
    )
    frame.to_file(path)
    return path


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_polygons_of_a_map_give_that_map(tmp_path, suffix):
    """Law (round trip); outside of the polygons there is no label."""
    codes, mask = stripes(90, 80), np.zeros((90, 80), bool)
    mask[5:70, 9:60] = True
    image = write(tmp_path / "scene.tif", numbered(90, 80))
    drawing = vector(tmp_path / f"drawn{suffix}", codes, mask)
    source = open_data(ask(image, drawing))
    _, labels = whole(source)
    np.testing.assert_array_equal(labels, np.where(mask, codes.astype(int), IGNORE))


def test_outside_of_polygons_there_may_be_a_background(tmp_path):
    codes = stripes(90, 80)
    drawing = vector(tmp_path / "drawn.gpkg", codes, codes == 1)
    image = write(tmp_path / "scene.tif", numbered(90, 80))
    with pytest.raises(DataError, match=r"classes without a pixel in any label.*: land"):
        open_data(ask(image, drawing))
    _, labels = whole(open_data(ask(image, drawing, background="land")))
    np.testing.assert_array_equal(labels, codes)


def test_the_class_field_is_found_or_asked_for(tmp_path):
    image = write(tmp_path / "scene.tif", numbered(90, 80))
    codes, mask = stripes(90, 80), np.ones((90, 80), bool)
    count = len(list(shapes(codes, mask)))
    both = vector(tmp_path / "both.gpkg", codes, mask, other=["water"] * count, n=range(count))
    with pytest.raises(DataError, match="kind, other all hold classes: choose one with --class-fi"):
        open_data(ask(image, both))
    np.testing.assert_array_equal(whole(open_data(ask(image, both, class_field="kind")))[1], codes)
    with pytest.raises(DataError, match="has no field 'class': choose from kind, other, n"):
        open_data(ask(image, both, class_field="class"))
    with pytest.raises(DataError, match="field n holds what is no class"):
        open_data(ask(image, both, class_field="n"))


def test_polygons_that_geounet_made(samples, tmp_path):
    """A code and a name that say the same are one field."""
    truth = samples / "river_ms_water.tif"
    with rasterio.open(truth) as src:
        codes, crs, place = src.read(1), src.crs, src.transform
    found = [
        (shapely.geometry.shape(s), int(v)) for s, v in shapes(codes, codes < 2, transform=place)
    ]
    frame = geopandas.GeoDataFrame(
        {"class": [v for _, v in found], "name": [TWO.names[v] for _, v in found]},
        geometry=[s for s, _ in found],
        crs=crs,
    )
    frame.to_crs(4326).to_file(tmp_path / "drawn.gpkg")
    asked = ask(samples / "river_ms.tif", tmp_path / "drawn.gpkg", unit="reflectance")
    source = open_data(asked)
    values, labels = whole(source)
    assert source.bands == ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
    assert 0 < np.nanmedian(values) < 0.6  # reflectance, by the scale tag
    assert np.isnan(values).any(axis=0).sum() > 1000
    same = labels[codes < 2] == codes[codes < 2]
    assert same.mean() > 0.999


def test_scenes_of_one_place_are_cut_alike_and_kept_together(tmp_path):
    """torchgeo would merge them and show the first one only."""
    for i, height in enumerate([150, 151, 150]):
        write(tmp_path / "s" / f"{2000 + i}.tif", numbered(height, 200, i))
    label = write(tmp_path / "label.tif", stripes(151, 200))
    source = open_data(ask(tmp_path / "s", label))
    assert {len(group) for group in source.groups} == {3}
    assert len(source.groups) >= 4
    for i in range(3):
        assert (whole(source, i)[0][2] == i).all()
    parts = split(source, 0.2, 0)
    (batch,) = source.batches(parts.train, size=32, batch=60, steps=1, seed=0)
    kinds = batch["image"][:, 2, 0, 0]
    assert [10 < (kinds == i).sum() < 30 for i in range(3)] == [True] * 3


def chips(folder, count=9, step=64, **more):
    for i in range(count):
        left = 500000 + 10.0 * step * i
        write(folder / "images" / f"c{i}.tif", numbered(64, 64, i), left=left, **more)
        write(folder / "labels" / f"c{i}.tif", stripes(64, 64), left=left, **more)
    return folder / "images", folder / "labels"


def test_neighbours_are_no_overlap(tmp_path):
    said = []
    source = open_data(ask(*chips(tmp_path)), say=said.append)
    assert source.groups == tuple((f"c{i}",) for i in range(9))
    assert not any("same ground" in line for line in said)


def test_chips_that_overlap_are_kept_together(tmp_path):
    images, labels = chips(tmp_path, step=200)
    write(images / "twin.tif", numbered(64, 64, 99), left=500300)
    write(labels / "twin.tif", stripes(64, 64), left=500300)
    said = []
    source = open_data(ask(images, labels), say=said.append)
    assert ("c0", "twin") in source.groups
    assert "2 chips lie on the same ground as another image: kept together" in said
    listed = tmp_path / "groups.json"
    listed.write_text(json.dumps([["twin"], *([f"c{i}"] for i in range(9))]))
    alone = open_data(ask(images, labels, groups=listed))
    told = []
    split(alone, ["twin"], 0, say=told.append)
    assert told[-1] == (
        "warning: 1 validation chips lie on the same ground as training chips, so scores will be"
        " too good: twin"
    )


def test_chips_in_several_crs_stay_as_they_are(tmp_path):
    images, labels = chips(tmp_path)
    for i in range(3):
        left = 300000 + 1000.0 * i
        write(images / f"d{i}.tif", numbered(64, 64, 20 + i), left=left, crs="EPSG:32634")
        write(labels / f"d{i}.tif", stripes(64, 64), left=left, crs="EPSG:32634")
    source = open_data(ask(images, labels))
    seen = set()
    for batch in source.batches(source.names, size=48, batch=20, steps=8, seed=1):
        for patch in batch["image"].numpy():
            row, col, number = patch[:, 0, 0].astype(int)
            seen.add(number)
            np.testing.assert_array_equal(
                patch, numbered(64, 64, number)[:, row : row + 48, col : col + 48]
            )
    assert seen == {*range(9), 20, 21, 22}


def test_the_same_seed_gives_the_same_patches(tmp_path):
    source = open_data(ask(*chips(tmp_path)))

    def images(seed):
        loader = source.batches(source.names, size=32, batch=4, steps=3, seed=seed)
        return torch.cat([batch["image"] for batch in loader])

    state = torch.get_rng_state()
    assert torch.equal(images(1), images(1))
    assert not torch.equal(images(1), images(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_nodata_masks_and_alpha_are_nan(tmp_path):
    values = numbered(64, 64).astype(np.int16)
    values[1, 5:9] = -9999
    image = write(tmp_path / "scene.tif", values, nodata=-9999)
    source = open_data(ask(image, write(tmp_path / "label.tif", stripes(64, 64))))
    found, _ = whole(source)
    assert np.isnan(found[:, 5:9]).all()
    assert np.isfinite(np.delete(found, range(5, 9), axis=1)).all()


def test_flood_chips(data):
    """Pixel sizes differ by 1e-14, one chip has no label at all, NaN stays NaN."""
    root = data / "sen1floods11"
    said = []
    request = ask(root / "S1", root / "labels", ignore=frozenset({-1}), patch=256)
    source = open_data(request, say=said.append)
    assert said[0] == "8 pairs of image and label: *_S1Hand with *_LabelHand"
    assert "1 chips without a labelled pixel are left out" in said
    assert source.bands == ("VV", "VH")
    for chip in source.chips(source.names):
        with rasterio.open(root / "S1" / f"{chip.name}_S1Hand.tif") as src:
            stored = src.read()
        with rasterio.open(root / "labels" / f"{chip.name}_LabelHand.tif") as src:
            label = src.read(1)
        np.testing.assert_array_equal(chip.label, label)
        good = np.isfinite(stored).all(axis=0)
        np.testing.assert_array_equal(chip.image[:, good], stored[:, good])
        assert np.isnan(chip.image[:, ~good]).all()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"left": 900000.0}, "label.tif lies elsewhere than"),
        ({"array": np.full((64, 64), 0.5, np.float32)}, "fractions such as 0.5"),
        ({"nodata": 0}, r"leave them out\): land \(it is the nodata value of label.tif\)"),
        ({"array": np.zeros((2, 64, 64), np.uint8)}, "label.tif has 2 bands"),
    ],
)
def test_labels_that_cannot_be(tmp_path, label, message):
    image = write(tmp_path / "scene.tif", numbered(64, 64))
    array = label.pop("array", stripes(64, 64))
    with pytest.raises(DataError, match=message):
        open_data(ask(image, write(tmp_path / "label.tif", array, **label)))


def test_a_rotated_scene_is_refused(tmp_path):
    image = write(tmp_path / "scene.tif", numbered(64, 64))
    with rasterio.open(image, "r+") as dst:
        dst.transform = Affine(10, 2, 500000, 2, -10, 5000000)
    with pytest.raises(DataError, match=r"is rotated: warp it first with gdalwarp"):
        open_data(ask(image, write(tmp_path / "label.tif", stripes(64, 64))))
