"""Bad input as a user meets it: one line that says how to mend it, exit code 2, nothing left."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import partial

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasters
import shapely
from mounts import read_only, small_disk
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags

from geounet import segmentation, stitch
from geounet.bundle import MANIFEST, SPEC, WEIGHTS
from geounet.polygonize import Tracing
from geounet.polygonize.rehearsal import Rehearsal
from geounet.polygonize.warm import get_ready
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet_cli.main import main

write = partial(rasters.write, names=("grey",))
NOT_PLACED = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def noise(bands=1, height=70, width=90, dtype=np.float32):
    rng = np.random.default_rng(7)
    return rng.uniform(0, 3, (bands, height, width)).astype(dtype)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Random models: of any unit, of reflectance and of decibels."""
    folder = tmp_path_factory.mktemp("models")
    specs = {
        "any": random_spec(),
        "two": random_spec(("red", "nir")),
        "reflectance": replace(
            random_spec(("red", "nir"), unit="reflectance"), clip=(0.0, 1.0), plausible=(0.0, 0.8)
        ),
        "dB": replace(random_spec(("VV", "VH"), unit="dB"), plausible=(-40.0, 5.0)),
    }
    return {k: random_bundle(folder / f"{k.lower()}.geounet", s) for k, s in specs.items()}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder of the run."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def scene(here):
    return write(here / "scene.tif", noise())


@pytest.fixture
def refused(here, models, capfd):
    """Runs ``geounet segment``, which must refuse, and checks all that this means."""

    def run(match, *argv, model="any", code=2, folder=here, left=""):
        before = snapshot(folder)
        argv = ["segment", *map(str, argv)]
        if not {"-m", "--model"} & set(argv):
            argv += ["-m", str(models[model])]
        try:
            result = main(argv)
        except SystemExit as ended:
            result = ended.code
        out, err = capfd.readouterr()
        assert result == code
        assert out == ""
        assert len(err.splitlines()) == 1, err
        assert err.startswith("geounet: ")
        assert re.search(match, err), err
        assert len(err) < 700
        assert snapshot(folder, left) == before
        return err

    return run


def snapshot(folder, left=""):
    """Hash by name of all files, but for those in the folder that may be left."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and p.parent.name != left
    }


# files


def test_missing(refused):
    refused(r"gone\.tif does not exist: check the path", "gone.tif")


def test_no_raster(refused, here):
    (here / "text.tif").write_text("no raster")
    refused(r"text\.tif cannot be opened as a raster \(.*\): .* give a GeoTIFF", "text.tif")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable(refused, scene):
    scene.chmod(0)
    refused(r"scene\.tif cannot be opened", scene)


def test_folder(refused, here):
    refused("is a folder: give a raster file, or the single-band files in it", here)


def tile_offset(path, row, col):
    with rasterio.open(path) as dataset:
        offset = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1)
        size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=1)
    return int(offset), int(size)


BLOCKS = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}


def test_damaged_block_in_the_middle_of_the_run(refused, here):
    """Where no sample of the values has looked before."""
    path = write(here / "scene.tif", noise(height=1500, width=1500, dtype=np.uint8), **BLOCKS)
    offset, size = tile_offset(path, 17, 5)
    content = bytearray(path.read_bytes())
    content[offset + size // 2 : offset + size] = bytes(size - size // 2)
    path.write_bytes(content)
    refused(r"scene\.tif: the pixels cannot be read \(.*\): the file is damaged", path)


def test_cut_short(refused, here):
    """The directory stands first in a COG, so it opens, and the blocks are missing."""
    write(here / "whole.tif", noise(height=300, width=300))
    path = here / "cog.tif"
    rasterio.shutil.copy(here / "whole.tif", path, driver="COG", blocksize=128, overviews="NONE")
    path.write_bytes(path.read_bytes()[: tile_offset(path, 2, 0)[0]])
    refused(r"cog\.tif: the pixels cannot be read .* get it again", path)


def test_directory_cut_off(refused, here):
    path = write(here / "scene.tif", noise(height=300, width=300), **BLOCKS)
    path.write_bytes(path.read_bytes()[: tile_offset(path, 3, 0)[0]])
    refused(r"scene\.tif cannot be opened as a raster .* get it again if it was cut short", path)


def test_header_cut_off(refused, scene):
    scene.write_bytes(scene.read_bytes()[:60])
    refused(r"scene\.tif cannot be opened as a raster", scene)


def test_complex(refused, here):
    path = write(here / "slc.tif", noise().astype(np.complex64))
    refused(r"holds complex numbers \(complex64\): turn it into .* intensity in dB first", path)


# bands


def test_band_missing(refused, scene):
    refused(
        "needs red nir; the scene has 1 band .*: give a scene that has them", scene, model="two"
    )


def test_bands_without_names(refused, here):
    path = write(here / "s.tif", noise(4), names=())
    refused(r"has 4 bands \(1 2 3 4, without names\).*--bands red=1,nir=2", path, model="two")


def test_bands_ambiguous(refused, here):
    path = write(here / "s.tif", noise(3), names=("B4", "B5", "B8"))
    refused(r"fit Sentinel-2 and Landsat 8-9.*--bands red=1,nir=2", path, model="two")


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ("grey=2", "--bands grey=2: the scene has bands 1 to 1"),
        ("grey", "'grey' is not NAME=INDEX"),
        ("gray=1", "does not say which band is grey: write --bands grey=1"),
    ],
)
def test_bands_option(refused, scene, option, match):
    refused(match, scene, "--bands", option)


def test_several_files_of_several_bands(refused, here, scene):
    many = write(here / "many.tif", noise(2))
    refused(r"many\.tif has 2 bands; .* segment scenes one at a time", scene, many)


# values


@pytest.mark.parametrize("size", [70, 1400])
def test_nothing_valid(refused, here, size):
    path = write(here / "s.tif", np.zeros((1, size, size), np.uint8), nodata=0)
    refused(r"s\.tif has no valid pixel: check its nodata value and mask", path)


def test_empty_mask(refused, here):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(here / "s.tif", noise(), mask=np.zeros((70, 90), bool))
    with rasterio.open(path) as dataset:
        assert dataset.mask_flag_enums[0] == [MaskFlags.per_dataset]
    refused("has no valid pixel", path)


def test_photo_for_a_reflectance_model(refused, here):
    path = write(here / "s.tif", noise(2).astype(np.uint8), names=("red", "nir"))
    refused(r"stores uint8 without a scale tag.*a photo has none", path, model="reflectance")


def test_reflectance_times_10000(refused, here):
    path = write(here / "s.tif", noise(2) * 1000, names=("red", "nir"))
    refused(r"band red has a median of .*--scale 0\.0001", path, model="reflectance")


def test_linear_power(refused, here):
    path = write(here / "s.tif", noise(2) / 10, names=("VV", "VH"))
    refused(r"are linear power; .* convert with 10 \* log10", path, model="dB")


# options


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["--tile", "0"], r"--tile 0: a tile has 1 to 16384 pixels"),
        (["--tile", "-5"], "--tile -5"),
        (["--tile", "99999"], "--tile 99999"),
        (["--tile", "big"], "--tile: invalid int value: 'big'.*--help"),
        (["--device", "tpu"], "--device tpu: choose auto, cpu, cuda, cuda:N or mps"),
        (["--device", "cuda:99"], "--device cuda:99: there is no such CUDA GPU.* --device cpu"),
        (["--precision", "fp8"], "--precision fp8: choose auto, fp32, bf16, fp16 or int8"),
        (["--precision", "int8"], r"any\.geounet is not of INT8: geounet models quantize makes"),
        (["--precision", "fp16", "--device", "cpu"], "CPUs have no fast float16: use bf16 or fp32"),
        (["--scale", "0"], "--scale 0: give a number that is not 0"),
        (["--scale", "nan"], "--scale nan"),
        (["--scale", "much"], "--scale: invalid float value: 'much'"),
        (["--offset", "inf"], "--offset inf"),
        (["-o", "s3://bucket/map.tif"], "one scene's outputs go to a folder; geounet batch -o"),
        (["--polygons", "gs://bucket/a.fgb"], "one scene's outputs go to a folder"),
        (["-o", "map.png"], r"-o map\.png: the class map is a GeoTIFF: end it in \.tif"),
        (["-o", "map"], r"-o map: the class map is a GeoTIFF"),
        (["--polygons", "a.shp"], r"--polygons a\.shp: end it in \.gpkg"),
        (["--polygons", "a.gpkg", "--no-polygons"], "not allowed with argument.*--help"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["-m", "nothing"], r"there is no model 'nothing': give a path"),
        (["-m", "gone.geounet"], r"gone\.geounet: cannot be read .*: check the path"),
    ],
)
def test_option(refused, scene, argv, match):
    refused(match, scene, *argv)


def test_no_scene_at_all(refused):
    refused(r"the following arguments are required: SCENE.*--help", "-m", "x")


# outputs


def test_folder_of_the_output_is_absent(refused, scene):
    refused(r"the folder gone does not exist: make it first", scene, "-o", "gone/map.tif")


def test_folder_of_the_output_is_read_only(refused, scene, tmp_path):
    folder = tmp_path / "sealed"
    folder.mkdir()
    with read_only(folder):
        refused("is read-only: choose another", scene, "-o", folder / "map.tif")


@pytest.mark.parametrize("name", ["map.tif", "map.gpkg", "map.qml", "map.tif.aux.xml"])
def test_output_exists(refused, here, scene, name):
    (here / name).write_text("precious")
    refused(rf"{re.escape(name)} exists: pass --overwrite", scene, "-o", "map.tif")


def test_the_class_map_is_named_first(refused, here, scene):
    for name in ("map.tif", "map.gpkg", "map.qml"):
        (here / name).write_text("precious")
    refused(r"^geounet: map\.tif exists: pass --overwrite", scene, "-o", "map.tif")


def test_output_is_a_folder(refused, here, scene):
    (here / "map.tif").mkdir()
    refused(r"map\.tif is a folder", scene, "-o", "map.tif", "--overwrite")


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_output_is_the_scene(refused, here, scene, overwrite):
    refused(r"scene\.tif is the scene itself: choose another name", scene, "-o", scene, *overwrite)
    link = here / "link.tif"
    link.symlink_to(scene)
    refused("is the scene itself", link, "-o", scene, *overwrite)


def test_output_is_one_of_the_scenes_files(refused, here):
    parts = [write(here / f"x_B{i}.tif", noise(), names=()) for i in (4, 8)]
    argv = ["--bands", "red=1,nir=2", "-o", parts[1], "--overwrite"]
    refused(r"x_B8\.tif is the scene itself", *parts, *argv, model="two")


def test_output_is_what_a_vrt_is_made_of(refused, here, scene):
    rasterio.shutil.copy(scene, here / "scene.vrt", driver="VRT")
    refused("is the scene itself", "scene.vrt", "-o", scene, "--overwrite")


@pytest.mark.parametrize(
    ("size", "match", "argv"),
    [
        (4_096, "the raster cannot be written", []),
        (400_000, "the polygons cannot be written", []),
        (4_096, "the raster cannot be written", ["--no-polygons"]),
        (36_864, "the raster cannot be written", ["--no-polygons"]),  # while the COG is made
    ],
)
def test_disk_full(refused, here, tmp_path, size, match, argv):
    scene = write(here / "scene.tif", noise(height=400, width=400))
    grid = GeoBox((400, 400), rasters.UTM["transform"], rasters.UTM["crs"])
    run = Rehearsal(tracing=Tracing(geobox=grid, nodata=255))
    get_ready(10**9, lambda _: None, run)  # or compiling would be told, too
    with small_disk(tmp_path / "disk", size) as disk:
        refused(
            rf"{match} \(.*\): free some disk space, or choose another folder",
            scene,
            "-o",
            disk / "map.tif",
            *argv,
            folder=disk,
        )
        assert list(disk.iterdir()) == []


def test_file_too_large(here, models):
    """As a quota says it; also where nothing may be mounted."""
    scene = write(here / "scene.tif", noise(height=400, width=400))

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    done = run(["segment", scene, "-m", models["any"], "-o", "map.tif"], here, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be written" in done.stderr
    assert [p.name for p in here.iterdir()] == ["scene.tif"]


# models


@pytest.fixture
def bundle(here, models):
    return lambda name: (here / name, models["any"].read_bytes())


def test_model_cut_short(refused, scene, bundle):
    path, content = bundle("m.geounet")
    path.write_bytes(content[: len(content) // 2])
    refused(r"m\.geounet is no geounet model, or was cut short .*: get it again", scene, "-m", path)


def test_model_edited(refused, scene, bundle):
    path, content = bundle("m.geounet")
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[SPEC] = members[SPEC].replace(b'"random"', b'"edited"')
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    refused(r"spec\.json was changed after it was saved: get the model again", scene, "-m", path)


class Trap:
    def __reduce__(self):
        return pytest.fail, ("a pickle was read",)


def test_model_is_a_pickle(refused, scene, bundle):
    path, _ = bundle("m.geounet")
    path.write_bytes(pickle.dumps(Trap()))
    refused(r"holds a pickle, .* is refused: save the weights as a \.geounet", scene, "-m", path)


def test_model_is_noise(refused, scene, bundle):
    path, content = bundle("m.geounet")
    path.write_bytes(np.random.default_rng(0).bytes(len(content)))
    refused("is no geounet model", scene, "-m", path)


def test_model_is_a_scene(refused, scene):
    refused(r"scene\.tif is no geounet model", scene, "-m", scene)


def test_model_is_a_bomb(refused, scene, bundle):
    path, _ = bundle("m.geounet")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, "{}")
        archive.writestr(SPEC, "{}")
        archive.writestr(WEIGHTS, bytes(70 << 20))
    refused("would unpack to 70 MiB", scene, "-m", path)


# area of interest


def aoi(path, shape, crs="EPSG:32633"):
    geopandas.GeoDataFrame(geometry=[shape], crs=crs).to_file(path)
    return path


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize(
    ("shape", "crs", "match"),
    [
        (shapely.box(3e5, 5e6 - 500, 3e5 + 500, 5e6), None, r"has no CRS: set one"),
        (shapely.box(0, 0, 1, 1), "EPSG:32633", "lies outside the scene: check its CRS"),
        (shapely.LineString([(3e5, 5e6), (3e5 + 99, 5e6)]), "EPSG:32633", "holds no polygon"),
        (shapely.box(3e5 + 1, 5e6 - 4, 3e5 + 4, 5e6 - 1), "EPSG:32633", "no valid pixel inside"),
    ],
)
def test_aoi(refused, here, scene, shape, crs, match):
    refused(match, scene, "--aoi", aoi(here / "a.shp", shape, crs))


def test_aoi_missing_or_foreign(refused, here, scene):
    refused(r"--aoi gone\.gpkg cannot be read", scene, "--aoi", "gone.gpkg")
    refused(r"--aoi scene\.tif (cannot be read|holds no)", scene, "--aoi", "scene.tif")
    (here / "a.geojson").write_text("{")
    refused(r"--aoi a\.geojson cannot be read", scene, "--aoi", "a.geojson")


def test_output_is_the_aoi(refused, here, scene):
    area = aoi(here / "area.gpkg", shapely.box(3e5, 5e6 - 500, 3e5 + 500, 5e6))
    match = r"area\.gpkg is the area of --aoi itself: choose another name"
    refused(match, scene, "--aoi", area, "-o", "area.tif", "--overwrite")


# what is small or bare, and right


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (3, 2), (17, 33)])
def test_small_scenes(here, models, shape, capfd):
    """Smaller than a tile, than the halo, than the stride."""
    path = write(here / "s.tif", noise(height=shape[0], width=shape[1]))
    assert main(["segment", str(path), "-m", str(models["any"])]) == 0
    assert capfd.readouterr().err == ""
    with rasterio.open("s.random.tif") as made:
        assert made.shape == shape
        assert made.transform == rasters.UTM["transform"]
        assert (made.read(1) < 2).all()


@NOT_PLACED
def test_no_georeference(here, models, capfd):
    path = here / "photo.png"
    rasters.write(path, noise(1).astype(np.uint8), driver="PNG", **rasters.NOWHERE)
    argv = ["segment", str(path), "-m", str(models["any"]), "--bands", "grey=1"]
    assert main(argv) == 0
    assert re.fullmatch(r"geounet: .*photo\.png has no CRS, so .*\n", capfd.readouterr().err)
    with rasterio.open("photo.random.tif") as made:
        assert made.crs is None
        assert made.transform.is_identity


# what is interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("owner", "name", "left"),
    [
        (stitch, "segment_strip", "nothing was left behind"),
        (segmentation.Totals, "add", r"the same command goes on .* finished of scene\.random\.tif"),
        (segmentation.Outputs, "finish", "the same command goes on"),
    ],
)
def test_interrupted(refused, scene, monkeypatch, here, number, owner, name, left):
    """While computing, in the thread that writes, and while finishing."""
    function = getattr(owner, name)

    signals = iter([number])  # one: a second might come when the test is over

    def interrupt(*args, **kwargs):
        for once in signals:
            signal.raise_signal(once)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, interrupt)
    parts = "" if left.startswith("nothing") else ".scene.random.tif.parts"
    refused(f"interrupted; {left}", scene, "--tile", "32", code=130, left=parts)
    assert (here / parts).exists()


def run(argv, folder, **options):
    return subprocess.run(
        [sys.executable, "-m", "geounet_cli", *map(str, argv)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_terminated_from_outside(here, models):
    scene = write(here / "scene.tif", noise(height=3000, width=3000, dtype=np.uint8), crs=None)
    argv = [sys.executable, "-m", "geounet_cli", "segment", str(scene), "-m", str(models["any"])]
    with subprocess.Popen(
        [*argv, "--tile", "16"], cwd=here, stderr=subprocess.PIPE, text=True
    ) as process:
        assert "has no CRS" in process.stderr.readline()  # said just before the outputs are begun
        while not any(here.glob(".*")) and process.poll() is None:
            pass
        process.terminate()
        _, err = process.communicate()
    assert process.returncode == 130
    if (here / ".scene.random.tif.parts").exists():
        assert "interrupted; the same command goes on" in err
    else:
        assert err == "geounet: interrupted; nothing was left behind\n"
    left = {p.name for p in here.iterdir()}
    assert left - {".scene.random.tif.parts"} == {"scene.tif"}


# in a process of its own: nothing that GDAL or Python has to say comes through


def test_one_line_in_a_process_of_its_own(here, models):
    path = write(here / "cut.tif", noise(height=300, width=300), **BLOCKS)
    path.write_bytes(path.read_bytes()[:-900])
    (here / "text.tif").write_text("no raster")
    (here / "a.gpkg").write_text("no vectors")
    good = write(here / "good.tif", noise())
    before = snapshot(here)
    for argv in (
        ["segment", "cut.tif", "-m", models["any"]],
        ["segment", good, "-m", models["any"], "--aoi", "a.gpkg", "--json"],
        ["info", "text.tif"],
    ):
        done = run(argv, here)
        assert done.returncode == 2, (argv, done.stderr)
        assert done.stdout == ""
        assert re.fullmatch(r"geounet: .+\n", done.stderr), done.stderr
        assert snapshot(here) == before


def test_json_is_the_last_line_and_nothing_is_on_stderr(here, models, scene):
    done = run(["segment", scene, "-m", models["any"], "--json", "--quiet"], here)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1])["valid_pixels"] == 70 * 90
