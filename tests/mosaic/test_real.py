"""Mosaics of real class maps: cut apart, one part through another UTM zone, and joined again."""

from __future__ import annotations

import numpy as np
import rasterio
import rasterio.warp
from maps import save
from odc.geo.geobox import GeoBox

from geounet.classes import NODATA, ClassDef, ClassScheme
from geounet.mosaic import GridChoice, MosaicOptions, choose_grid, mosaic_maps, read_maps

WATER = ClassScheme(
    classes=(
        ClassDef(code=0, name="land", color="#d9d2c3"),
        ClassDef(code=1, name="water", color="#1f78b4"),
    )
)


def test_crops_of_one_map_are_the_map_again(samples, tmp_path) -> None:
    """What is the same in all crops is the same in the mosaic, wherever the seams run."""
    with rasterio.open(samples / "river_ms_water.tif") as source:
        labels, affine, crs = source.read(1), source.transform, source.crs
    grid = GeoBox(labels.shape, affine, crs)
    height, width = labels.shape
    crops = [
        np.s_[: height * 2 // 3, : width * 2 // 3],
        np.s_[height // 4 :, width // 3 :],
        np.s_[height // 2 :, : width // 2],
    ]
    paths = [
        save(tmp_path / f"{i}.tif", labels[crop], WATER, crs=crs, transform=grid[crop].affine)
        for i, crop in enumerate(crops)
    ]
    mosaic_maps(paths, tmp_path / "o.tif")
    with rasterio.open(tmp_path / "o.tif") as made:
        got = made.read(1)
        assert made.transform.almost_equals(affine, 1e-9)
    covered = np.zeros(labels.shape, bool)
    for crop in crops:
        covered[crop] = True
    np.testing.assert_array_equal(got, np.where(covered, labels, NODATA))


def test_halves_in_two_zones_are_the_map_again(data, tmp_path) -> None:
    """A flooded valley: one half stays in degrees, both go through UTM zones of their own."""
    path = min((data / "sen1floods11").rglob("*[Ll]abel*.tif"))
    with rasterio.open(path) as source:
        found, affine, crs = source.read(1), source.transform, source.crs
    labels = np.where(found < 0, NODATA, found).astype(np.uint8)
    grid = GeoBox(labels.shape, affine, crs)
    zone = int((grid.boundingbox.left + 180) // 6) + 1
    paths = []
    for i, columns in enumerate((np.s_[:, :320], np.s_[:, 200:])):
        plain = save(
            tmp_path / f"plain{i}.tif", labels[columns], WATER, crs=crs,
            transform=grid[columns].affine,
        )  # fmt: skip
        utm = GridChoice(crs=f"EPSG:{32600 + zone + i}", resolution=5)
        there = choose_grid(read_maps([plain]), utm)
        mosaic_maps([plain], tmp_path / f"{i}.tif", MosaicOptions(grid=utm))
        paths.append(tmp_path / f"{i}.tif")
        with rasterio.open(paths[-1]) as made:
            assert made.shape == tuple(there.shape)
    save(tmp_path / "like.tif", labels, WATER, crs=crs, transform=affine)
    mosaic_maps(
        paths, tmp_path / "o.tif", MosaicOptions(grid=GridChoice(like=str(tmp_path / "like.tif")))
    )
    with rasterio.open(tmp_path / "o.tif") as made:
        got = made.read(1)
    both = (got != NODATA) & (labels != NODATA)
    assert both.sum() / (labels != NODATA).sum() > 0.99
    assert (got[both] == labels[both]).mean() > 0.99
