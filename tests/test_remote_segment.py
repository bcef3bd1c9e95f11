"""Scenes behind a web address, from good and bad servers: the same map, or one line."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import rasterio
import rasters
from rasterio.shutil import copy
from shapely.geometry import box, mapping
from web_server import serve

from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet_cli.main import main

HEIGHT, WIDTH = 512, 384


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A few short retries; proxies of the environment must not see the loopback."""
    for name, value in {
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "GDAL_HTTP_MAX_RETRY": "2",
        "GDAL_HTTP_RETRY_DELAY": "0.02",
        "GDAL_HTTP_LOW_SPEED_TIME": "1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scene: noise, so that it hardly shrinks, and a COG of it."""
    folder = tmp_path_factory.mktemp("served")
    data = np.random.default_rng(1).normal(size=(2, HEIGHT, WIDTH)).astype(np.float32)
    blocks = {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "pixel"}
    options = {"names": ("red", "nir"), **blocks}
    rasters.write(folder / "scene.tif", data, compress="deflate", **options)
    rasters.write(folder / "plain.tif", data, **options)
    copy(folder / "scene.tif", folder / "cog.tif", driver="COG", blocksize=128, compress="deflate")
    for name in ("red", "nir"):
        rasters.write(
            folder / f"{name}.tif", data[int(name == "nir")], **blocks | {"names": (name,)}
        )
    return folder


@pytest.fixture(scope="module")
def site(folder):
    with serve(folder) as found:
        yield found


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    spec = random_spec(("red", "nir"), classes=4, width=4, depth=2)
    return random_bundle(tmp_path_factory.mktemp("model") / "random.geounet", spec, seed=3)


def segment(model, out, *scenes, options=()):
    argv = ["segment", *scenes, "-m", model, "-o", out, "--tile", 128, "--no-polygons", *options]
    return main([*map(str, argv), "--quiet"])


def labels(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.fixture(scope="module")
def expected(folder, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("expected") / "a.tif"
    assert segment(model, out, folder / "scene.tif") == 0
    return labels(out)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("fine", "cog.tif"),
        ("fine", "scene.tif"),
        ("trickles", "cog.tif"),
        ("busy", "cog.tif"),
        ("busy_for_long", "cog.tif"),
        ("too_many", "cog.tif"),
        ("cut", "cog.tif"),
        ("cut", "plain.tif"),
        ("reset", "cog.tif"),
        ("short", "cog.tif"),
        ("short", "plain.tif"),
        ("stalls", "cog.tif"),
        ("no_head", "cog.tif"),
        ("signed", "cog.tif"),
        ("unsized", "cog.tif"),
        ("unmarked", "cog.tif"),
    ],
)
def test_the_map_is_that_of_the_file(site, model, expected, tmp_path, mode, name):
    address = site.address(mode, name)
    assert segment(model, tmp_path / "a.tif", address) == 0
    np.testing.assert_array_equal(labels(tmp_path / "a.tif"), expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.qml", "a.tif", "a.tif.aux.xml"]
    assert site.sent(address)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (
            "always_busy",
            r"cannot be opened as a raster \(the server answers 503\): try again later",
        ),
        ("always_too_many", r"cannot be opened .* \(the server answers 429\): try again later"),
        (
            "down",
            r"the pixels cannot .* \(rows 256 to 383: the server answers 503\): try again later",
        ),
        (
            "always_cut",
            r"the pixels cannot .* \(rows 256 to 383: .*\): lost connection, or a damaged file",
        ),
        (
            "always_stalls",
            r"the pixels cannot .* \(rows 256 to 383: .*\): lost connection, or a damaged",
        ),
        ("whole", r"cannot be opened .* \(the server sends whole files only\): download it"),
        ("never_sized", r"cannot be opened .* \(the server does not tell its size\): download it"),
        (
            "gone",
            r"the pixels cannot .* \(rows 256 to 383: the server answers 404\): check the addr",
        ),
        ("forbidden", r"cannot be opened .* \(the server answers 403\): check the credentials"),
        ("unauthorized", r"cannot be opened .* \(the server answers 401\): check the credentials"),
    ],
)
def test_one_line_and_nothing_left(site, model, tmp_path, capsys, monkeypatch, mode, said):
    if mode == "always_stalls":  # a second each time
        monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    address = site.address(mode, "cog.tif?X-Amz-Signature=s3cr3t&se=2026")
    assert segment(model, tmp_path / "a.tif", address) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    shown = address.replace("s3cr3t", "***").replace("2026", "***")
    assert re.match(rf"geounet: {re.escape(shown)}:? {said}", err), err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def large(folder):
    """8 x 6 blocks of 122 kB."""
    data = np.random.default_rng(2).normal(size=(2, 1024, 768)).astype(np.float32)
    blocks = {"tiled": True, "blockxsize": 128, "blockysize": 128, "interleave": "pixel"}
    options = {"names": ("red", "nir"), "compress": "deflate", **blocks}
    return rasters.write(folder / "large.tif", data, **options)


def test_each_block_is_fetched_once(site, large, model, tmp_path):
    """And all of a row at once; what is looked at beforehand is a twelfth at most."""
    address = site.address("fine", "large.tif")
    assert segment(model, tmp_path / "a.tif", address) == 0
    assert site.sent(address) <= 1.1 * large.stat().st_size
    rows = [r for r in site.log(address) if r.sent > 500_000]
    assert len(rows) == 4  # of 256 rows each


def test_an_area_fetches_its_tiles(site, large, model, tmp_path):
    """A tile of 128 pixels and its halo touch 3 x 3 of the 8 x 6 blocks; one is looked at first."""
    west, north = rasters.WEST, rasters.NORTH
    area = box(west + 2700, north - 3700, west + 3700, north - 2700)
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    features = [{"type": "Feature", "properties": {}, "geometry": mapping(area)}]
    told = {"type": "FeatureCollection", "crs": crs, "features": features}
    (tmp_path / "area.geojson").write_text(json.dumps(told))
    address = site.address("fine", "large.tif")
    options = ["--aoi", tmp_path / "area.geojson"]
    assert segment(model, tmp_path / "a.tif", address, options=options) == 0
    assert site.sent(address) <= 1.1 * large.stat().st_size * 10 / 48


def test_a_scene_that_is_replaced_meanwhile(site, model, tmp_path, capsys):
    address = site.address("replaced", "cog.tif?token=s3cr3t")
    assert segment(model, tmp_path / "a.tif", address) == 2
    err = capsys.readouterr().err
    assert "was replaced while it was read" in err
    assert "s3cr3t" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_lost_run_goes_on_with_another_signature(site, large, model, tmp_path, capsys):
    """What is finished is kept, and the scene is known again however its address is signed."""
    out, address = tmp_path / "a.tif", site.address("fails_late", "large.tif")
    assert segment(model, out, f"{address}?sig={'s3cr3t' * 99}") == 2
    err = capsys.readouterr().err
    assert re.search(r"\(rows \d+ to 1023: .*\): .*: try again; the same command goes on", err)
    assert [p.name for p in tmp_path.iterdir()] == [".a.tif.parts"]
    assert "s3cr3t" not in "".join(p.read_text("latin-1") for p in tmp_path.glob("*/*"))
    before = len(site.log(address))
    argv = ["segment", f"{address}?sig=other", "-m", model, "-o", out, "--tile", 128]
    assert main([*map(str, argv), "--no-polygons"]) == 0
    assert "was interrupted: going on with" in capsys.readouterr().err
    assert sum(r.sent for r in site.log(address)[before:]) < large.stat().st_size
    assert segment(model, tmp_path / "b.tif", large) == 0
    assert out.read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_a_remote_scene_that_changed_is_begun_anew(site, model, tmp_path, capsys):
    out, address = tmp_path / "a.tif", site.address("fails_late", "large.tif")
    assert segment(model, out, address) == 2
    argv = ["segment", f"{address}?version=2", "-m", model, "-o", out, "--tile", 128]
    assert main([*map(str, argv), "--no-polygons"]) == 0
    assert "the scene changed since then: starting anew" in capsys.readouterr().err


def test_bands_at_several_addresses(site, model, expected, tmp_path, capsys):
    addresses = [site.address("cut", f"{name}.tif") for name in ("red", "nir")]
    signed = [f"{address}?sig=s3cr3t" for address in addresses]
    assert segment(model, tmp_path / "a.tif", *signed) == 0
    assert main(["info", *signed]) == 0
    assert "s3cr3t" not in "".join(capsys.readouterr())
    np.testing.assert_array_equal(labels(tmp_path / "a.tif"), expected)


def test_polygons_of_a_remote_class_map(site, folder, tmp_path, capsys):
    """With the names of its classes."""
    codes = np.kron(np.random.default_rng(3).integers(0, 2, (20, 20)), np.ones((10, 10)))
    named = [{"code": i, "name": n, "color": "#000000"} for i, n in enumerate(("land", "water"))]
    tags = {"GEOUNET_CLASSES": json.dumps(named)}
    classes = rasters.write(folder / "classes.tif", codes.astype(np.uint8), tags=tags)
    for source, name in ((classes, "a"), (site.address("cut", "classes.tif"), "b")):
        out = tmp_path / f"{name}.geojson"
        assert main(["polygonize", str(source), str(out), "--quiet"]) == 0
    local, remote = (json.loads((tmp_path / f"{n}.geojson").read_text()) for n in "ab")
    assert remote["features"] == local["features"]
    assert {f["properties"]["name"] for f in remote["features"]} == {"land", "water"}
    gone = site.address("fine", "gone.tif")
    assert main(["polygonize", gone, str(tmp_path / "c.gpkg")]) == 2
    assert "the server answers 404): check the address" in capsys.readouterr().err
    assert not (tmp_path / "c.gpkg").exists()
